// What outlives an instance of vmm. All else is in the kernel (power states) or in guest RAM.
#ifndef ATOLL_SERVICES_VMM_JOURNAL_H_
#define ATOLL_SERVICES_VMM_JOURNAL_H_

#include <cstdint>

#include "services/runtime/two_copies.h"
#include "services/vmm/device_keeper.h"

namespace atoll {

// CPU_ON is the one PSCI call whose answer cannot be found again from the power states: "already
// on" may be the caller's mistake or the work of the instance that died. So the token of a call is
// noted here after its target was seen off and before it is started. A call that is redelivered
// comes before all others, so if its token stands here and the target is on, this call turned it
// on.
//
// The note is there twice, as it changes rarely. Zeroed memory is a fresh journal (no token is 0).
class VmmJournal {
 public:
  enum class Noted {
    kNo,
    kYes,
    kUnknown,  // both copies are damaged
  };

  void NoteCpuOn(uint64_t token) {
    // Before the kernel call that follows; a kernel call orders the caller's earlier stores.
    cpu_on_.Store({token});
  }
  Noted NotedCpuOn(uint64_t token) {
    Note note{};
    if (cpu_on_.Load(note) == Copies::kLost) return Noted::kUnknown;
    return note.token == token ? Noted::kYes : Noted::kNo;
  }

  KeptDevices& devices() { return devices_; }

 private:
  struct Note {
    uint64_t token;
  };
  TwoCopies<Note> cpu_on_{};
  KeptDevices devices_{};
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_JOURNAL_H_
