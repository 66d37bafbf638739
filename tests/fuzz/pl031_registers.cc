#include <cstdlib>
#include <memory>

#include "services/pl031/pl031.h"
#include "services/pl031/registers.h"
#include "tests/fuzz/pl031_fuzz.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {
namespace {

using namespace pl031;  // NOLINT: registers only

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session {
 public:
  Session() {
    copies().Store(NewPl031State({.ticks = counter_.ticks, .seconds = 1'700'000'000}));
    Boot();
  }

  // One step of eight bytes: what, two of offset, one of width, four of value.
  void Step(std::span<const std::byte> bytes) {
    const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(bytes[i]); };
    const uint32_t value = byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24;
    switch (byte(0) % 5) {
      case 0:
        (void)*device_->Access({.offset = byte(1) | byte(2) << 8,
                                .size = 1u << (byte(3) & 3),
                                .write = (byte(3) & 4) != 0,
                                .value = value});
        break;
      case 1: Write(byte(1) % kRegisterCount, value); break;
      case 2: Write(byte(1) % 2 != 0 ? kMr : kLr, Read(kDr) + byte(2) - 4); break;
      case 3: Pass(value & 0x7fff'ffff); break;
      default:
        if (byte(1) < 32) Boot();
        device_->OnSignals(byte(2));
        break;
    }
    Check();
  }

 private:
  void Boot() {
    Pl031State state;
    Require(LoadPl031State(copies(), state) == Copies::kGood);
    timer_.deadline = DeadlineTimer::kNever;
    device_ = std::make_unique<Pl031>(Pl031::Ports{line_, timer_, counter_}, copies(), state);
    device_->Start();
  }

  uint32_t Read(uint32_t index) {
    return static_cast<uint32_t>(
        *device_->Access({.offset = kTable.offset(index), .size = 4, .write = false, .value = 0}));
  }
  void Write(uint32_t index, uint32_t value) {
    (void)*device_->Access(
        {.offset = kTable.offset(index), .size = 4, .write = true, .value = value});
  }

  // Time passes; the count advances with it, and if it meets the match register there is an alarm.
  void Pass(uint64_t ticks) {
    const uint32_t from = Read(kDr);
    const uint32_t raised = Read(kRis);
    const uint64_t end = counter_.ticks + ticks;
    for (int fired = 0; timer_.deadline <= end; ++fired) {
      Require(fired < 4);
      counter_.ticks = std::max(counter_.ticks, timer_.deadline);
      if (timer_.Expire(counter_.ticks)) device_->OnSignals(Pl031::kTimerSignal);
    }
    counter_.ticks = end;
    const uint32_t passed = Read(kDr) - from;
    const uint64_t seconds = ticks / FakeCounter::kFrequency;
    Require(passed == seconds || passed == seconds + 1);
    const uint32_t until = Read(kMr) - from;
    const bool due = until != 0 && until <= passed;
    Require(Read(kRis) == (raised | static_cast<uint32_t>(due)));
  }

  void Check() {
    Require(line_.level == (Read(kMis) != 0));
    Require(Read(kMis) == (Read(kRis) & Read(kImsc)));
    Require(Read(kCr) == 1 && Read(kPeriphId0) == 0x31);
    Require(timer_.deadline > counter_.ticks);
    Require(device_->IsIntact());
  }

  Pl031Journal& copies() { return *reinterpret_cast<Pl031Journal*>(journal_.bytes); }

  AlignedMemory<4096> journal_;
  FakeLine line_;
  FakeTimer timer_;
  FakeCounter counter_;
  std::unique_ptr<Pl031> device_;
};

}  // namespace

void FuzzPl031(std::span<const std::byte> input) {
  Session session;
  for (; input.size() >= 8; input = input.subspan(8)) session.Step(input.first(8));
}

}  // namespace atoll
