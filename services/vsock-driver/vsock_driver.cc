#include "services/vsock-driver/vsock_driver.h"

#include <algorithm>
#include <array>

#include "services/runtime/format.h"
#include "services/runtime/statistics.h"

namespace atoll::vsock_driver {
namespace {

constexpr uint32_t kRounds = 2;        // before signals have their turn
constexpr uint32_t kReceiveBatch = 8;  // buffers in a round: 32 KiB
constexpr uint32_t kSendBatch = 2;     // the same
constexpr uint32_t kMaxIdleRestarts = 2;

// What the user sees of this instance (statistics.h).
constexpr const char* kNames[] = {"sent",      "received", "sessions",
                                  "greetings", "refused",  "damaged"};

}  // namespace

void VsockDriver::Start() {
  size_t index = 0;
  for (const char* name : kNames) NameCounter(index++, name);
  const Status status = port_ != nullptr ? port_->Start() : Status::kNotFound;
  ready_ = IsOk(status);
  if (!ready_) {
    if (status != Status::kNotFound) {
      std::array<char, 128> line;
      ports_.log.Line(Format(line, "the serial line to the host cannot be used: ", status));
    }
    GiveUp();
    return;
  }
  silent_deadline_ = ports_.counter.Ticks() + kSilentSeconds * ports_.counter.TicksPerSecond();
  ports_.vsock_switch.Notify();  // an earlier instance may have ended before it did
  Work();
}

void VsockDriver::Fail() {
  GiveUp();  // first: whatever the device does to an instance, nobody waits for it any more
  if (port_ != nullptr) port_->Stop();
}

void VsockDriver::GiveUp() {
  ready_ = false;
  ports_.link.Close();
  ports_.vsock_switch.Notify();
  ports_.timer.Set(DeadlineTimer::kNever);
}

void VsockDriver::OnSignals(uint64_t bits) {
  if (!ready_) return;
  if ((bits & kIrqSignal) != 0 && !IsOk(port_->OnInterrupt())) {
    Recover("the serial line asks for a reset");
  }
  Work();
}

void VsockDriver::Work() {
  if (!ready_) return;
  port_->DisableInterrupts();
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint64_t now = ports_.counter.Ticks();
    if (now >= silent_deadline_) {
      silent_deadline_ = DeadlineTimer::kNever;
      if (!port_->open().has_value()) ports_.link.Close();
    }
    ports_.link.OnTime();
    bool moved = Listen();
    moved |= Receive();
    moved |= Send();
    if (port_->broken()) {
      Recover("the serial line broke the rules of its queues");
      if (!ready_) return;
    }
    if (moved) idle_restarts_ = 0;
    port_->Publish();
    if (ports_.link.MustNotify()) ports_.vsock_switch.Notify();
    ShowCounters();
    if (!moved && MaySleep()) {
      SetTimer();
      return;
    }
  }
  ports_.timer.Set(0);
}

bool VsockDriver::Listen() {
  if (!port_->Listen()) return false;
  const std::optional<bool> open = port_->open();
  if (!open.has_value()) return true;
  silent_deadline_ = DeadlineTimer::kNever;
  if (*open) {
    ports_.link.Open();
    port_->Prod();  // what came before the port was open
  } else {
    ports_.link.Close();
  }
  return true;
}

bool VsockDriver::Receive() {
  bool any = false;
  no_room_ = false;
  for (uint32_t i = 0; i < kReceiveBatch; ++i) {
    const std::span<const std::byte> bytes = port_->Received();
    const size_t taken = ports_.link.Receive(bytes);
    port_->Consume(taken);
    any |= taken != 0;
    no_room_ = taken != bytes.size();
    if (bytes.empty() || no_room_) break;
  }
  return any;
}

bool VsockDriver::Send() {
  bool any = false;
  line_full_ = false;
  for (uint32_t i = 0; i < kSendBatch; ++i) {
    const std::span<std::byte> room = port_->Room();
    if (room.empty()) {
      line_full_ = true;
      break;
    }
    const size_t count = ports_.link.Send(room);
    if (count == 0) break;
    port_->Append(count);
    any = true;
  }
  return any;
}

bool VsockDriver::MaySleep() {
  if (port_->EnableInterrupts(!no_room_, line_full_)) return false;
  return ports_.link.MaySleep(line_full_);
}

void VsockDriver::SetTimer() {
  ports_.timer.Set(std::min(silent_deadline_, ports_.link.deadline()));
}

// Bytes that were under way are lost.
void VsockDriver::Recover(std::string_view reason) {
  const bool again = ++idle_restarts_ <= kMaxIdleRestarts && IsOk(port_->Start());
  std::array<char, 128> line;
  ports_.log.Line(Format(line, reason, again ? "; it was reset" : "; it has failed"));
  if (!again) {
    port_->Stop();
    GiveUp();
    return;
  }
  ports_.link.Suspend();
  silent_deadline_ = ports_.counter.Ticks() + kSilentSeconds * ports_.counter.TicksPerSecond();
}

void VsockDriver::ShowCounters() const {
  const HostLink::Counters& link = ports_.link.counters();
  auto& shown = OwnStatistics().counters;
  const uint64_t values[] = {link.sent,      link.received, link.sessions,
                             link.greetings, link.refused,  ports_.link.damaged()};
  std::copy(std::begin(values), std::end(values), shown.begin());
}

}  // namespace atoll::vsock_driver
