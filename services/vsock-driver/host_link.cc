#include "services/vsock-driver/host_link.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "services/runtime/check_word.h"
#include "services/runtime/journal.h"

namespace atoll::vsock_driver {
namespace {

// LinkJournal::placed: packet `sequence` is in the ring if the ring's position is not `place` any more.
struct Placed {
  uint32_t sequence = 0;
  uint16_t place = 0;
  uint16_t check = 0;
};

uint16_t CheckOf(Placed placed) {
  placed.check = 0;
  CheckWord check;
  check.Add(std::bit_cast<uint64_t>(placed));
  return static_cast<uint16_t>(check.value() >> 16);
}

// A packet moves it by less than the ring's capacity, so these bits change.
uint16_t Mark(uint32_t position) { return static_cast<uint16_t>(position >> 4); }

}  // namespace

HostLink::HostLink(const Ports& ports) : ports_(ports) {
  acknowledged_ = sent_ = sending_ = ports_.from_switch.position();
}

uint32_t HostLink::JournalledSession() const {
  const uint64_t word = ports_.journal.session;
  const auto placed = std::bit_cast<Placed>(ports_.journal.placed);
  return IsWithComplement(word) && placed.check == CheckOf(placed) ? static_cast<uint32_t>(word)
                                                                   : 0;
}

void HostLink::SetSession(uint32_t session) {
  Placed placed = {.sequence = 0, .place = Mark(ports_.to_switch.position())};
  placed.check = CheckOf(placed);
  StoreRelease(ports_.journal.session, 0);
  StoreRelease(ports_.journal.placed, std::bit_cast<uint64_t>(placed));
  StoreRelease(ports_.journal.session, WithComplement(session));
}

uint32_t HostLink::NextWanted() const {
  const auto placed = std::bit_cast<Placed>(ports_.journal.placed);
  return placed.sequence + (placed.place == Mark(ports_.to_switch.position()) ? 0 : 1);
}

void HostLink::Open() {
  if (silent()) Greet();
}

void HostLink::Close() {
  if (state_ == State::kClosed) return;
  StoreRelease(ports_.journal.session, 0);
  ports_.to_switch.SetDown(true);
  notify_ = true;
  Silence(State::kClosed);
}

void HostLink::Suspend() {
  if (!silent()) Silence(State::kWaiting);
}

void HostLink::Silence(State state) {
  state_ = state;
  encoder_.Abandon();
  pending_ = hello_due_ = ack_due_ = false;
  deadline_ = DeadlineTimer::kNever;
}

void HostLink::Greet() {
  state_ = State::kGreeting;
  ++counters_.greetings;
  encoder_.Abandon();
  pending_ = false;
  epoch_ = ports_.from_switch.writer_epoch();
  // What was sent before what ended the epoch counts no more.
  ports_.from_switch.Rewind(acknowledged_);
  while (const auto frame = ports_.from_switch.Next()) {
    if (frame->header.flow == vsock::EpochMark(epoch_)) break;
    ports_.from_switch.Consume();
  }
  faults_ = ports_.from_switch.faults();
  acknowledged_ = sent_ = sending_ = ports_.from_switch.position();
  session_ = JournalledSession();
  wanted_ = NextWanted();
  nonce_ = std::max(nonce_ + 1, ports_.counter.Ticks());
  hello_due_ = true;
  deadline_ = ports_.counter.Ticks() + kGreetSeconds * ports_.counter.TicksPerSecond();
}

size_t HostLink::Receive(std::span<const std::byte> bytes) {
  if (silent()) return bytes.size();
  size_t all = 0;
  for (;;) {
    if (pending_ && !OnFrame()) return all;
    pending_ = false;
    size_t taken = 0;
    pending_ = decoder_.Take(bytes.subspan(all), taken);
    all += taken;
    if (!pending_) return all;
  }
}

bool HostLink::OnFrame() {
  const LinkHeader header = decoder_.header();
  const std::span<const std::byte> payload = decoder_.payload();
  if (header.kind == Kind::kWelcome) {
    OnWelcome(header, payload);
    return true;
  }
  if (header.kind == Kind::kAsk) {
    if (state_ == State::kLinked) Greet();
    return true;
  }
  // In between there is only what belongs to what was before.
  const bool ours = header.kind == Kind::kData || header.kind == Kind::kAck;
  if (!ours || state_ != State::kLinked || header.session != session_) {
    ++counters_.refused;
    return true;
  }
  OnAcknowledge(header.acknowledged);
  return header.kind == Kind::kAck || OnData(header, payload);
}

void HostLink::OnWelcome(const LinkHeader& header, std::span<const std::byte> payload) {
  Nonce nonce = 0;
  if (payload.size() == sizeof(nonce)) std::memcpy(&nonce, payload.data(), sizeof(nonce));
  if (state_ != State::kGreeting || payload.size() != sizeof(nonce) || nonce != nonce_ ||
      header.session == 0) {
    ++counters_.refused;
    return;
  }
  if (header.session != session_) {
    ports_.to_switch.StartEpoch();
    SetSession(header.session);
    session_ = header.session;
    wanted_ = 0;
    ++counters_.sessions;
  } else {
    // The host may have more than what we know to be acknowledged, but not what was never there.
    const uint32_t there = ports_.from_switch.writer_index() - acknowledged_;
    if (header.acknowledged - acknowledged_ > there || header.acknowledged % 16 != 0) {
      ++counters_.refused;
      StoreRelease(ports_.journal.session, 0);
      Greet();
      return;
    }
    acknowledged_ = sent_ = sending_ = header.acknowledged;
    ports_.from_switch.GiveBack(acknowledged_);
    ports_.from_switch.Rewind(acknowledged_);
  }
  if (ports_.to_switch.IsDown()) ports_.to_switch.SetDown(false);
  state_ = State::kLinked;
  hello_due_ = false;
  ack_due_ = true;
  notify_ = true;
  deadline_ = DeadlineTimer::kNever;
}

void HostLink::OnAcknowledge(uint32_t acknowledged) {
  if (acknowledged == acknowledged_) return;
  if (acknowledged - acknowledged_ > sent_ - acknowledged_ || acknowledged % 16 != 0) {
    ++counters_.refused;
    return;
  }
  acknowledged_ = acknowledged;
  ports_.from_switch.GiveBack(acknowledged_);
  deadline_ = acknowledged_ == sent_
                  ? DeadlineTimer::kNever
                  : ports_.counter.Ticks() + kPatienceSeconds * ports_.counter.TicksPerSecond();
}

bool HostLink::OnData(const LinkHeader& header, std::span<const std::byte> payload) {
  if (header.sequence != wanted_) {
    ++counters_.refused;
    // What comes again is only acknowledged. A gap: the host shall say again what we want.
    if (static_cast<int32_t>(header.sequence - wanted_) < 0) {
      ack_due_ = true;
    } else {
      Greet();
    }
    return true;
  }
  const auto bytes = static_cast<uint32_t>(payload.size());
  if (bytes < sizeof(vsock::PacketHeader)) {  // the decoder keeps to the most
    ++counters_.refused;
    Greet();
    return true;
  }
  const std::span<std::byte> room = ports_.to_switch.Reserve(bytes);
  if (room.empty()) return false;
  std::memcpy(room.data(), payload.data(), bytes);
  Placed placed = {.sequence = wanted_, .place = Mark(ports_.to_switch.position())};
  placed.check = CheckOf(placed);
  StoreRelease(ports_.journal.placed, std::bit_cast<uint64_t>(placed));
  ports_.to_switch.Publish({.bytes = bytes, .flow = vsock::EpochMark(ports_.to_switch.epoch())});
  ++wanted_;
  ++counters_.received;
  ack_due_ = true;
  return true;
}

size_t HostLink::Send(std::span<std::byte> room) {
  size_t count = 0;
  for (;;) {
    if (encoder_.done()) NextFrame();
    if (encoder_.done()) return count;
    count += encoder_.Fill(room.subspan(count));
    if (!encoder_.done()) return count;
    sent_ = sending_;
  }
}

// Begins the next frame if there is something to say.
void HostLink::NextFrame() {
  if (state_ == State::kLinked && NextPacket()) return;
  if (state_ == State::kGreeting && hello_due_) {
    hello_due_ = false;
    encoder_.Begin({.kind = Kind::kHello,
                    .bytes = sizeof(nonce_),
                    .session = session_,
                    .sequence = acknowledged_,
                    .following = epoch_,
                    .acknowledged = wanted_},
                   std::as_bytes(std::span(&nonce_, 1)));
  } else if (state_ == State::kLinked && ack_due_) {
    ack_due_ = false;
    encoder_.Begin({.kind = Kind::kAck, .session = session_, .acknowledged = wanted_}, {});
  }
}

bool HostLink::NextPacket() {
  const auto frame = ports_.from_switch.Next();
  const bool lost = ports_.from_switch.faults() != faults_ ||
                    ports_.from_switch.writer_epoch() != epoch_ ||
                    (frame.has_value() && frame->header.flow != vsock::EpochMark(epoch_));
  if (lost) {
    if (ports_.from_switch.faults() != faults_) acknowledged_ = ports_.from_switch.position();
    Greet();
    return false;
  }
  if (!frame.has_value()) return false;
  const uint32_t at = ports_.from_switch.position();
  ports_.from_switch.Pass();
  sending_ = ports_.from_switch.position();
  encoder_.Begin({.kind = Kind::kData,
                  .bytes = static_cast<uint32_t>(frame->bytes.size()),
                  .session = session_,
                  .sequence = at,
                  .following = sending_,
                  .acknowledged = wanted_},
                 frame->bytes);
  ack_due_ = false;
  ++counters_.sent;
  if (deadline_ == DeadlineTimer::kNever) {
    deadline_ = ports_.counter.Ticks() + kPatienceSeconds * ports_.counter.TicksPerSecond();
  }
  return true;
}

uint64_t HostLink::deadline() const { return deadline_; }

void HostLink::OnTime() {
  const uint64_t now = ports_.counter.Ticks();
  if (silent() || now < deadline_) return;
  if (state_ == State::kLinked) {
    Greet();
    return;
  }
  // The same hello, so that it does not matter which one is answered. One that is not written yet will do.
  hello_due_ = encoder_.done();
  deadline_ = now + kGreetSeconds * ports_.counter.TicksPerSecond();
}

bool HostLink::MustNotify() {
  // Both must be asked: each takes its flag back.
  const bool packets = ports_.to_switch.ReaderWaits();
  const bool room = ports_.from_switch.WriterWaits();
  const bool must = notify_ || packets || room;
  notify_ = false;
  return must;
}

bool HostLink::MaySleep(bool blocked) {
  if (blocked || silent()) return true;
  if (!encoder_.done() || hello_due_ || (state_ == State::kLinked && ack_due_)) return false;
  return !ports_.from_switch.Wait();
}

}  // namespace atoll::vsock_driver
