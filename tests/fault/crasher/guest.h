// The crasher as a guest of tests/fault/system.textproto finds it.
#ifndef ATOLL_TESTS_FAULT_CRASHER_GUEST_H_
#define ATOLL_TESTS_FAULT_CRASHER_GUEST_H_

#include "guests/bare/bare.h"
#include "tests/fault/crasher/registers.h"

namespace crasher {

using namespace atoll::crasher;  // NOLINT: registers only

inline constexpr uintptr_t kBase = bare::kVirtio + 0x1000;  // virtio slot 1

inline uint32_t Read(uint32_t offset) { return bare::Load32(kBase + offset); }
inline void Write(uint32_t offset, uint32_t value) { bare::Store32(kBase + offset, value); }
inline void Command(uint32_t value) { Write(kCommand, value); }

// Deaths count against the service's limit for a second: waits until they do no more.
inline void LetDeathsExpire() {
  using namespace bare;
  const uint64_t end = Counter() + BARE_READ("cntfrq_el0") * 11 / 10;
  EnableInterrupt(kVirtualTimerIntid);
  BARE_WRITE("cntv_cval_el0", end);
  BARE_WRITE("cntv_ctl_el0", 1);
  while (Counter() < end) WaitForInterrupt();
  BARE_WRITE("cntv_ctl_el0", 0);
  DisableInterrupt(kVirtualTimerIntid);
}

struct Seen {
  uint32_t generation = Read(crasher::kGeneration);
  uint32_t count = Read(crasher::kCount);
  uint32_t deliveries = Read(crasher::kDeliveries);
};

}  // namespace crasher

#endif  // ATOLL_TESTS_FAULT_CRASHER_GUEST_H_
