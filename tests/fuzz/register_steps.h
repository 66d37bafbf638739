// What the fuzz targets of single register devices share: an input is steps of eight bytes.
#ifndef ATOLL_TESTS_FUZZ_REGISTER_STEPS_H_
#define ATOLL_TESTS_FUZZ_REGISTER_STEPS_H_

#include <cstddef>
#include <cstdint>

#include "tests/unit/device/register_machine.h"

namespace atoll {

// One step: what, two bytes of offset, one of how wide, four of value.
class RegisterStep {
 public:
  static constexpr size_t kBytes = 8;

  explicit RegisterStep(const uint8_t* bytes) : bytes_(bytes) {}
  uint32_t byte(size_t i) const { return bytes_[i]; }
  uint32_t value() const { return byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24; }

  // Any access to any place.
  template <typename D>
  void Access(RegisterMachine<D>& machine) const {
    const uint64_t offset = byte(1) | byte(2) << 8;
    const uint32_t size = 1u << (byte(3) & 3);
    if ((byte(3) & 4) != 0) {
      machine.Store(offset, size, value());
    } else {
      (void)machine.Load(offset, size);
    }
  }

 private:
  const uint8_t* bytes_;
};

// The whole of a libFuzzer target: Session::Step(RegisterStep) aborts if an invariant breaks.
template <typename Session>
int FuzzRegisterSteps(const uint8_t* data, size_t size) {
  Session session;
  for (; size >= RegisterStep::kBytes; size -= RegisterStep::kBytes, data += RegisterStep::kBytes) {
    session.Step(RegisterStep(data));
  }
  return 0;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_REGISTER_STEPS_H_
