// What a device model may ask of its surroundings. Device models get these by reference and nothing else,
// so the same code runs in a service on the target and under unit tests and fuzzers on the host.
#ifndef ATOLL_SERVICES_RUNTIME_PORTS_H_
#define ATOLL_SERVICES_RUNTIME_PORTS_H_

#include <cstdint>

namespace atoll {

// One virtual interrupt that the service may drive. Set is idempotent.
class InterruptLine {
 public:
  virtual void Set(bool level) = 0;

 protected:
  ~InterruptLine() = default;
};

// Bits in another task's signal (a peer that is to look at a shared ring).
class Notifier {
 public:
  virtual void Notify() = 0;

 protected:
  ~Notifier() = default;
};

// The system counter, CNTPCT_EL0 (DDI0487, Generic Timer): never goes back.
class Counter {
 public:
  virtual uint64_t Ticks() const = 0;
  virtual uint64_t TicksPerSecond() const = 0;  // CNTFRQ_EL0, never 0

 protected:
  ~Counter() = default;
};

// The task's one timer. A deadline in the past fires at once; kNever cancels.
class DeadlineTimer {
 public:
  static constexpr uint64_t kNever = ~uint64_t{0};
  virtual void Set(uint64_t deadline_ticks) = 0;

 protected:
  ~DeadlineTimer() = default;
};

// The service's own VM.
class VmPower {
 public:
  // The VM ends as with PSCI SYSTEM_RESET and starts afresh. Does nothing when it has ended already.
  virtual void Reset() = 0;

 protected:
  ~VmPower() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_PORTS_H_
