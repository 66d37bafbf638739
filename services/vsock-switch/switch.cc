#include "services/vsock-switch/switch.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/runtime/statistics.h"

namespace atoll::vsock_switch {
namespace {

using vsock::PacketHeader;

constexpr int64_t kTurnBytes = 128 << 10;
constexpr int64_t kPacketCost = 512;  // bytes that could be copied in the time of all else
constexpr uint32_t kRounds = 64;      // before other signals have their turn

// What the user sees of this instance (statistics.h).
enum Counter : size_t { kCountPackets, kCountBytes, kCountRefused, kCountEnded, kCountFinished };

constexpr uint32_t Bit(uint32_t port) { return uint32_t{1} << port; }

// Calls visit(port) for each bit, lowest first.
template <typename Visit>
void ForEach(uint32_t ports, Visit visit) {
  for (; ports != 0; ports &= ports - 1) visit(static_cast<uint32_t>(std::countr_zero(ports)));
}

// SwitchJournal::moving.
struct Move {
  uint64_t sender : 4 = 0;  // its number + 1
  uint64_t receiver : 4 = 0;
  uint64_t from : 28 = 0;
  uint64_t to : 28 = 0;
};
static_assert(sizeof(Move) == sizeof(uint64_t) && kPorts < 16);
constexpr uint32_t Mark(uint32_t position) { return position >> 4; }

}  // namespace

Switch::Switch(const Surroundings& surroundings)
    : surroundings_(surroundings),
      journal_(surroundings.journal),
      patience_(surroundings.counter.TicksPerSecond() / 1000 * surroundings.patience_ms) {}

Status Switch::AddPort(uint32_t number, const PortSettings& settings, std::span<std::byte> memory,
                       Peer& peer) {
  if (number >= kPorts) return Status::kOutOfRange;
  if (ports_[number].has_value()) return Status::kAlreadyExists;
  if (memory.size() < vsock::kPortBytes) return Status::kInvalidArgument;
  const auto from = net::FrameReader::Attach(memory.first(vsock::kRingBytes), vsock::kMaxPacket);
  if (!from.has_value()) return from.error();
  const auto to = net::FrameWriter::Attach(memory.subspan(vsock::kRingBytes, vsock::kRingBytes),
                                           vsock::kMaxPacket);
  if (!to.has_value()) return to.error();
  ports_[number].emplace(Port{.settings = settings, .from = *from, .to = *to, .peer = peer});
  present_ |= Bit(number);
  return Status::kOk;
}

void Switch::Start(bool blamed) {
  size_t index = 0;
  for (const char* name : {"packets", "bytes", "refused", "ended", "finished"}) {
    NameCounter(index++, name);
  }
  FinishMove();
  // An item is the packet at the front of a port's ring, named by its place.
  journal_.quarantine.TakeUp(
      blamed,
      [this](uint32_t number, uint32_t position) {
        return ports_[number].has_value() && ports_[number]->from.position() == position;
      },
      [this](uint32_t number) { return ports_[number]->from.writer_epoch(); });
  ForEach(present_, [this](uint32_t number) {
    Port& port = *ports_[number];
    port.quarantined = journal_.quarantine.Holds(number);
    if (port.quarantined) surroundings_.log.Quarantined(port.settings.name);
    if (!port.quarantined) port.to.SetDown(false);
    Notify(number);  // an earlier instance may have owed it a signal
  });
  probe_ = surroundings_.counter.Ticks() + surroundings_.counter.TicksPerSecond();
  OnSignals(present_);
}

void Switch::Fail() {
  ForEach(present_, [this](uint32_t number) {
    Port& port = *ports_[number];
    if (!port.to.IsDown()) port.to.StartEpoch();
    port.to.SetDown(true);
    Notify(number);
  });
  present_ = 0;
}

// The packet that an earlier instance had in hand: gives back its place if it is through.
void Switch::FinishMove() {
  const uint64_t word = journal_.moving;
  const auto move = std::bit_cast<Move>(word);
  const uint32_t sender = move.sender - 1;
  if (journal_.moving_complement == ~word && word != 0 && sender < kPorts &&
      move.receiver < kPorts && ports_[sender].has_value() && ports_[move.receiver].has_value()) {
    Port& from = *ports_[sender];
    if (Mark(ports_[move.receiver]->to.position()) != move.to &&
        Mark(from.from.position()) == move.from) {
      if (const auto frame = from.from.Next()) {
        const auto header = vsock::HeaderOf(*frame);
        if (header.has_value() && header->op == vsock::kOpReset) {
          journal_.connections.Remove(
              {sender, static_cast<uint32_t>(move.receiver), header->src_port, header->dst_port});
        }
        from.from.Consume();
        Count(kCountFinished);
      }
    }
  }
  StoreRelease(journal_.moving, 0);
}

void Switch::OnSignals(uint64_t bits) {
  const uint32_t ports = static_cast<uint32_t>(bits) & present_;
  now_ = surroundings_.counter.Ticks();
  // These ports have packets or room: they and who waits for them are to be looked at.
  active_ |= ports;
  ForEach(ports, [this](uint32_t number) {
    ports_[number]->absent = false;
    if (const auto waiter = FirstWaiter(number)) active_ |= Bit(*waiter);
  });
  if ((bits & kTimerSignal) != 0) {
    timer_.reset();
    Probe();
    ForEach(present_, [this](uint32_t number) {
      if (const auto waiter = FirstWaiter(number)) active_ |= Bit(*waiter);
    });
  }
  for (uint32_t rounds = 0; active_ != 0 && rounds < kRounds; ++rounds) {
    now_ = surroundings_.counter.Ticks();
    const uint32_t round = active_;
    const uint32_t later = round & (Bit(first_) - 1);  // before the first: after the last
    ForEach(round & ~later, [this](uint32_t number) { TakeTurn(number); });
    ForEach(later, [this](uint32_t number) { TakeTurn(number); });
    first_ = (first_ + 1) % kPorts;
  }
  SetTimer();
}

void Switch::TakeTurn(uint32_t number) {
  Port& sender = *ports_[number];
  active_ &= ~Bit(number);
  const std::optional<uint32_t> waited_for = sender.blocked_on;
  if (waited_for.has_value()) {
    ports_[*waited_for]->waiters &= ~Bit(number);
    sender.blocked_on.reset();
  }
  sender.credit = std::min(sender.credit + kTurnBytes, kTurnBytes);
  const uint32_t position = sender.from.position();
  if (MoveSome(number)) active_ |= Bit(number);
  journal_.quarantine.Finish();
  if (sender.blocked_on != waited_for) sender.ticket = 0;
  if (sender.blocked_on.has_value() && sender.ticket == 0) sender.ticket = ++tickets_;
  // Who waited behind it may try now.
  if (waited_for.has_value()) {
    const auto next = FirstWaiter(*waited_for);
    if (next.has_value() && *next != number) active_ |= Bit(*next);
  }
  Signal(number, sender.from.position() != position);
}

// True: it has used up its share, and there may be more.
bool Switch::MoveSome(uint32_t number) {
  Port& sender = *ports_[number];
  while (sender.credit > 0) {
    // Its epoch may change between two packets.
    if (!CheckPort(number) || !EndConnections(number)) return false;
    sender.credit -= kPacketCost;
    journal_.quarantine.Begin(number, sender.from.position());
    const std::optional<net::Frame> frame = sender.from.Next();
    if (!frame.has_value()) {
      if (sender.from.Wait()) continue;
      sender.credit = 0;
      return false;
    }
    switch (Forward(number, *frame)) {
      case Outcome::kStale: continue;
      case Outcome::kBlocked: return false;
      case Outcome::kDone: break;
    }
    sender.from.Consume();
    StoreRelease(journal_.moving, 0);
  }
  return true;
}

// Notes what has become of the port. False: its packets are not to be looked at.
bool Switch::CheckPort(uint32_t number) {
  Port& port = *ports_[number];
  const uint32_t epoch = port.from.writer_epoch();
  if (journal_.epochs[number] != WithComplement(epoch)) [[unlikely]] {
    BeginEnding(number);
    StoreRelease(journal_.epochs[number], WithComplement(epoch));
    if (port.quarantined && journal_.quarantine.EndIfOther(number, epoch)) {
      port.quarantined = false;
      port.from.DropAll();  // what it is blamed for is there
      port.to.SetDown(false);
      Notify(number);
    }
  }
  const bool gone = port.quarantined || port.absent || port.from.WriterIsDown();
  if (gone && !port.gone) {
    BeginEnding(number);
    active_ |= port.waiters;  // they need not wait any more
  }
  port.gone = gone;
  if (!port.quarantined) [[likely]]
    return true;
  if (!port.to.IsDown()) {  // for the first time
    port.to.StartEpoch();
    port.to.SetDown(true);
    Notify(number);
  }
  do {
    port.from.DropAll();
  } while (port.from.Wait());
  (void)EndConnections(number);
  return false;
}

void Switch::BeginEnding(uint32_t number) {
  StoreRelease(journal_.ending[number], 1);
  active_ |= Bit(number);
}

// Tells the other end of each connection of this port. False: somebody has no room for it now.
bool Switch::EndConnections(uint32_t number) {
  if (journal_.ending[number] == 0) [[likely]]
    return true;
  uint32_t from = 0;
  while (const auto found = journal_.connections.Next(number, from)) {
    const uint32_t other = found->own;
    if (ports_[other].has_value() && other != number) {
      if (MayReceive(other)) {
        const Transit reset{
            {.src_cid = ports_[number].has_value() ? ports_[number]->settings.cid : 0,
             .dst_cid = ports_[other]->settings.cid,
             .src_port = found->other_port,
             .dst_port = found->own_port,
             .type = vsock::kTypeStream,
             .op = vsock::kOpReset},
            {}};
        const Outcome outcome = Put(number, other, reset, /*consumes=*/false);
        if (outcome == Outcome::kBlocked) return false;
        if (outcome == Outcome::kDone) ++ports_[other]->counters.ended;
      }
      // It takes nothing now, and may not know yet that it loses connections.
      if (ports_[other]->stalled) ports_[other]->to.StartEpoch();
    }
    journal_.connections.Remove(*found);
    Count(kCountEnded);
  }
  StoreRelease(journal_.ending[number], 0);
  return true;
}

Switch::Outcome Switch::Forward(uint32_t number, const net::Frame& frame) {
  Port& sender = *ports_[number];
  const uint32_t epoch = sender.from.writer_epoch();
  if (frame.header.flow != vsock::EpochMark(epoch)) {
    // It was sent before what ended the epoch; or after, and that is to be seen to first.
    if (journal_.epochs[number] != WithComplement(epoch)) return Outcome::kStale;
    ++sender.counters.dropped;
    return Outcome::kDone;
  }
  const std::optional<PacketHeader> header = vsock::HeaderOf(frame);
  if (!header.has_value() || header->src_cid != sender.settings.cid) {
    ++sender.counters.dropped;
    return Outcome::kDone;
  }
  const bool whole = IsSound(*header) && header->len == frame.bytes.size() - sizeof(*header);
  if ((frame.header.flags & vsock::kRefuse) != 0 || !whole) return Refuse(number, *header);
  const std::optional<uint32_t> receiver = Route(number, *header);
  if (!receiver.has_value() || !MayReceive(*receiver)) return Refuse(number, *header);
  if (header->op == vsock::kOpRequest && !MayConnect(number, *receiver, *header)) {
    return Refuse(number, *header);
  }
  const Connection connection{number, *receiver, header->src_port, header->dst_port};
  if (header->op == vsock::kOpResponse) journal_.connections.Answer(connection);
  const Outcome outcome =
      Put(number, *receiver, {*header, frame.bytes.subspan(sizeof(*header))}, true);
  if (outcome == Outcome::kBlocked) return outcome;
  if (outcome == Outcome::kStale) return Refuse(number, *header);
  if (header->op == vsock::kOpReset) journal_.connections.Remove(connection);
  ++sender.counters.in;
  return Outcome::kDone;
}

// The port of a CID that this one may talk to.
std::optional<uint32_t> Switch::Route(uint32_t number, const PacketHeader& header) const {
  std::optional<uint32_t> found;
  ForEach(present_ & ports_[number]->settings.peers & ~Bit(number), [&](uint32_t other) {
    const PortSettings& settings = ports_[other]->settings;
    if (settings.cid == header.dst_cid && (settings.peers & Bit(number)) != 0) found = other;
  });
  return found;
}

bool Switch::MayReceive(uint32_t number) {
  Port& port = *ports_[number];
  const bool gone = port.quarantined || port.absent || port.from.WriterIsDown();
  if (gone != port.gone) active_ |= Bit(number);
  return !gone && !IsStalled(port);
}

bool Switch::MayConnect(uint32_t number, uint32_t receiver, const PacketHeader& header) {
  Notify(receiver);  // whether it is there
  if (ports_[receiver]->absent) return false;
  if (!probe_.has_value()) probe_ = now_ + surroundings_.counter.TicksPerSecond();
  return journal_.connections.Add({number, receiver, header.src_port, header.dst_port});
}

// 5.10.6.5: RST is never answered by RST.
Switch::Outcome Switch::Refuse(uint32_t number, const PacketHeader& header) {
  Port& sender = *ports_[number];
  if (header.op == vsock::kOpReset || !MayReceive(number)) {
    ++sender.counters.dropped;
    return Outcome::kDone;
  }
  const Outcome outcome = Put(number, number, {ResetFor(header), {}}, true);
  if (outcome == Outcome::kBlocked) return outcome;
  ++sender.counters.refused;
  Count(kCountRefused);
  return Outcome::kDone;
}

Switch::Outcome Switch::Put(uint32_t number, uint32_t to, const Transit& transit, bool consumes) {
  Port& sender = *ports_[number];
  Port& receiver = *ports_[to];
  const auto bytes = static_cast<uint32_t>(sizeof(PacketHeader) + transit.payload.size());
  const std::optional<uint32_t> first = FirstWaiter(to);
  // Who has no ticket came after all who wait.
  const bool turn =
      !first.has_value() || (sender.ticket != 0 && sender.ticket < ports_[*first]->ticket);
  const std::span<std::byte> room = turn ? receiver.to.Reserve(bytes) : std::span<std::byte>();
  if (room.empty()) {
    if (turn) NoteFull(to);
    if (receiver.stalled) return Outcome::kStale;
    receiver.waiters |= Bit(number);
    sender.blocked_on = to;
    return Outcome::kBlocked;
  }
  std::memcpy(room.data(), &transit.header, sizeof(transit.header));
  if (!transit.payload.empty()) {
    std::memcpy(room.data() + sizeof(transit.header), transit.payload.data(),
                transit.payload.size());
  }
  if (consumes) {
    const auto word = std::bit_cast<uint64_t>(Move{.sender = number + 1,
                                                   .receiver = to,
                                                   .from = Mark(sender.from.position()),
                                                   .to = Mark(receiver.to.position())});
    StoreRelease(journal_.moving_complement, ~word);
    StoreRelease(journal_.moving, word);
  }
  receiver.to.Publish({.bytes = bytes, .flow = vsock::EpochMark(receiver.to.epoch())});
  receiver.full_since.reset();
  sender.ticket = 0;
  delivered_ |= Bit(to);
  sender.credit -= bytes;
  Count(kCountPackets);
  Count(kCountBytes, bytes);
  return Outcome::kDone;
}

// A stalled port gets packets again when it has taken half of what it had.
bool Switch::IsStalled(Port& receiver) {
  if (receiver.stalled && receiver.to.Free() >= receiver.to.capacity() / 2) {
    receiver.stalled = false;
    receiver.full_since.reset();
  }
  return receiver.stalled;
}

// It had no room: whether it makes progress at least.
void Switch::NoteFull(uint32_t number) {
  Port& receiver = *ports_[number];
  const uint32_t taken = receiver.to.reader_index();
  if (!receiver.full_since.has_value() || taken != receiver.taken_mark) {
    receiver.full_since = now_;
    receiver.taken_mark = taken;
  }
  if (now_ - *receiver.full_since < patience_) return;
  receiver.stalled = true;
  receiver.to.StartEpoch();
  active_ |= receiver.waiters;
  BeginEnding(number);
  Notify(number);
  surroundings_.log.Stalled(receiver.settings.name);
}

std::optional<uint32_t> Switch::FirstWaiter(uint32_t receiver) const {
  std::optional<uint32_t> first;
  ForEach(ports_[receiver]->waiters, [&](uint32_t waiter) {
    if (!first.has_value() || ports_[waiter]->ticket < ports_[*first]->ticket) first = waiter;
  });
  return first;
}

void Switch::Notify(uint32_t number) {
  Port& port = *ports_[number];
  if (port.peer.Notify()) return;
  port.absent = true;
  active_ |= Bit(number) & present_;
}

// Once for a turn, and only whoever sleeps.
void Switch::Signal(uint32_t sender, bool consumed) {
  ForEach(delivered_, [this](uint32_t number) {
    if (ports_[number]->to.ReaderWaits()) Notify(number);
  });
  delivered_ = 0;
  if (consumed && ports_[sender]->from.WriterWaits()) Notify(sender);
}

// A VM that was turned off says nothing. Who has connections with it is told within a second.
void Switch::Probe() {
  if (!probe_.has_value() || now_ < *probe_) return;
  probe_.reset();
  if (journal_.connections.count() == 0) return;
  probe_ = now_ + surroundings_.counter.TicksPerSecond();
  ForEach(present_, [this](uint32_t number) {
    if (!ports_[number]->absent) Notify(number);
  });
}

void Switch::SetTimer() {
  if (active_ != 0) {
    timer_ = now_;
    surroundings_.timer.Set(now_);
    return;
  }
  std::optional<uint64_t> next = probe_;
  ForEach(present_, [&](uint32_t number) {
    const Port& port = *ports_[number];
    if (port.waiters == 0 || !port.full_since.has_value()) return;
    next = std::min(next.value_or(~uint64_t{0}), *port.full_since + patience_);
  });
  if (!next.has_value() || (timer_.has_value() && *timer_ <= *next)) return;
  timer_ = next;
  surroundings_.timer.Set(*next);
}

}  // namespace atoll::vsock_switch
