// pl061: pins that are outputs read back, registers keep what was written, a level interrupts until it is masked, and each
// press and release of the power button (pin 3) is one edge.
#ifndef ATOLL_GUESTS_ORACLE_GPIO_H_
#define ATOLL_GUESTS_ORACLE_GPIO_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"

namespace oracle {

class GpioOracle final : public Device {
 public:
  explicit constexpr GpioOracle(uint64_t seed) : random_(seed) {}
  void Start(uint32_t slot);
  void Round();
  // Waits until the button is let go.
  void Finish();
  void Acknowledge(uintptr_t) override;
  void OnInterrupt() override {}
  void Took(uint64_t began) { report_.Took(began); }

 private:
  uint32_t Read(uint32_t offset) const { return bare::Load32(base_ + offset); }
  void Write(uint32_t offset, uint32_t value) const { bare::Store32(base_ + offset, value); }
  void Check(const char* what, uint32_t offset, uint32_t wanted);

  Report report_{"gpio"};
  Random random_;
  uintptr_t base_ = 0;
  uint32_t outputs_ = 0, data_ = 0;
  volatile uint64_t levels_ = 0, edges_ = 0;  // interrupts
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_GPIO_H_
