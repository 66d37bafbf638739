#include "services/virtio/mmio_transport.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/runtime/statistics.h"

namespace atoll::virtio {
namespace {

constexpr uint32_t kNoSharedMemory =
    ~uint32_t{0};  // SHMLen, SHMBase of a region that does not exist
constexpr uint32_t kDriverStatusBits =
    kStatusAcknowledge | kStatusDriver | kStatusDriverOk | kStatusFeaturesOk | kStatusFailed;
// So many instances die of one thing before it is given up.
constexpr uint32_t kMaxDeaths = 2;
constexpr uint32_t kInterruptCauses = kInterruptUsedBuffer | kInterruptConfig;

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

JournalFound MmioTransport::Start(const Beginning& beginning) {
  if (beginning.first) kept_.AssumeNothing();
  JournalFound found = LoadRegisters(beginning);
  if (found == JournalFound::kRefused) return found;
  if (beginning.failed) model_.SetFailing(/*until_reset=*/false);
  if (found == JournalFound::kDamaged || registers_.format == 0) {
    StartOver(found == JournalFound::kDamaged);
  } else {
    TakeUp(beginning, found);
  }
  if (registers_.failing != 0) RaiseInterrupt(kInterruptConfig);  // perhaps again
  RefreshReadable();
  line_.Set(interrupt_status_ != 0);
  // A driver that was live has to look at what it is told of the link or the disk.
  if (beginning.failed) ConfigChanged();
  // What the driver notified of while nobody listened, and what the instance before had in hand.
  RunQueues(AllQueues());
  return found;
}

// Fills registers_: the journal's, none if it is fresh (format 0), or none that can be believed.
JournalFound MmioTransport::LoadRegisters(const Beginning& beginning) {
  const Copies copies = state_.registers.Load(registers_);
  const bool there = copies == Copies::kGood || copies == Copies::kRepaired;
  const bool zeros = copies == Copies::kFresh && state_.format == 0;
  if (zeros && beginning.first) return JournalFound::kGood;
  if (!there && RecallRegisters()) {
    StoreRelease(state_.format, kJournalFormat);
    return JournalFound::kRepaired;
  }
  // Those before died as they began, if that is so: a word that is stored first of all is 0, too, and no driver was there.
  if (zeros && state_.interrupt_status == 0 && kept_.nothing_is_kept()) return JournalFound::kGood;
  const uint64_t format = there ? registers_.format : state_.format;
  if (format != kJournalFormat && (there || IsOfFamily(format))) return JournalFound::kRefused;
  if (there && registers_.device_id == description_.device_id &&
      registers_.device_format != description_.format) {
    return JournalFound::kRefused;
  }
  const bool plausible = there && IsPlausible();
  if (!plausible && (!there || !RecallRegisters())) {
    registers_ = {};
    return JournalFound::kDamaged;
  }
  // 0: the instance before died while it made the journal.
  const bool good = plausible && copies == Copies::kGood &&
                    (state_.format == kJournalFormat || state_.format == 0);
  if (state_.format != kJournalFormat) StoreRelease(state_.format, kJournalFormat);
  return good ? JournalFound::kGood : JournalFound::kRepaired;
}

bool MmioTransport::RecallRegisters() {
  if (!kept_.Recall()) return false;
  registers_ = kept_.registers();
  if (registers_.format != kJournalFormat || registers_.device_format != description_.format ||
      !IsPlausible()) {
    return false;
  }
  Save();
  return true;
}

bool MmioTransport::IsPlausible() const {
  if (registers_.device_id != description_.device_id ||
      registers_.queue_count != description_.queue_sizes.size() ||
      registers_.resetting > Registers::kStartingOver || registers_.failing > 1 ||
      (registers_.status & ~(kDriverStatusBits | kStatusNeedsReset)) != 0) {
    return false;
  }
  return (registers_.status & kStatusFeaturesOk) != 0 ? FeaturesAcceptable()
                                                      : (registers_.status & kStatusDriverOk) == 0;
}

// The journal holds registers.
void MmioTransport::TakeUp(const Beginning& beginning, JournalFound& found) {
  LoadInterruptStatus();
  const JournalFound queues = AttachQueues();
  if (registers_.resetting != 0) {
    // The store that began it is delivered again, if it is not done now.
    const bool over = registers_.resetting == Registers::kStartingOver;
    (void)Reset(over ? Backend::kMayLag : Backend::kMustLetGo);
    return;
  }
  found = std::max(found, queues);
  SetQueueFeatures(registers_.driver_features);
  if (registers_.failing != 0) SetFailing();
  const Suspect suspect = NoteDeath(beginning);
  if (suspect.place == Suspect::kTakingUp && suspect.deaths >= kMaxDeaths) {
    // Two instances died of this journal: it is no better than one that is damaged.
    found = JournalFound::kDamaged;
    StartOver(/*damaged=*/true);
    return;
  }
  SetAtWork(Suspect::kTakingUp);
  if (found == JournalFound::kDamaged) FailOfJournal();
  if (!RecoverQueues(beginning, suspect, found)) {
    found = JournalFound::kDamaged;
    FailOfJournal();
  }
  SetAtWork(0);
}

JournalFound MmioTransport::AttachQueues() {
  JournalFound found = JournalFound::kGood;
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    switch (AttachQueue(i)) {
      case SplitQueue::Attached::kGood: break;
      case SplitQueue::Attached::kRepaired: found = std::max(found, JournalFound::kRepaired); break;
      case SplitQueue::Attached::kNoCursor:
        found = std::max(found, JournalFound::kRepaired);
        has_no_cursor_ |= uint64_t{1} << i;
        break;
      case SplitQueue::Attached::kLost: found = JournalFound::kDamaged; break;
    }
  }
  return found;
}

SplitQueue::Attached MmioTransport::AttachQueue(uint32_t index) {
  using Attached = SplitQueue::Attached;
  SplitQueue& queue = queues_[index];
  Attached found = queue.Attach();
  // A reset begins with clearing the kept copy: one that is there is this driver's.
  if (found == Attached::kLost && (registers_.status & kStatusDriverOk) != 0 && kept_.Recall()) {
    found = queue.AttachAs(kept_.queue(index));
  }
  if (found == Attached::kNoCursor && !model_.InOrder()) {
    queue.Clear();
    found = Attached::kLost;
  }
  return found;
}

// Where it cannot be known, an interrupt too many does no harm.
void MmioTransport::LoadInterruptStatus() {
  const uint64_t word = state_.interrupt_status;
  const auto causes = static_cast<uint32_t>(word);
  const bool known = IsWithComplement(word) && (causes & ~kInterruptCauses) == 0;
  interrupt_status_ = known ? causes : kInterruptCauses;
  StoreRelease(state_.interrupt_status, WithComplement(interrupt_status_));
}

// Notes what the instance before was at when it died of it. Returns what is to be avoided: what two
// of them were at, without any progress in between.
Suspect MmioTransport::NoteDeath(const Beginning& beginning) {
  if (!beginning.blamed || state_.at_work == 0 || model_.WasAtWork()) return {};
  const auto place = static_cast<uint16_t>(state_.at_work);
  Suspect now{.place = place, .position = 0, .deaths = 1};
  if (place != Suspect::kTakingUp) {
    // 0 although the whole word is not: damage.
    if (place == 0 || place > registers_.queue_count || !queues_[place - 1].ready()) return {};
    now.position = queues_[place - 1].committed_position();
  }
  const auto before = std::bit_cast<Suspect>(state_.suspect);
  if (before.place == now.place && before.position == now.position && before.deaths != 0) {
    now.deaths = kMaxDeaths;
  }
  StoreRelease(state_.suspect, std::bit_cast<uint64_t>(now));
  return now;
}

bool MmioTransport::RecoverQueues(const Beginning& beginning, Suspect suspect,
                                  JournalFound& found) {
  bool good = true;
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    if (!queues_[i].ready()) {
      (void)model_.StopQueue(i);  // again: the instance before may have died in between
      continue;
    }
    if (!live() || (has_no_cursor_ >> i & 1) != 0) continue;
    queues_[i].Republish();
    good = model_.RecoverQueue(i, queues_[i], registers_.driver_features, beginning.blamed) && good;
  }
  if (live() && (!good || has_no_cursor_ != 0) && model_.InOrder()) {
    found = std::max(found, JournalFound::kRepaired);
    good = ResumeInOrder(beginning);
  }
  const uint32_t skipped = suspect.place - 1u;
  if (suspect.place != 0 && suspect.deaths >= kMaxDeaths && live() &&
      skipped < registers_.queue_count && queues_[skipped].ready()) {
    good = model_.SkipNext(skipped, queues_[skipped]) && good;
    StoreRelease(state_.suspect, uint64_t{0});
  }
  return good;
}

// What is in hand is not known, but it is what comes after the used rings.
bool MmioTransport::ResumeInOrder(const Beginning& beginning) {
  if (!model_.ForgetChains()) return false;
  bool good = true;
  for (uint32_t i = 0; i < registers_.queue_count; ++i) {
    if (!queues_[i].ready()) continue;
    queues_[i].ResumeAtUsed();
    good = model_.RecoverQueue(i, queues_[i], registers_.driver_features, beginning.blamed) && good;
  }
  RaiseInterrupt(kInterruptUsedBuffer);  // nobody knows of what the driver was told
  return good;
}

// A journal as of a device that nobody has touched. damaged: of one that fails.
void MmioTransport::StartOver(bool damaged) {
  registers_ = {.format = kJournalFormat,
                .device_format = description_.format,
                .device_id = description_.device_id,
                .queue_count = static_cast<uint32_t>(description_.queue_sizes.size()),
                .resetting = damaged ? Registers::kStartingOver : 1};
  // What is left at the backend is of the memory's life before: the first driver to reset the device
  // waits for it.
  (void)Reset(Backend::kMayLag);
  SetAtWork(0);
  StoreRelease(state_.format, kJournalFormat);
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

void MmioTransport::RunQueues(uint64_t queues) {
  for (; queues != 0; queues &= queues - 1) {
    const auto index = static_cast<uint32_t>(std::countr_zero(queues));
    SplitQueue& queue = queues_[index];
    if (!live() || !queue.ready()) continue;
    SetAtWork(static_cast<uint16_t>(index + 1));
    const Work work = model_.ProcessQueue(index, queue, registers_.driver_features);
    SetAtWork(0);
    if (work == Work::kBroken) Fail();
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
