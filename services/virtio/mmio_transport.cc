#include "services/virtio/mmio_transport.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/runtime/statistics.h"

namespace atoll::virtio {
namespace {

constexpr uint32_t kNoSharedMemory =
    ~uint32_t{0};  // SHMLen, SHMBase of a region that does not exist

constexpr uint32_t Low(uint64_t word) { return static_cast<uint32_t>(word); }
constexpr uint32_t High(uint64_t word) { return static_cast<uint32_t>(word >> 32); }

// The 32-bit word `select` of a 64-bit feature set; there are no features beyond.
constexpr uint32_t FeatureWord(uint64_t features, uint32_t select) {
  return select == 0 ? Low(features) : select == 1 ? High(features) : 0;
}

}  // namespace

constexpr std::array<MmioTransport::Handler, MmioTransport::kRegisters>
MmioTransport::MakeWriteHandlers() {
  using T = MmioTransport;
  constexpr WritableRegister kWritable[] = {
      {kDeviceFeaturesSel, &T::WriteDeviceFeaturesSel},
      {kDriverFeatures, &T::WriteDriverFeatures},
      {kDriverFeaturesSel, &T::WriteDriverFeaturesSel},
      {kQueueSel, &T::WriteQueueSel},
      {kQueueNum, &T::WriteQueueNum},
      {kQueueReady, &T::WriteQueueReady},
      {kQueueNotify, &T::WriteQueueNotify},
      {kInterruptAck, &T::WriteInterruptAck},
      {kStatus, &T::WriteStatus},
      {kQueueDescLow, &T::WriteQueueArea<&QueueSetup::descriptor_area, 0>},
      {kQueueDescHigh, &T::WriteQueueArea<&QueueSetup::descriptor_area, 32>},
      {kQueueDriverLow, &T::WriteQueueArea<&QueueSetup::driver_area, 0>},
      {kQueueDriverHigh, &T::WriteQueueArea<&QueueSetup::driver_area, 32>},
      {kQueueDeviceLow, &T::WriteQueueArea<&QueueSetup::device_area, 0>},
      {kQueueDeviceHigh, &T::WriteQueueArea<&QueueSetup::device_area, 32>},
      // SHMSel selects among no regions; QueueReset without RING_RESET is ignored: both as
      // undefined offsets.
  };
  std::array<Handler, kRegisters> handlers = {};
  for (Handler& handler : handlers) handler = &T::WriteIgnored;
  for (const WritableRegister& entry : kWritable) {
    handlers[entry.offset / sizeof(uint32_t)] = entry.handler;
  }
  return handlers;
}

MmioTransport::MmioTransport(DeviceModel& model, const GuestMemory& memory, TransportState& state,
                             std::span<QueueState> queues, InterruptLine& line, Notifier& more_work,
                             Keeper* keeper)
    : model_(model),
      memory_(memory),
      state_(state),
      line_(line),
      more_work_(more_work),
      description_(model.Describe()) {
  kept_.Use(keeper);
  for (size_t i = 0; i < description_.queue_sizes.size(); ++i) {
    queues_[i].Initialize(queues[i], memory_, description_.queue_sizes[i]);
  }
}

bool MmioTransport::Reset(Backend backend) {
  // A death in here is followed by another Reset: nothing is processed before that, as the mark is
  // looked at first.
  if (registers_.resetting == 0) registers_.resetting = 1;
  const bool damaged = registers_.resetting == Registers::kStartingOver;
  Save();
  kept_.Clear();
  bool stopped = true;
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    queues_[i].Clear();
    stopped = model_.StopQueue(i) && stopped;
  }
  if (!stopped && backend == Backend::kMustLetGo) return false;
  SetQueueFeatures(0);
  model_.Reset();
  RefreshDescription();
  SetInterruptStatus(0);
  live_mask_ = kLiveMask;
  registers_ = {.format = kJournalFormat,
                .device_format = description_.format,
                .device_id = registers_.device_id,
                .queue_count = registers_.queue_count,
                .failing = damaged ? 1u : 0u,
                .status = damaged ? kStatusNeedsReset : 0,
                .config_generation = registers_.config_generation};
  Save();
  if (damaged) SetFailing();
  RefreshReadable();
  return true;
}

bool MmioTransport::StopQueue(uint32_t index) {
  queues_[index].Disable();
  return model_.StopQueue(index);
}

void MmioTransport::RefreshDescription() { description_.features = model_.Describe().features; }

Result<uint64_t> MmioTransport::AccessOther(const RegisterAccess& access) {
  if (access.offset >= kConfig) {
    const uint64_t offset = access.offset - kConfig;
    if (!access.write) return ReadConfig(offset, access.size);
    std::array<std::byte, sizeof(uint64_t)> bytes;
    std::memcpy(bytes.data(), &access.value, sizeof(access.value));
    model_.WriteConfig(offset, std::span(bytes).first(std::min<size_t>(access.size, bytes.size())),
                       access.token);
    return 0;
  }
  // 4.2.2.2: control registers take aligned 32-bit accesses only; all others read 0 and write
  // nothing.
  if (access.write && access.size == sizeof(uint32_t) && access.offset % sizeof(uint32_t) == 0) {
    if (registers_.resetting != 0 && access.offset != kStatus) return 0;  // of another vCPU
    static constexpr auto kWriteHandlers = MakeWriteHandlers();
    hold_ = false;
    (this->*kWriteHandlers[access.offset / sizeof(uint32_t)])(Low(access.value));
    if (hold_) return std::unexpected(Status::kUnavailable);
  }
  return 0;
}

// Bytes of the configuration space, whatever the width and alignment; 0 beyond its end.
uint64_t MmioTransport::ReadConfig(uint64_t offset, uint32_t size) const {
  const std::span<const std::byte> config = model_.Config();
  uint64_t value = 0;
  if (offset < config.size()) {
    const uint64_t bytes = std::min<uint64_t>({size, sizeof(value), config.size() - offset});
    std::memcpy(&value, config.data() + offset, bytes);
  }
  return value;
}

void MmioTransport::OnSignals(uint64_t bits) {
  const uint64_t all_queues = AllQueues();
  uint64_t queues = (bits & kMoreWorkSignal) != 0 ? all_queues : bits & all_queues;
  if (const uint64_t others = bits & ~(all_queues | kMoreWorkSignal); others != 0) {
    const PeerWork work = model_.OnPeerSignals(others);
    queues |= work.queues & all_queues;
    if (work.config_changed) ConfigChanged();
  }
  RunQueues(queues);
}

// The journal says it all; what is derived from it is derived once more. Where the journal itself was written over, it is
// told again.
bool MmioTransport::IsIntact() {
  if constexpr (!kWritesJournal) return true;
  if (displaced_) return false;
  const uint32_t live_mask = registers_.failing != 0 ? kLiveMask & ~kStatusNeedsReset : kLiveMask;
  if (!state_.registers.Confirms(registers_) || !IsPlausible() || live_mask_ != live_mask) {
    return false;
  }
  if (state_.format != kJournalFormat) StoreRelease(state_.format, kJournalFormat);
  if (!IsWithComplement(state_.interrupt_status)) SetInterruptStatus(interrupt_status_);
  if (state_.interrupt_status != WithComplement(interrupt_status_)) return false;
  if (registers_.resetting != 0) return true;  // not everything follows from them yet
  const auto readable = readable_;
  RefreshReadable();
  if (readable != readable_) return false;
  line_.Set(interrupt_status_ != 0);
  if (!live() || registers_.failing != 0) return model_.IsIntact();
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    if (!queues_[i].IsIntact() || queues_[i].max_size() != description_.queue_sizes[i])
      return false;
    if (!queues_[i].HasFeatures(registers_.driver_features)) return false;
  }
  return model_.IsIntact();
}

void MmioTransport::RunQueues(uint64_t queues) {
  if (displaced_) return;
  for (; queues != 0; queues &= queues - 1) {
    const auto index = static_cast<uint32_t>(std::countr_zero(queues));
    SplitQueue& queue = queues_[index];
    if (!live() || !queue.ready()) continue;
    SetAtWork(static_cast<uint16_t>(index + 1));
    const Work work = model_.ProcessQueue(index, queue, registers_.driver_features);
    SetAtWork(0);
    if (work == Work::kBroken) {
      // It may be this instance that is: then its successor does the work, and the driver is told of nothing.
      displaced_ = !queue.IsInPlace();
      if (displaced_) return;
      Fail();
    }
    if (work == Work::kMore) more_work_.Notify();
  }
  // All queues: a model may use buffers of one while it processes another.
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    SplitQueue& queue = queues_[i];
    if (!queue.unsignalled()) continue;
    NoteCompletion();
    if (queue.InterruptDue()) RaiseInterrupt(kInterruptUsedBuffer);
    queue.MarkSignalled();
  }
}

void MmioTransport::ConfigChanged() {
  ++registers_.config_generation;
  Save();
  Readable(kConfigGeneration) = registers_.config_generation;
  if ((registers_.status & kStatusFeaturesOk) == 0) {
    RefreshDescription();
    Readable(kDeviceFeatures) = FeatureWord(description_.features, registers_.device_features_sel);
  }
  if (live()) RaiseInterrupt(kInterruptConfig);
}

// The driver broke a rule. Guest memory is not touched any more.
void MmioTransport::Fail() {
  registers_.failing = 0;
  live_mask_ = kLiveMask;
  SetStatus(registers_.status | kStatusNeedsReset);
  if ((registers_.status & kStatusDriverOk) != 0) RaiseInterrupt(kInterruptConfig);
}

// What was in hand is not known any more. Queues that are known go on, with nothing but errors. Start
// tells the driver, even if it is not known whether there is one.
void MmioTransport::FailOfJournal() {
  registers_.failing = 1;
  SetFailing();
  SetStatus(registers_.status | kStatusNeedsReset);
}

void MmioTransport::SetFailing() {
  live_mask_ = kLiveMask & ~kStatusNeedsReset;
  model_.SetFailing(/*until_reset=*/true);
}

void MmioTransport::RaiseInterrupt(uint32_t cause) {
  SetInterruptStatus(interrupt_status_ | cause);
}

// The line follows InterruptStatus != 0. The journal first: a new instance drives the line from it.
void MmioTransport::SetInterruptStatus(uint32_t causes) {
  const bool was_high = interrupt_status_ != 0;
  interrupt_status_ = causes;
  StoreRelease(state_.interrupt_status, WithComplement(causes));
  Readable(kInterruptStatus) = causes;
  const bool high = causes != 0;
  if (high != was_high) line_.Set(high);
}

void MmioTransport::SetStatus(uint32_t status) {
  registers_.status = status;
  Save();
  KeepCopy();
  Readable(kStatus) = status;
}

// Before the driver goes on. It lays its queues open with DRIVER_OK, and no sooner.
void MmioTransport::KeepCopy() {
  if ((registers_.status & kStatusDriverOk) != 0) kept_.Set(registers_, queues_);
}

void MmioTransport::SetQueueFeatures(uint64_t features) {
  for (uint32_t i = 0; i < registers_.queue_count; ++i) queues_[i].SetFeatures(features);
}

bool MmioTransport::FeaturesAcceptable() const {
  const uint64_t features = registers_.driver_features;
  return (features & ~description_.features) == 0 && (features & kFeatureVersion1) != 0 &&
         registers_.foreign_features == 0 && model_.AcceptsFeatures(features);
}

SplitQueue* MmioTransport::SelectedQueue() {
  return registers_.queue_sel < registers_.queue_count ? &queues_[registers_.queue_sel] : nullptr;
}

void MmioTransport::RefreshReadable() {
  Readable(kMagicValue) = kMagic;
  Readable(kVersion) = kMmioVersion;
  Readable(kDeviceId) = description_.device_id;
  Readable(kVendorId) = kVendor;
  Readable(kDeviceFeatures) = FeatureWord(description_.features, registers_.device_features_sel);
  Readable(kInterruptStatus) = interrupt_status_;
  Readable(kStatus) = registers_.status;
  for (const Register half : {kShmLenLow, kShmLenHigh, kShmBaseLow, kShmBaseHigh}) {
    Readable(half) = kNoSharedMemory;
  }
  Readable(kConfigGeneration) = registers_.config_generation;
  RefreshSelectedQueue();
}

void MmioTransport::RefreshSelectedQueue() {
  SplitQueue* queue = SelectedQueue();
  Readable(kQueueNumMax) = queue != nullptr ? queue->max_size() : 0;
  Readable(kQueueReady) = queue != nullptr && queue->ready() ? 1 : 0;
}

void MmioTransport::WriteIgnored(uint32_t value) {}

void MmioTransport::WriteDeviceFeaturesSel(uint32_t value) {
  registers_.device_features_sel = value;
  Save();
  Readable(kDeviceFeatures) = FeatureWord(description_.features, value);
}

void MmioTransport::WriteDriverFeaturesSel(uint32_t value) {
  registers_.driver_features_sel = value;
  Save();
}

void MmioTransport::WriteDriverFeatures(uint32_t value) {
  if ((registers_.status & kStatusFeaturesOk) != 0) return;
  constexpr uint64_t kLowWord = ~uint32_t{0};
  switch (registers_.driver_features_sel) {
    case 0: registers_.driver_features = (registers_.driver_features & ~kLowWord) | value; break;
    case 1:
      registers_.driver_features =
          (registers_.driver_features & kLowWord) | (uint64_t{value} << 32);
      break;
    default:
      if (value != 0) registers_.foreign_features = 1;  // until reset
  }
  Save();
}

void MmioTransport::WriteQueueSel(uint32_t value) {
  registers_.queue_sel = value;
  Save();
  RefreshSelectedQueue();
}

void MmioTransport::WriteQueueNum(uint32_t value) {
  SplitQueue* queue = SelectedQueue();
  if (queue == nullptr || queue->ready()) return;
  QueueSetup setup = queue->setup();
  setup.size = value;
  queue->ChangeSetup(setup);
}

template <uint64_t QueueSetup::* kArea, unsigned kShift>
void MmioTransport::WriteQueueArea(uint32_t value) {
  SplitQueue* queue = SelectedQueue();
  if (queue == nullptr || queue->ready()) return;
  QueueSetup setup = queue->setup();
  uint64_t& area = setup.*kArea;
  area = (area & ~(uint64_t{~uint32_t{0}} << kShift)) | (uint64_t{value} << kShift);
  queue->ChangeSetup(setup);
}

void MmioTransport::WriteQueueReady(uint32_t value) {
  SplitQueue* queue = SelectedQueue();
  if (queue == nullptr) return;
  const bool ready = (value & 1) != 0;
  if (ready && !queue->ready()) {
    (void)queue->Enable();  // refused: QueueReady reads 0
  } else if (!ready) {
    hold_ = !StopQueue(registers_.queue_sel);
    more_work_.Notify();  // the model may do for other queues what it could not before
  }
  KeepCopy();
  RefreshSelectedQueue();
}

void MmioTransport::WriteQueueNotify(uint32_t value) {
  if (value < registers_.queue_count) RunQueues(uint64_t{1} << value);
}

void MmioTransport::WriteInterruptAck(uint32_t value) {
  SetInterruptStatus(interrupt_status_ & ~value);
}

void MmioTransport::WriteStatus(uint32_t value) {
  if (value == 0) {
    hold_ = !Reset(Backend::kMustLetGo);
    return;
  }
  if (registers_.resetting != 0) return;
  constexpr uint32_t kFound = kStatusAcknowledge | kStatusDriver;
  const uint32_t before = registers_.status;
  uint32_t added = value & kDriverStatusBits & ~before;  // bits are only ever added (2.1.1)
  // 3.1.1: features are accepted after the driver knows the device, DRIVER_OK after it saw
  // FEATURES_OK.
  if ((added & kStatusFeaturesOk) != 0) {
    if (((before | added) & kFound) == kFound && FeaturesAcceptable()) {
      SetQueueFeatures(registers_.driver_features);
    } else {
      added &= ~kStatusFeaturesOk;
    }
  }
  if ((before & kStatusFeaturesOk) == 0) added &= ~kStatusDriverOk;
  SetStatus(before | added);
  if ((added & kStatusDriverOk) != 0) {
    // Buffers may be available already; the driver need not notify of them again.
    RunQueues(AllQueues());
  }
}

}  // namespace atoll::virtio
