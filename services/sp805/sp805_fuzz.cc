// Any sequence of register accesses, time and restarts of an SP805, as a function of random bytes. Aborts if an invariant
// breaks.
#include <cstdlib>
#include <memory>

#include "services/sp805/device.h"
#include "tests/fuzz/register_steps.h"

namespace atoll {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session {
 public:
  void Step(const RegisterStep& step) {
    RegisterMachine<Sp805>& m = *machine_;
    const bool may_reset = (m.Read("WDOGCONTROL") & 3) == 3;
    const int resets = m.ports.vm.resets;
    switch (step.byte(0) % 6) {
      case 0: step.Access(m); break;
      case 1: m.Store(step.byte(1) % 4 * 4, 4, step.value()); break;
      case 2: m.Write("WDOGLOCK", Sp805::kUnlock); break;
      case 3: m.Write("WDOGCONTROL", step.byte(1)); break;
      case 4: m.Pass(step.value() >> (step.byte(1) & 31)); break;
      default:
        if (step.byte(1) < 32) m.Restart();
        m.device().OnSignals(uint64_t{step.byte(2)} << 56);
        break;
    }
    if (m.ports.vm.resets != resets) {
      Require(may_reset || step.byte(0) % 6 <= 3);
      machine_ = std::make_unique<RegisterMachine<Sp805>>();
    }
    Check();
  }

 private:
  void Check() {
    RegisterMachine<Sp805>& m = *machine_;
    const uint32_t control = m.Read("WDOGCONTROL");
    const bool runs = (control & Sp805::kInten) != 0;
    Require(control <= 3 && m.Read("WDOGPERIPHID1") == 0x18);
    Require(m.ports.line.level == (m.Read("WDOGMIS") != 0));
    Require(m.Read("WDOGMIS") == (runs ? m.Read("WDOGRIS") : 0));
    Require(!runs || m.Read("WDOGVALUE") <= m.Read("WDOGLOAD"));
    Require(runs || m.ports.timer.deadline == DeadlineTimer::kNever);
  }

  std::unique_ptr<RegisterMachine<Sp805>> machine_ = std::make_unique<RegisterMachine<Sp805>>();
};

}  // namespace
}  // namespace atoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return atoll::FuzzRegisterSteps<atoll::Session>(data, size);
}
