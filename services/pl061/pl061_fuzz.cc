// Any sequence of register accesses, presses, time and restarts of a PL061, as a function of random bytes. Aborts if an
// invariant breaks.
#include <cstdlib>

#include "services/pl061/device.h"
#include "tests/fuzz/register_steps.h"

namespace atoll {
namespace {

constexpr uint64_t kAllPins = 0x3fc;

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session {
 public:
  void Step(const RegisterStep& step) {
    switch (step.byte(0) % 6) {
      case 0: step.Access(m_); break;
      case 1: m_.Store(0x400 + step.byte(1) % 9 * 4, 4, step.value()); break;
      case 2: WritePins(step.byte(1), step.value()); break;
      case 3: m_.device().OnSignals(pl061_manifest::kPowerSignal); break;
      case 4: m_.Pass(step.value() >> (step.byte(1) & 31)); break;
      default:
        if (step.byte(1) < 32) m_.Restart();
        m_.device().OnSignals(FakeSurroundings::kTimerSignal);
        break;
    }
    Check();
  }

 private:
  uint32_t Pins() { return static_cast<uint32_t>(m_.Load(kAllPins, 4)); }

  void WritePins(uint32_t mask, uint32_t value) {
    const uint32_t before = Pins();
    const uint32_t changed = mask & m_.Read("GPIODIR");
    m_.Store(uint64_t{mask} * 4, 4, value);
    Require(Pins() == ((before & ~changed) | (value & changed)));
  }

  void Check() {
    const uint32_t inputs = ~m_.Read("GPIODIR") & 0xff;
    Require(m_.ports.line.level == (m_.Read("GPIOMIS") != 0));
    Require(m_.Read("GPIOMIS") == (m_.Read("GPIORIS") & m_.Read("GPIOIE")));
    Require((Pins() & inputs & ~Pl061::kButton) == 0);
    // A level is what it is.
    const uint32_t active = ~(Pins() ^ m_.Read("GPIOIEV")) & inputs;
    Require(((m_.Read("GPIORIS") ^ active) & m_.Read("GPIOIS") & inputs) == 0);
    // A button that is pressed is let go.
    Require((Pins() & inputs) == 0 || m_.ports.timer.deadline > m_.ports.counter.ticks);
    Require((Pins() & inputs) == 0 || m_.ports.timer.deadline != DeadlineTimer::kNever);
    Require(m_.Read("GPIOPeriphID0") == 0x61);
  }

  RegisterMachine<Pl061> m_;
};

}  // namespace
}  // namespace atoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return atoll::FuzzRegisterSteps<atoll::Session>(data, size);
}
