#include "services/vswitch/switch.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/net/bytes.h"
#include "services/net/offload.h"
#include "services/runtime/statistics.h"

namespace atoll::vswitch {
namespace {

using net::FrameHeader;

constexpr size_t kHeadAlways = 32;  // addresses and VLAN tag
constexpr int64_t kTurnBytes = 128 << 10;
constexpr int64_t kFrameCost = 512;  // bytes that could be copied in the time of all else
// After so many turns signals have theirs: those who send fill their rings while this works, so else there need be no end.
constexpr uint32_t kTurnsPerJob = 8;

// What the user sees of this instance (statistics.h).
enum Counter : size_t { kCountFrames, kCountBytes, kCountQuarantines };

constexpr uint32_t Bit(uint32_t port) { return uint32_t{1} << port; }

// Calls visit(port) for each bit, lowest first.
template <typename Visit>
void ForEach(uint32_t ports, Visit visit) {
  for (; ports != 0; ports &= ports - 1) visit(static_cast<uint32_t>(std::countr_zero(ports)));
}

constexpr MacAddress kMacMask = (MacAddress{1} << 48) - 1;

MacAddress Destination(std::span<const std::byte> head) {
  return net::LoadRaw<uint64_t>(head.data()) & kMacMask;
}
MacAddress Source(std::span<const std::byte> head) {
  return net::LoadRaw<uint64_t>(head.data() + 6) & kMacMask;
}
bool IsGroup(MacAddress mac) { return (mac & 1) != 0; }

// The VLAN of the outer tag; 0 for untagged and priority-tagged frames.
uint16_t Vlan(std::span<const std::byte> head) {
  if (net::EtherTypeOffset(head) == 12) return 0;
  return net::Load16(head, 14) & 0xfff;
}

bool HasOffload(const FrameHeader& header) {
  return header.flags != 0 || header.gso_type != FrameHeader::kGsoNone;
}

}  // namespace

Switch::Switch(const Surroundings& surroundings)
    : surroundings_(surroundings),
      addresses_(kMaxAgeSeconds * surroundings.counter.TicksPerSecond(),
                 surroundings.counter.Ticks() * 0xd6e8'feb8'6659'fd93),
      patience_(surroundings.counter.TicksPerSecond() / kPatiencePerSecond) {}

Status Switch::AddPort(uint32_t number, const PortSettings& settings, std::span<std::byte> memory,
                       Notifier& peer) {
  if (number >= kPorts) return Status::kOutOfRange;
  if (ports_[number].has_value()) return Status::kAlreadyExists;
  if (memory.size() < net::kPortBytes) return Status::kInvalidArgument;
  const auto from = net::FrameReader::Attach(memory.first(net::kRingBytes));
  if (!from.has_value()) return from.error();
  const auto to = net::FrameWriter::Attach(memory.subspan(net::kRingBytes, net::kRingBytes));
  if (!to.has_value()) return to.error();
  ports_[number].emplace(Port{.settings = settings, .from = *from, .to = *to, .peer = peer});
  ports_[number]->flood_allowance = kFloodBurst;
  if (settings.mac.has_value()) addresses_.Pin(*settings.mac, number);
  present_ |= Bit(number);
  return Status::kOk;
}

void Switch::Start(bool blamed) {
  NameCounter(kCountFrames, "frames");
  NameCounter(kCountBytes, "bytes");
  NameCounter(kCountQuarantines, "quarantines");
  // An item is the frame at the front of a port's ring, named by its place.
  surroundings_.quarantine.TakeUp(
      blamed,
      [this](uint32_t number, uint32_t position) {
        return ports_[number].has_value() && ports_[number]->from.position() == position;
      },
      [this](uint32_t number) { return ports_[number]->from.writer_epoch(); });
  ForEach(present_, [this](uint32_t number) {
    Port& port = *ports_[number];
    port.quarantined = surroundings_.quarantine.Holds(number);
    port.down = port.quarantined || port.from.WriterIsDown();
    if (port.quarantined) {
      Count(kCountQuarantines);
      surroundings_.log.Quarantined(port.settings.name);
    }
    port.to.SetDown(port.quarantined);
    port.peer.Notify();
  });
  OnSignals(present_);
}

void Switch::Fail() {
  ForEach(present_, [this](uint32_t number) {
    ports_[number]->to.SetDown(true);
    ports_[number]->peer.Notify();
  });
  present_ = 0;
}

void Switch::OnSignals(uint64_t bits) {
  uint32_t ports = static_cast<uint32_t>(bits) & present_;
  if ((bits & kTimerSignal) != 0) {
    timer_.reset();
    ForEach(present_, [&](uint32_t number) {
      if (ports_[number]->head.has_value()) ports |= Bit(number);
    });
  }
  Wake(ports);
  for (uint32_t turns = 0; active_ != 0 && turns < kTurnsPerJob;) {
    now_ = surroundings_.counter.Ticks();
    const uint32_t round = active_;
    turns += static_cast<uint32_t>(std::popcount(round));
    const uint32_t later = round & (Bit(first_) - 1);  // before the first: after the last
    ForEach(round & ~later, [this](uint32_t number) { TakeTurn(number); });
    ForEach(later, [this](uint32_t number) { TakeTurn(number); });
    first_ = (first_ + 1) % kPorts;
  }
  SetTimer();
}

// These ports have frames or room: they and whoever waits for them are to be looked at.
void Switch::Wake(uint32_t ports) {
  active_ |= ports;
  ForEach(ports, [this](uint32_t number) {
    if (ports_[number]->head.has_value()) active_ |= Bit(*ports_[number]->head);
  });
}

void Switch::TakeTurn(uint32_t number) {
  Port& sender = *ports_[number];
  std::optional<uint32_t> waited_for;
  if (sender.blocked_on.has_value()) {
    Port& receiver = *ports_[*sender.blocked_on];
    receiver.waiters &= ~Bit(number);
    if (receiver.head == number) {
      receiver.head.reset();
      waited_for = sender.blocked_on;
    }
    sender.blocked_on.reset();
  }

  sender.credit = std::min(sender.credit + kTurnBytes, kTurnBytes);
  bool consumed = false;
  const bool may = MayTakeTurn(number);
  while (may && sender.credit > 0) {
    sender.credit -= kFrameCost;
    surroundings_.quarantine.Begin(number, sender.from.position());
    const std::optional<net::Frame> frame = sender.from.Next();
    if (!frame.has_value()) {
      if (sender.from.Wait()) continue;
      active_ &= ~Bit(number);
      sender.credit = 0;
      break;
    }
    if (Forward(number, *frame) == Outcome::kBlocked) {
      active_ &= ~Bit(number);
      break;
    }
    sender.from.Consume();
    consumed = true;
  }

  surroundings_.quarantine.Finish();

  // Who waited behind it may try now.
  if (waited_for.has_value() && !ports_[*waited_for]->head.has_value()) {
    active_ |= ports_[*waited_for]->waiters;
  }
  Signal(number, consumed);
  CheckRings(sender);
}

// Whether the port's frames are to be looked at. If not, they are gone.
bool Switch::MayTakeTurn(uint32_t number) {
  Port& port = *ports_[number];
  if (port.quarantined && surroundings_.quarantine.EndIfOther(number, port.from.writer_epoch())) {
    port.quarantined = false;
    port.from.DropAll();  // what it is blamed for is there
    port.to.SetDown(false);
    port.peer.Notify();
  }
  port.down = port.quarantined || port.from.WriterIsDown();
  if (port.down) [[unlikely]]
    active_ |= port.waiters;  // they need not wait any more
  if (!port.quarantined) [[likely]]
    return true;
  do {
    port.from.DropAll();
  } while (port.from.Wait());
  port.credit = 0;
  active_ &= ~Bit(number);
  if (port.from.WriterWaits()) port.peer.Notify();
  return false;
}

Switch::Outcome Switch::Forward(uint32_t number, const net::Frame& frame) {
  Port& sender = *ports_[number];
  const size_t wanted = HasOffload(frame.header) ? net::kHeadBytes : kHeadAlways;
  std::array<std::byte, net::kHeadBytes> bytes;
  const std::span<std::byte> head(bytes.data(), std::min(frame.bytes.size(), wanted));
  std::memcpy(head.data(), frame.bytes.data(), head.size());

  const auto valid = net::ValidateOffload(frame.header, head);
  const MacAddress source = Source(head);
  if (!valid.has_value() || IsGroup(source)) {
    ++sender.counters.invalid;
    return Outcome::kDone;
  }
  const uint16_t vlan = Vlan(head);
  const bool filtered = sender.settings.filter && sender.settings.mac != source;
  if (filtered || !addresses_.Learn(source, vlan, number, now_)) {
    ++sender.counters.spoofed;
    return Outcome::kDone;
  }

  Transit transit{*valid, head, frame.bytes, number};
  if (sender.settings.verifies_checksums && transit.header.flags == 0) {
    transit.header.flags = frame.header.flags & FrameHeader::kDataValid;
  }
  const MacAddress destination = Destination(head);
  const std::optional<uint32_t> receiver =
      IsGroup(destination) ? std::nullopt : addresses_.Find(destination, vlan, now_);
  if (receiver == number) {
    ++sender.counters.local;
  } else if (!receiver.has_value()) {
    Flood(transit);
  } else if (ForwardTo(*receiver, transit) == Outcome::kBlocked) {
    return Outcome::kBlocked;
  }
  ++sender.counters.in;
  sender.counters.in_bytes += frame.bytes.size();
  return Outcome::kDone;
}

Switch::Outcome Switch::ForwardTo(uint32_t number, const Transit& transit) {
  Port& receiver = *ports_[number];
  if (receiver.down || IsStalled(receiver)) {
    ++receiver.counters.stalled;
    return Outcome::kDone;
  }
  if (!receiver.head.has_value()) {
    const std::span<std::byte> room = receiver.to.Reserve(transit.header.bytes);
    if (!room.empty()) {
      Deliver(number, room, transit);
      return Outcome::kDone;
    }
    NoteFull(receiver);
    if (receiver.stalled) {
      active_ |= receiver.waiters;
      ++receiver.counters.stalled;
      return Outcome::kDone;
    }
    receiver.head = NextHead(number, transit.sender);
    active_ |= Bit(*receiver.head) & ~Bit(transit.sender);
  }
  receiver.waiters |= Bit(transit.sender);
  ports_[transit.sender]->blocked_on = number;
  return Outcome::kBlocked;
}

// Who is next when a sender finds no room: itself, unless others wait and it has just had its share.
uint32_t Switch::NextHead(uint32_t receiver, uint32_t sender) const {
  const uint32_t waiters = ports_[receiver]->waiters;
  if (waiters == 0 || (delivered_ & Bit(receiver)) == 0) return sender;
  const uint32_t after = waiters & ~((Bit(sender) << 1) - 1);
  return static_cast<uint32_t>(std::countr_zero(after != 0 ? after : waiters));
}

void Switch::Flood(const Transit& transit) {
  const uint32_t receivers = present_ & ~Bit(transit.sender);
  const auto copies = static_cast<uint64_t>(std::popcount(receivers));
  Port& sender = *ports_[transit.sender];
  if (copies > 1 &&
      !TakeFloodAllowance(sender, (copies - 1) * (transit.header.bytes + kFrameCost))) {
    ++sender.counters.storm;
    return;
  }
  ForEach(receivers, [&](uint32_t number) {
    Port& receiver = *ports_[number];
    // Whoever waits there comes first.
    const bool wanted = !receiver.down && !receiver.head.has_value() && !IsStalled(receiver);
    const std::span<std::byte> room =
        wanted ? receiver.to.TryReserve(transit.header.bytes) : std::span<std::byte>();
    if (room.empty()) {
      ++receiver.counters.full;
    } else {
      Deliver(number, room, transit);
    }
  });
}

bool Switch::TakeFloodAllowance(Port& sender, uint64_t bytes) {
  const uint64_t second = surroundings_.counter.TicksPerSecond();
  const uint64_t elapsed = std::min(now_ - sender.flood_refilled, second);  // so nothing overflows
  sender.flood_refilled = now_;
  sender.flood_allowance =
      std::min(sender.flood_allowance + elapsed * kFloodBytesPerSecond / second, kFloodBurst);
  if (sender.flood_allowance < bytes) return false;
  sender.flood_allowance -= bytes;
  return true;
}

// A stalled port gets frames again when it has taken half of what it had.
bool Switch::IsStalled(Port& receiver) {
  if (receiver.stalled && receiver.to.Free() >= receiver.to.capacity() / 2) {
    receiver.stalled = false;
    receiver.full_since.reset();
  }
  return receiver.stalled;
}

// It had no room: whether it makes progress at least.
void Switch::NoteFull(Port& receiver) {
  const uint32_t taken = receiver.to.reader_index();
  if (!receiver.full_since.has_value() || taken - receiver.taken_mark >= kProgressBytes) {
    receiver.full_since = now_;
    receiver.taken_mark = taken;
  }
  receiver.stalled = now_ - *receiver.full_since >= patience_;
}

void Switch::Deliver(uint32_t number, std::span<std::byte> room, const Transit& transit) {
  Port& receiver = *ports_[number];
  const size_t head = transit.head.size();
  std::memcpy(room.data(), transit.head.data(), head);
  std::memcpy(room.data() + head, transit.shared.data() + head, room.size() - head);
  receiver.to.Publish(transit.header);
  ++receiver.counters.out;
  receiver.counters.out_bytes += room.size();
  Count(kCountFrames);
  Count(kCountBytes, room.size());
  delivered_ |= Bit(number);
  ports_[transit.sender]->credit -= static_cast<int64_t>(room.size()) + kFrameCost;
}

// Once for a turn, and only whoever sleeps.
void Switch::Signal(uint32_t sender, bool consumed) {
  ForEach(delivered_, [this](uint32_t number) {
    if (ports_[number]->to.ReaderWaits()) ports_[number]->peer.Notify();
  });
  delivered_ = 0;
  if (consumed && ports_[sender]->from.WriterWaits()) ports_[sender]->peer.Notify();
}

void Switch::CheckRings(Port& port) {
  const uint64_t faults = uint64_t{port.from.faults()} + port.to.faults();
  if (faults == port.counters.ring_faults) return;
  if (port.counters.ring_faults == 0) surroundings_.log.RingMadeNoSense(port.settings.name);
  port.counters.ring_faults = faults;
}

// To go on with what is left, or to find out which of the ports that others wait for have stalled.
void Switch::SetTimer() {
  if (active_ != 0) {  // at once, but after the signals that came meanwhile
    timer_ = 0;
    return surroundings_.timer.Set(0);
  }
  if (timer_.has_value()) return;
  ForEach(present_, [this](uint32_t number) {
    const Port& port = *ports_[number];
    if (!port.head.has_value() || !port.full_since.has_value()) return;
    const uint64_t deadline = *port.full_since + patience_;
    timer_ = std::min(timer_.value_or(deadline), deadline);
  });
  if (timer_.has_value()) surroundings_.timer.Set(*timer_);
}

}  // namespace atoll::vswitch
