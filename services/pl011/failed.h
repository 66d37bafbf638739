// What a guest has in the place of its UART when the service was given up: a part whose line leads nowhere.
//
// Output is taken and lost, so that nobody waits for room; there is no input. Registers read back what is stored, which
// drivers check. The one interrupt is that of the transmitter, after each byte, since drivers wait for it.
#ifndef ATOLL_SERVICES_PL011_FAILED_H_
#define ATOLL_SERVICES_PL011_FAILED_H_

#include "services/pl011/registers.h"
#include "services/runtime/device.h"
#include "services/runtime/ports.h"

namespace atoll {

class FailedPl011 final : public MmioDevice {
 public:
  // `registers`: what the guest had stored, within what the registers can hold. It is copied.
  FailedPl011(InterruptLine& line, const pl011::Table::Values& registers)
      : line_(line), registers_(registers) {}

  // A driver that waited for room goes on.
  void Start();

  Result<uint64_t> Access(const RegisterAccess& access) override;
  void OnSignals(uint64_t) override {}

 private:
  uint32_t Read(size_t index) const;
  void DriveLine();

  InterruptLine& line_;
  pl011::Table::Values registers_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL011_FAILED_H_
