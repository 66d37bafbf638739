// @TITLE@: a device of registers. docs/devices/@NAME@.md tells what a guest sees.
#ifndef ATOLL_SERVICES_@GUARD@_DEVICE_H_
#define ATOLL_SERVICES_@GUARD@_DEVICE_H_

#include <cstdint>

@INCLUDES@#include "services/runtime/register_device.h"

namespace atoll {

// Kept over restarts of the service.
struct @CLASS@State {
  uint32_t value = 0;
  uint32_t stores = 0;
};

class @CLASS@ final : public RegisterDevice<@CLASS@, @CLASS@State>@BASES@ {
 public:
@CONSTRUCTOR@
  // The interrupt line.
  bool Level() const override { return (state().value & 1) != 0; }
@SERVER@
  void OnValue(uint32_t) { ChangeState().stores += 1; }

  // clang-format off
  static constexpr auto kRegisters = Registers<0x1000>({
      // name    offset bits mode                      reset writable     kept in
      {"VALUE",  0x000, 32,  RegisterMode::kReadWrite, 0,    0xffff'ffff, &@CLASS@State::value, {.write = &@CLASS@::OnValue}},
      {"STORES", 0x004, 32,  RegisterMode::kReadOnly,  0,    0,           &@CLASS@State::stores},
      {"ID",     0xffc, 32,  RegisterMode::kReadOnly,  0x41544f4c},
  });
  // clang-format on
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_@GUARD@_DEVICE_H_
