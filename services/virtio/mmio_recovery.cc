// How an instance of a virtio device takes up what the one before left: from the journal, its second copies, what others
// keep, and the guest's rings.
#include <algorithm>
#include <bit>

#include "services/virtio/mmio_transport.h"

namespace atoll::virtio {
namespace {

// So many instances die of one thing before it is given up.
constexpr uint32_t kMaxDeaths = 2;
constexpr uint32_t kInterruptCauses = kInterruptUsedBuffer | kInterruptConfig;

}  // namespace

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

}  // namespace atoll::virtio
