#include "services/blk-driver/block_driver.h"

#include <algorithm>
#include <bit>

#include "services/runtime/format.h"
#include "services/runtime/statistics.h"

namespace atoll::blk_driver {

using block::DiskState;
using block::Operation;
using block::RequestStatus;

namespace {

constexpr uint64_t kSecond = 1000;  // milliseconds

// Well below kDmaCloseSeconds, after which the supervisor would end this task.
constexpr uint64_t kCloseMilliseconds = 300;

// Rounds of work before signals have their turn: clients on other CPUs may submit without end.
constexpr uint32_t kRounds = 4;

// The device may be reset once without having completed anything in between.
constexpr uint32_t kMaxIdleRestarts = 1;

// What the user sees of this instance (statistics.h). Requests are those that the device had.
enum Counter : size_t { kCountRequests, kCountSectors, kCountErrors, kCountRefused, kCountResets };

void NameCounters() {
  NameCounter(kCountRequests, "requests");
  NameCounter(kCountSectors, "sectors");
  NameCounter(kCountErrors, "errors");
  NameCounter(kCountRefused, "refused");
  NameCounter(kCountResets, "resets");
}

constexpr uint64_t Bit(uint32_t tag) { return uint64_t{1} << tag; }

constexpr bool IsTransfer(Operation operation) {
  return operation == Operation::kIn || operation == Operation::kOut;
}

}  // namespace

void BlockDriver::Start(uint64_t generation, bool blamed) {
  NameCounters();
  generation_ = static_cast<uint32_t>(generation);
  const Status status = disk_ != nullptr ? disk_->Start() : Status::kNotFound;
  ready_ = IsOk(status);
  // Only a device that does not come back from its reset may go on with what it had.
  stopped_ = !ready_ && status != Status::kDeadlineExceeded;
  std::array<char, 128> line;
  if (status == Status::kNotFound) {
    ports_.log.Line("the machine has no disk");
  } else if (!ready_) {
    ports_.log.Line(Format(line, "the disk cannot be started: ", status));
  }
  TakeUpQuarantine(blamed);
  Announce(ready_ ? DiskState::kReady : DiskState::kFailed);
  ForEachClient([](Client& client) { client.LookAtAll(); });
  CloseWindows();
  Work();
}

void BlockDriver::StartFailed(uint64_t generation) {
  NameCounters();
  generation_ = static_cast<uint32_t>(generation);
  // Before anybody hears that a request has ended, the device is to do no DMA for it.
  stopped_ = disk_ == nullptr || IsOk(disk_->Stop());
  ports_.log.Line("the disk is given up: every request fails");
  Announce(DiskState::kFailed);
  ForEachClient([](Client& client) { client.LookAtAll(); });
  CloseWindows();
  Work();
}

// An item is a slot; one that is done is another request when it comes again.
void BlockDriver::TakeUpQuarantine(bool blamed) {
  ports_.quarantine.TakeUp(
      blamed,
      [this](uint32_t client, uint32_t slot) {
        return clients_[client].has_value() &&
               clients_[client]->ring().State(slot) == block::SlotState::kSubmitted;
      },
      [this](uint32_t client) { return clients_[client]->ring().client_epoch(); });
  for (uint32_t i = 0; i < kMaxClients; ++i) {
    if (!clients_[i].has_value() || !ports_.quarantine.Holds(i)) continue;
    clients_[i]->SetQuarantined(true);
    std::array<char, 128> line;
    ports_.log.Line(
        Format(line, "disk ", i, " is in quarantine, as two instances died of its request"));
  }
}

// If the client's guest has started anew.
void BlockDriver::EndQuarantine(uint32_t index) {
  Client& client = *clients_[index];
  if (!ports_.quarantine.EndIfOther(index, client.ring().client_epoch())) return;
  client.LookAtAll();
  Refuse(client);  // what it is blamed for may be among them
  client.SetQuarantined(false);
  AnnounceTo(index, ready_ ? DiskState::kReady : DiskState::kFailed);
}

// What each client is told. A range that the physical disk does not have in full keeps its size:
// requests beyond the end fail.
void BlockDriver::Announce(DiskState state) {
  for (uint32_t i = 0; i < kMaxClients; ++i) {
    if (clients_[i].has_value()) AnnounceTo(i, state);
  }
}

void BlockDriver::AnnounceTo(uint32_t index, DiskState state) {
  Client& client = *clients_[index];
  const uint64_t physical = ready_ ? disk_->sectors() : 0;
  const DiskRange& disk = client.disk();
  const uint64_t rest = physical - std::min(physical, disk.first_sector);
  const uint64_t sectors = disk.sectors != 0 ? disk.sectors : rest;
  if (ready_ && (rest == 0 || sectors > rest)) {
    std::array<char, 128> line;
    ports_.log.Line(Format(line, "the disk has ", physical, " sectors, too few for disk ", index,
                           " at ", disk.first_sector, " + ", sectors));
  }
  client.Announce(client.quarantined() ? DiskState::kFailed : state, ready_ ? disk_->flags() : 0,
                  sectors, generation_);
}

void BlockDriver::OnSignals(uint64_t bits) {
  if ((bits & kIrqSignal) != 0 && ready_ && !IsOk(disk_->OnInterrupt())) {
    Recover("the disk asks for a reset");
  }
  if ((bits & kTimerSignal) != 0) {
    armed_ = DeadlineTimer::kNever;
    CheckDeadlines();
  }
  if ((bits & kDmaSignal) != 0) CloseWindows();
  Work();
}

void BlockDriver::Work() {
  for (uint32_t round = 0; round < kRounds; ++round) {
    Collect();
    for (uint32_t i = 0; i < kMaxClients; ++i) {
      if (!clients_[i].has_value()) continue;
      clients_[i]->TakeSubmitted();
      if (!clients_[i]->quarantined()) [[likely]]
        continue;
      Refuse(*clients_[i]);
      EndQuarantine(i);
    }
    StartRequests();
    // Before the clients hear of it, so that one that ended is not in anybody's way.
    if (close_deadline_ != DeadlineTimer::kNever) CloseWindows();
    SignalClients();
    if (MaySleep()) return;
  }
  ArmTimer(0);
}

void BlockDriver::Collect() {
  if (!ready_) return;
  disk_->DisableInterrupts();
  while (const auto outcome = disk_->Pop()) OnOutcome(*outcome);
  ports_.quarantine.Finish();
  if (disk_->broken()) Fail("the disk broke the rules of its queue");
}

void BlockDriver::OnOutcome(const PhysicalDisk::Outcome& outcome) {
  Transfer& transfer = transfers_[outcome.tag];
  idle_restarts_ = 0;
  if (outcome.status != RequestStatus::kOk) {
    Finish(outcome.tag, outcome.status);
    return;
  }
  transfer.done += transfer.piece;
  if (transfer.request.operation == Operation::kFlush ||
      transfer.done == transfer.request.sectors) {
    Finish(outcome.tag, RequestStatus::kOk);
    return;
  }
  (void)Continue(outcome.tag);
}

void BlockDriver::StartRequests() {
  if (!ready_) {
    ForEachClient([this](Client& client) { Refuse(client); });
    return;
  }
  uint32_t active = 0;
  ForEachClient([&active](const Client& client) { active += client.is_active() ? 1 : 0; });
  if (active == 0) return;
  const uint32_t share = std::max(kDepth / active, 1u);
  bool full = false;
  ForEachTag(waiting_, [&](uint32_t tag) { full = full || Continue(tag) == Step::kFull; });
  turn_ = (turn_ + 1) % kMaxClients;
  for (bool started = true; started && !full;) {
    started = false;
    for (uint32_t i = 0; i < kMaxClients && !full; ++i) {
      const uint32_t index = (turn_ + i) % kMaxClients;
      const std::optional<Client>& client = clients_[index];
      if (!client.has_value() || !client->has_pending() || client->in_flight() >= share) continue;
      full = taken_ == ~uint64_t{0} || StartNext(index) == Step::kFull;
      started = true;
    }
  }
  ports_.quarantine.Finish();
  disk_->Publish();
}

// Takes the client's next slot. The caller knows that there is one, and a free tag.
BlockDriver::Step BlockDriver::StartNext(uint32_t index) {
  Client& client = *clients_[index];
  const uint32_t slot = client.NextPending();
  ports_.quarantine.Begin(index, slot);
  const auto request = client.ring().Read(slot);
  if (!request.has_value()) return Step::kTaken;
  RequestStatus status = CheckRequest(*request, client.disk(), disk_->sectors());
  const bool nothing_to_do = request->operation == Operation::kFlush && !disk_->has_cache();
  if (status != RequestStatus::kOk || nothing_to_do) {
    client.Complete(slot, status);
    return Step::kTaken;
  }
  const auto tag = static_cast<uint32_t>(std::countr_one(taken_));
  taken_ |= Bit(tag);
  client.MarkBusy(slot);
  transfers_[tag] = {.client = index, .slot = slot, .request = *request};
  return Continue(tag);
}

// Gives the device the next piece of a transfer.
BlockDriver::Step BlockDriver::Continue(uint32_t tag) {
  waiting_ &= ~Bit(tag);
  ports_.quarantine.Begin(transfers_[tag].client, transfers_[tag].slot);
  switch (SubmitPiece(tag)) {
    case Status::kOk: transfers_[tag].deadline = After(kRequestSeconds * kSecond); break;
    case Status::kResourceExhausted:
      waiting_ |= Bit(tag);
      transfers_[tag].deadline = DeadlineTimer::kNever;
      return Step::kFull;
    default: Finish(tag, RequestStatus::kIoError); break;
  }
  return Step::kTaken;
}

Status BlockDriver::SubmitPiece(uint32_t tag) {
  Transfer& transfer = transfers_[tag];
  const Client& client = *clients_[transfer.client];
  const block::Request& request = transfer.request;
  Piece piece;
  if (IsTransfer(request.operation)) {
    const auto window = ReadDmaWindow(ports_.windows[kFirstClientDmaWindow + transfer.client]);
    if (!window.has_value()) return Status::kUnavailable;
    const Result<Piece> made = MakePiece(client.ring(), transfer.slot, request, transfer.done,
                                         *window, disk_->limits().buffer_bytes, disk_->data());
    if (!made.has_value()) return made.error();
    piece = *made;
  } else if (request.operation != Operation::kFlush) {
    const DiskLimits& limits = disk_->limits();
    piece.sectors =
        std::min(request.sectors - transfer.done, request.operation == Operation::kDiscard
                                                      ? limits.discard_sectors
                                                      : limits.write_zeroes_sectors);
  }
  transfer.piece = piece.sectors;
  const uint64_t sector = client.disk().first_sector + request.sector + transfer.done;
  return disk_->Submit(tag, request.operation, sector, piece.sectors, piece.buffers);
}

void BlockDriver::Finish(uint32_t tag, RequestStatus status) {
  const Transfer& transfer = transfers_[tag];
  taken_ &= ~Bit(tag);
  waiting_ &= ~Bit(tag);
  clients_[transfer.client]->Complete(transfer.slot, status);
  Count(kCountRequests);
  Count(kCountSectors, transfer.done);
  if (status != RequestStatus::kOk) Count(kCountErrors);
  NoteCompletion();
  ports_.quarantine.Done(transfer.client, transfer.slot);
}

// Ends all that the client submitted and that has not been taken.
void BlockDriver::Refuse(Client& client) {
  while (client.has_pending()) {
    const uint32_t slot = client.NextPending();
    if (client.ring().State(slot) == block::SlotState::kSubmitted) {
      client.Complete(slot, RequestStatus::kIoError);
      Count(kCountRefused);
    }
  }
}

// Lets go of the windows that the supervisor wants back, as soon as the device has.
void BlockDriver::CloseWindows() {
  bool waiting = false;
  bool closed = false;
  for (uint32_t i = 0; i < kMaxClients; ++i) {
    DmaWindow& window = ports_.windows[kFirstClientDmaWindow + i];
    const auto generation = DmaWindowToClose(window);
    if (!generation.has_value()) continue;
    if (clients_[i].has_value()) {
      clients_[i]->LookAtAll();
      Refuse(*clients_[i]);
      if (clients_[i]->in_flight() != 0) {
        waiting = true;
        continue;
      }
    }
    if (!ready_ && !stopped_) continue;
    AcknowledgeDmaClosed(window, *generation);
    closed = true;
  }
  if (closed) ports_.dma_closed.Notify();
  if (!waiting) {
    close_deadline_ = DeadlineTimer::kNever;
  } else if (close_deadline_ == DeadlineTimer::kNever) {
    close_deadline_ = After(kCloseMilliseconds);
    ArmTimer(close_deadline_);
  }
}

void BlockDriver::CheckDeadlines() {
  const uint64_t now = ports_.counter.Ticks();
  bool late = false;
  ForEachTag(taken_, [&](uint32_t tag) { late = late || transfers_[tag].deadline <= now; });
  if (late) {
    Recover("the disk did not answer in time");
  } else if (close_deadline_ <= now) {
    Reset("memory that the disk uses is wanted back");
  } else if (close_deadline_ != DeadlineTimer::kNever) {
    ArmTimer(close_deadline_);
  }
}

// Something is wrong with the device.
void BlockDriver::Recover(std::string_view reason) {
  if (!ready_) return;
  if (++idle_restarts_ > kMaxIdleRestarts) {
    Fail(reason);
  } else {
    Reset(reason);
  }
}

// Lets the device begin again. What it had is repeated, once for each request that was late.
void BlockDriver::Reset(std::string_view reason) {
  if (!ready_) return;
  if (!IsOk(disk_->Start())) {
    Fail(reason);
    return;
  }
  std::array<char, 128> line;
  Count(kCountResets);
  ports_.log.Line(
      Format(line, reason, "; it was reset and gets ", std::popcount(taken_), " requests again"));
  const uint64_t now = ports_.counter.Ticks();
  ForEachTag(taken_, [&](uint32_t tag) {
    const Transfer& transfer = transfers_[tag];
    Client& client = *clients_[transfer.client];
    if (transfer.deadline <= now && client.WasRepeated(transfer.slot)) {
      Finish(tag, RequestStatus::kIoError);
    } else {
      client.Repeat(transfer.slot);
    }
  });
  taken_ = waiting_ = 0;
  if (close_deadline_ != DeadlineTimer::kNever) CloseWindows();
}

void BlockDriver::Fail(std::string_view reason) {
  stopped_ = IsOk(disk_->Stop());
  ready_ = false;
  std::array<char, 128> line;
  ports_.log.Line(Format(line, reason, "; it has failed"));
  Announce(DiskState::kFailed);
  ForEachTag(taken_, [this](uint32_t tag) { Finish(tag, RequestStatus::kIoError); });
  CloseWindows();
}

void BlockDriver::SignalClients() {
  ForEachClient([](Client& client) { client.Signal(); });
}

bool BlockDriver::MaySleep() {
  if (ready_ && taken_ != 0) {
    if (disk_->EnableInterrupts()) return false;
    if (armed_ == DeadlineTimer::kNever) ArmTimer(After(kRequestSeconds * kSecond));
  }
  bool more = false;
  ForEachClient([&more](Client& client) {
    // One that has requests waiting for room is looked at when the device gives some back.
    if (!client.has_pending() && client.Wait()) more = true;
  });
  return !more;
}

void BlockDriver::ArmTimer(uint64_t deadline) {
  if (deadline >= armed_) return;
  armed_ = deadline;
  ports_.timer.Set(deadline);
}

uint64_t BlockDriver::After(uint64_t milliseconds) const {
  return ports_.counter.Ticks() + ports_.counter.TicksPerSecond() * milliseconds / kSecond;
}

}  // namespace atoll::blk_driver
