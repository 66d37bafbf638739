// Any sequence of register accesses, time and restarts of an SP805, as a function of random bytes. Aborts if an invariant
// breaks.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

#include "services/sp805/device.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {
namespace {

using namespace sp805;  // NOLINT: registers only

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session final : private VmPower {
 public:
  Session() { Boot(); }

  // One step of eight bytes: what, two of offset, one of width, four of value.
  void Step(std::span<const std::byte> bytes) {
    const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(bytes[i]); };
    const uint32_t value = byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24;
    switch (byte(0) % 6) {
      case 0:
        (void)*device_->Access({.offset = byte(1) | byte(2) << 8,
                                .size = 1u << (byte(3) & 3),
                                .write = (byte(3) & 4) != 0,
                                .value = value});
        break;
      case 1: Write(byte(1) % kRegisterCount, value); break;
      case 2: Write(kLock, kUnlock); break;
      case 3: Write(kControl, byte(1)); break;
      case 4: Pass(value >> (byte(1) & 31)); break;
      default:
        if (byte(1) < 32) Boot();
        device_->OnSignals(byte(2));
        break;
    }
    Check();
  }

 private:
  void Reset() override {
    Require((Read(kControl, /*quiet=*/true) & (kInten | kResen)) == (kInten | kResen));
    // The VM starts afresh.
    was_reset_ = true;
  }

  void Boot() {
    timer_.deadline = DeadlineTimer::kNever;
    device_ = std::make_unique<Sp805>(Sp805::Ports{line_, timer_, counter_, *this},
                                      *reinterpret_cast<Journal*>(journal_.bytes));
    Require(device_->Start());
  }

  // `quiet`: of the journal, without an access.
  uint32_t Read(uint32_t index, bool quiet = false) {
    if (quiet) {
      State state;
      (void)reinterpret_cast<Journal*>(journal_.bytes)->Load(state);
      return state.control;
    }
    return static_cast<uint32_t>(*device_->Access({.offset = kTable.offset(index), .size = 4}));
  }
  void Write(uint32_t index, uint32_t value) {
    (void)*device_->Access(
        {.offset = kTable.offset(index), .size = 4, .write = true, .value = value});
  }

  void Pass(uint64_t ticks) {
    const uint64_t end = counter_.ticks + ticks;
    for (int fired = 0; timer_.deadline <= end && !was_reset_; ++fired) {
      Require(fired < 4);
      counter_.ticks = std::max(counter_.ticks, timer_.deadline);
      if (timer_.Expire(counter_.ticks)) device_->OnSignals(Sp805::kTimerSignal);
    }
    counter_.ticks = end;
  }

  void Check() {
    if (was_reset_) {
      was_reset_ = false;
      journal_ = {};
      Boot();
      Require(Read(kControl) == 0 && Read(kLock) == 0 && !line_.level);
      return;
    }
    const uint32_t control = Read(kControl);
    if (was_reset_) return;
    Require(line_.level == (Read(kMis) != 0) || was_reset_);
    Require(control <= (kInten | kResen) && Read(kPeriphId1) == 0x18);
    Require(Read(kValue) <= Read(kLoad) || (control & kInten) == 0 || was_reset_);
    Require((control & kInten) != 0 || timer_.deadline == DeadlineTimer::kNever);
  }

  AlignedMemory<4096> journal_;
  FakeLine line_;
  FakeTimer timer_;
  FakeCounter counter_;
  bool was_reset_ = false;
  std::unique_ptr<Sp805> device_;
};

}  // namespace
}  // namespace atoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto input = std::as_bytes(std::span(data, size));
  atoll::Session session;
  for (; input.size() >= 8; input = input.subspan(8)) session.Step(input.first(8));
  return 0;
}
