// Any sequence of register accesses, presses, time and restarts of a PL061, as a function of random bytes. Aborts if an
// invariant breaks.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

#include "services/pl061/device.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {
namespace {

using namespace pl061;  // NOLINT: registers only

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session {
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
      case 1: Write(kTable.offset(byte(1) % kRegisterCount), value); break;
      case 2: WritePins(byte(1), value); break;
      case 3: device_->OnSignals(Pl061::kPowerSignal); break;
      case 4: Pass(value >> (byte(1) & 31)); break;
      default:
        if (byte(1) < 32) Boot();
        device_->OnSignals(byte(2) & Pl061::kTimerSignal);
        break;
    }
    Check();
  }

 private:
  void Boot() {
    timer_.deadline = DeadlineTimer::kNever;
    device_ = std::make_unique<Pl061>(Pl061::Ports{line_, timer_, counter_},
                                      *reinterpret_cast<Journal*>(journal_.bytes));
    Require(device_->Start());
  }

  uint32_t Read(uint64_t offset) {
    return static_cast<uint32_t>(*device_->Access({.offset = offset, .size = 4}));
  }
  uint32_t ReadRegister(Register index) { return Read(kTable.offset(index)); }
  void Write(uint64_t offset, uint32_t value) {
    (void)*device_->Access({.offset = offset, .size = 4, .write = true, .value = value});
  }

  void WritePins(uint32_t mask, uint32_t value) {
    const uint32_t before = Read(0x3fc);
    const uint32_t changed = mask & ReadRegister(kDir);
    Write(uint64_t{mask} * 4, value);
    Require(Read(0x3fc) == ((before & ~changed) | (value & changed)));
  }

  void Pass(uint64_t ticks) {
    const uint64_t end = counter_.ticks + ticks;
    while (timer_.deadline <= end) {
      Require(timer_.deadline > counter_.ticks);  // it does not spin
      counter_.ticks = timer_.deadline;
      if (timer_.Expire(counter_.ticks)) device_->OnSignals(Pl061::kTimerSignal);
    }
    counter_.ticks = end;
  }

  void Check() {
    Require(line_.level == (ReadRegister(kMis) != 0));
    Require(ReadRegister(kMis) == (ReadRegister(kRis) & ReadRegister(kIe)));
    const uint32_t inputs = Read(0x3fc) & ~ReadRegister(kDir);
    Require((inputs & ~Pl061::kButton) == 0);
    // A level is what it is.
    const uint32_t active = ~(Read(0x3fc) ^ ReadRegister(kIev)) & ~ReadRegister(kDir) & 0xff;
    Require(((ReadRegister(kRis) ^ active) & ReadRegister(kIs) & ~ReadRegister(kDir)) == 0);
    Require(inputs == 0 || timer_.deadline != DeadlineTimer::kNever);
    Require(ReadRegister(kPeriphId0) == 0x61);
  }

  AlignedMemory<4096> journal_;
  FakeLine line_;
  FakeTimer timer_;
  FakeCounter counter_;
  std::unique_ptr<Pl061> device_;
};

}  // namespace
}  // namespace atoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto input = std::as_bytes(std::span(data, size));
  atoll::Session session;
  for (; input.size() >= 8; input = input.subspan(8)) session.Step(input.first(8));
  return 0;
}
