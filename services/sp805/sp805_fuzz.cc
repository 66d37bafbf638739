// Any sequence of register accesses, time and restarts of an SP805, as a function of random bytes. Aborts if an invariant
// breaks.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

#include "services/sp805/device.h"
#include "tests/unit/device/register_machine.h"

namespace atoll {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

class Session {
 public:
  // One step of eight bytes: what, two of offset, one of width, four of value.
  void Step(std::span<const std::byte> bytes) {
    const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(bytes[i]); };
    const uint32_t value = byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24;
    const uint64_t offset = byte(1) | byte(2) << 8;
    RegisterMachine<Sp805>& m = *machine_;
    const bool may_reset = (m.Read("WDOGCONTROL") & 3) == 3;
    const int resets = m.ports.vm.resets;
    switch (byte(0) % 6) {
      case 0:
        if ((byte(3) & 4) != 0) {
          m.Store(offset, 1u << (byte(3) & 3), value);
        } else {
          (void)m.Load(offset, 1u << (byte(3) & 3));
        }
        break;
      case 1: m.Store(byte(1) % 4 * 4, 4, value); break;
      case 2: m.Write("WDOGLOCK", Sp805::kUnlock); break;
      case 3: m.Write("WDOGCONTROL", byte(1)); break;
      case 4: m.Pass(value >> (byte(1) & 31)); break;
      default:
        if (byte(1) < 32) m.Restart();
        m.device().OnSignals(uint64_t{byte(2)} << 56);
        break;
    }
    if (m.ports.vm.resets != resets) {
      Require(may_reset || byte(0) % 6 <= 3);
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
  auto input = std::as_bytes(std::span(data, size));
  atoll::Session session;
  for (; input.size() >= 8; input = input.subspan(8)) session.Step(input.first(8));
  return 0;
}
