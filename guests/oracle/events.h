// Waiting: interrupts of virtio slots are acknowledged and noted, and work that they announce is done while anybody waits.
#ifndef ATOLL_GUESTS_ORACLE_EVENTS_H_
#define ATOLL_GUESTS_ORACLE_EVENTS_H_

#include "guests/bare/bare.h"

namespace oracle {

// Microseconds. A service that hangs is noticed within milliseconds; only something that is lost takes this long.
inline uint64_t patience = 4'000'000;

inline uint64_t Ticks(uint64_t microseconds) {
  return microseconds * (BARE_READ("cntfrq_el0") / 1000) / 1000;
}

// Whoever has the device of a virtio slot.
class Device {
 public:
  // In the interrupt's handler: the device at `base` takes its interrupt back, here as virtio devices do.
  virtual void Acknowledge(uintptr_t base);
  // Later, with interrupts masked.
  virtual void OnInterrupt() = 0;

 protected:
  ~Device() = default;
};

// The GIC, and this vCPU's timer.
void StartEvents();
// From now on interrupts of a virtio slot are the device's.
void Attach(uint32_t slot, Device& device);
// Serves the devices that had an interrupt.
void ServeDevices();
// Until `counter` or the next interrupt, whatever is first.
void SleepUntil(uint64_t counter);

// Serves devices until `done()`; false after so many microseconds.
template <typename Done>
bool WaitFor(Done done, uint64_t microseconds = patience) {
  const uint64_t end = bare::Counter() + Ticks(microseconds);
  for (;;) {
    ServeDevices();
    if (done()) return true;
    if (bare::Counter() >= end) return false;
    SleepUntil(end);
  }
}

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_EVENTS_H_
