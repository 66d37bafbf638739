// What outlives an instance of vmm. All else is in the kernel or in guest RAM.
#ifndef ATOLL_SERVICES_VMM_JOURNAL_H_
#define ATOLL_SERVICES_VMM_JOURNAL_H_

#include <cstdint>

#include "services/runtime/journal.h"
#include "services/runtime/two_copies.h"
#include "services/vmm/device_keeper.h"

namespace atoll {

// CPU_ON is the one PSCI call whose answer cannot be found again from the power states: "already
// on" may be the caller's mistake or the work of the instance that died. So the token of a call is
// noted here after its target was seen off and before it is started. A call that is redelivered
// comes before all others, so if its token stands here and the target is on, this call turned it
// on.
//
// The power states that the guest asked for are noted, too (power_states.h).
//
// Each note is there twice, as it changes rarely. Zeroed memory is a fresh journal (no token is 0).
// A layout without a number came before this one: it has the first two members only.
class VmmJournal {
 public:
  // "ATVMM" and the layout's number, a digit.
  static constexpr uint64_t kFamily = 0x0000'004d'4d56'5441;
  static constexpr uint64_t kFormat = kFamily | uint64_t{'1'} << 56;

  enum class Noted {
    kNo,
    kYes,
    kUnknown,  // both copies are damaged
  };

  // Of vCPUs, a bit each by their index.
  struct Powers {
    uint64_t format = kFormat;
    uint32_t on = 0;        // as the guest wants it
    uint32_t changing = 0;  // on or off: this instance, or the one that died, was about to say so
  };
  // What there is of them.
  enum class Found {
    kGood,
    kRepaired,  // the same; something was damaged
    kNothing,   // a new VM's journal, or one without a number
    kLost,
    kRefused,  // of a layout that is not known
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

  // Fills `powers` if they are good or repaired.
  Found Load(Powers& powers) {
    const Copies copies = powers_.Load(powers);
    const bool there = copies == Copies::kGood || copies == Copies::kRepaired;
    const uint64_t format = there ? powers.format : format_;
    if (format != kFormat && (there || IsOfFamily(format))) return Found::kRefused;
    if (!there) return copies == Copies::kFresh && format_ == 0 ? Found::kNothing : Found::kLost;
    const bool damaged = copies == Copies::kRepaired || (format_ != kFormat && format_ != 0);
    MarkFormat();
    return damaged ? Found::kRepaired : Found::kGood;
  }
  void Store(const Powers& powers) {
    powers_.Store(powers);
    MarkFormat();  // of a journal that has them
  }

  KeptDevices& devices() { return devices_; }

 private:
  static constexpr bool IsOfFamily(uint64_t format) { return format << 8 == kFamily << 8; }
  void MarkFormat() {
    if (format_ != kFormat) StoreRelease(format_, kFormat);
  }

  struct Note {
    uint64_t token;
  };
  TwoCopies<Note> cpu_on_{};
  KeptDevices devices_{};
  uint64_t format_ = 0;  // as in Powers, of any layout that has a number
  TwoCopies<Powers> powers_{};
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_JOURNAL_H_
