// The VM's other devices: each access has one right answer, whatever happens to the services meanwhile.
#ifndef ATOLL_GUESTS_ORACLE_MACHINE_H_
#define ATOLL_GUESTS_ORACLE_MACHINE_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"

namespace oracle {

// pl011: bytes in loopback come back once and in order, registers keep what was written.
class UartOracle {
 public:
  explicit constexpr UartOracle(uint64_t seed) : random_(seed) {}
  void Round();
  void Finish() const;
  void Took(uint64_t began) { report_.Took(began); }
  // This key came since the last time, whatever else.
  bool IsTyped(char key);

 private:
  void TakeTyped();

  Report report_{"uart"};
  Random random_;
  uint32_t typed_ = 0;  // the last byte
};

// pl011 and console: numbered lines.
class ConsoleOracle {
 public:
  void Round() { report_.Line(lines_++); }
  void Finish();
  void Took(uint64_t began) { report_.Took(began); }

 private:
  Report report_{"console"};
  uint64_t lines_ = 0;
};

// pl031: the time never goes back and runs as the counter does; the match register keeps what was written.
class RtcOracle {
 public:
  void Start();
  void Round();
  void Finish() const;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  Report report_{"rtc"};
  uint32_t first_ = 0, last_ = 0;
  uint64_t counter_ = 0;
};

// vgic: an interrupt that nobody raises is enabled, disabled and given priorities.
class GicOracle {
 public:
  explicit constexpr GicOracle(uint64_t seed) : random_(seed) {}
  void Round();
  void Finish() const;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  Report report_{"gic"};
  Random random_;
};

// vmm: the second vCPU is turned on, and turns itself off.
class PowerOracle {
 public:
  void Round();
  void Finish() const;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  Report report_{"vcpu"};
  uint64_t on_ = 0;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_MACHINE_H_
