// Any sequence of accesses, signals, time, deaths and damage of the journal of a device of registers, as a function of
// random bytes. Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_REGISTER_DEVICE_FUZZ_H_
#define ATOLL_TESTS_FUZZ_REGISTER_DEVICE_FUZZ_H_

#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/device/register_machine.h"

namespace atoll {

// kSameAfterDeath: the guest sees no difference after a death between two of its accesses. False: the device looks at its
// surroundings when it starts.
template <typename D, bool kSameAfterDeath = true>
class RegisterDeviceFuzz {
 public:
  explicit RegisterDeviceFuzz(RegisterMachine<D>& machine) : m_(machine) {}

  void Run(FuzzInput input) {
    while (!input.empty()) {
      Step(input);
      FuzzRequire(m_.device().IsIntact(), "nobody damages what the instance keeps for itself");
    }
  }

 private:
  void Step(FuzzInput& input) {
    switch (input.Take<uint8_t>() % 8) {
      case 0: Access(input.Take<uint16_t>(), input); break;
      case 1:
      case 2:
      case 3: {
        const auto& entries = D::kRegisters.entries;
        Access(entries[input.Take<uint8_t>() % entries.size()].offset, input);
        break;
      }
      case 4: m_.Pass(uint64_t{input.Take<uint32_t>()} << (input.Take<uint8_t>() % 8)); break;
      case 5: m_.device().OnSignals(input.Take<uint64_t>()); break;
      case 6: Die(); break;
      default: Damage(input); break;
    }
  }

  void Access(uint64_t offset, FuzzInput& input) {
    const auto how = input.Take<uint8_t>();
    const uint32_t size = 1u << (how & 3);
    if ((how & 4) != 0) {
      m_.Store(offset, size, input.Take<uint64_t>());
    } else {
      const uint64_t value = m_.Load(offset, size);
      FuzzRequire(size == 8 || value >> (8 * size) == 0, "a load is no wider than asked for");
      FuzzRequire(size != 8 || value == 0, "64-bit places are reserved");
    }
  }
  void Die() {
    const std::vector<uint64_t> before = m_.Seen();
    m_.Restart();
    FuzzRequire(m_.device().found() == Copies::kGood, "a journal that nobody damaged is good");
    if (kSameAfterDeath) FuzzRequire(m_.Seen() == before, "a death is not seen");
  }
  void Damage(FuzzInput& input) {
    const std::span<std::byte> journal = m_.journal();
    for (int i = input.Take<uint8_t>() % 4; i >= 0; --i) {
      journal[input.Take<uint16_t>() % journal.size()] ^= std::byte{input.Take<uint8_t>()};
    }
    m_.Restart();
  }

  RegisterMachine<D>& m_;
};

// The whole of a libFuzzer target.
template <typename D>
int FuzzRegisterDevice(const uint8_t* data, size_t size) {
  RegisterMachine<D> machine;
  RegisterDeviceFuzz<D>(machine).Run(FuzzInput(data, size));
  return 0;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_REGISTER_DEVICE_FUZZ_H_
