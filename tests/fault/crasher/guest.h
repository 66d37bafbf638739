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

}  // namespace crasher

#endif  // ATOLL_TESTS_FAULT_CRASHER_GUEST_H_
