// The time of a VM, in ticks of the machine's counter: it stands still while the VM is paused. A service learns of that by
// two bits of its signal, which may come again and again, and early or late by the moment that a signal takes.
#ifndef ATOLL_SERVICES_RUNTIME_VM_CLOCK_H_
#define ATOLL_SERVICES_RUNTIME_VM_CLOCK_H_

#include <cstdint>

#include "services/runtime/ports.h"
#include "services/runtime/two_copies.h"

namespace atoll {

class VmClock {
  struct Pauses {
    uint64_t over = 0;   // ticks of those that are over
    uint64_t since = 0;  // when the one began that is not; 0: there is none
  };

 public:
  using Copies = TwoCopies<Pauses>;

  // Takes up what lies in `copies`.
  explicit VmClock(Copies& copies) : pauses_(copies) {}

  bool IsIntact() const { return pauses_.IsIntact(); }
  bool Mend() { return pauses_.Mend(); }

  uint64_t Now(uint64_t counter) const {
    return (pauses_->since != 0 ? pauses_->since : counter) - pauses_->over;
  }
  // When the counter is there that this time comes; never, as things are, while the VM is paused.
  uint64_t CounterAt(uint64_t time) const {
    if (pauses_->since != 0 || time > DeadlineTimer::kNever - pauses_->over) {
      return DeadlineTimer::kNever;
    }
    return time + pauses_->over;
  }

  void Pause(uint64_t counter) {
    if (pauses_->since == 0) pauses_.Set({pauses_->over, counter});
  }
  void Resume(uint64_t counter) {
    if (pauses_->since != 0) pauses_.Set({pauses_->over + (counter - pauses_->since), 0});
  }

 private:
  Kept<Pauses> pauses_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_VM_CLOCK_H_
