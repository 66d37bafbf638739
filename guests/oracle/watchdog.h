// sp805: a watchdog that is fed counts down as the guest's counter runs, and does nothing; one that is not fed interrupts
// once and in time; one that is locked keeps what it has.
#ifndef ATOLL_GUESTS_ORACLE_WATCHDOG_H_
#define ATOLL_GUESTS_ORACLE_WATCHDOG_H_

#include "guests/oracle/events.h"
#include "guests/oracle/report.h"

namespace oracle {

class WatchdogOracle final : public Device {
 public:
  void Start(uint32_t slot);
  enum class What { kFeed, kInterrupt, kBoth };  // kBoth: now and then an interrupt
  void Round(What what);
  void Finish();
  void Acknowledge(uintptr_t) override;
  void OnInterrupt() override {}
  void Took(uint64_t began) { report_.Took(began); }

 private:
  static constexpr uint32_t kRoundsPerInterrupt = 3;

  uint32_t Read(uint32_t offset) const { return bare::Load32(base_ + offset); }
  void Write(uint32_t offset, uint32_t value) const { bare::Store32(base_ + offset, value); }
  void Check(const char* what, uint32_t offset, uint32_t wanted);
  void Feed();
  void LookAtCount();
  void AwaitInterrupt();

  Report report_{"wdog"};
  uintptr_t base_ = 0;
  uint64_t feeding_ = 0, fed_ = 0;  // counter, before and after
  uint64_t rounds_ = 0;
  volatile uint64_t fired_ = 0, fired_at_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_WATCHDOG_H_
