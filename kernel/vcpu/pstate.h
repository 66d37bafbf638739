// PSTATE as SPSR_ELx holds it (DDI0487, SPSR_EL2), for exceptions from AArch64 and from AArch32.
#ifndef ATOLL_KERNEL_VCPU_PSTATE_H_
#define ATOLL_KERNEL_VCPU_PSTATE_H_

#include <cstdint>

namespace atoll::pstate {

// M[4:0]: execution state, exception level, stack pointer.
inline constexpr uint64_t kModeMask = 0x1f;
inline constexpr uint64_t kEl0t = 0b00000;
inline constexpr uint64_t kEl1t = 0b00100;
inline constexpr uint64_t kEl1h = 0b00101;
inline constexpr uint64_t kAarch32 = 1u << 4;
inline constexpr uint64_t kAarch32User = 0b10000;

inline constexpr uint64_t kF = 1u << 6;
inline constexpr uint64_t kI = 1u << 7;
inline constexpr uint64_t kA = 1u << 8;
inline constexpr uint64_t kD = 1u << 9;
inline constexpr uint64_t kDaif = kD | kA | kI | kF;
inline constexpr uint64_t kBtype = uint64_t{3} << 10;
inline constexpr uint64_t kSsbs = 1u << 12;
inline constexpr uint64_t kIl = 1u << 20;  // illegal execution state
inline constexpr uint64_t kSs = 1u << 21;  // software step
inline constexpr uint64_t kPan = 1u << 22;
inline constexpr uint64_t kUao = 1u << 23;
inline constexpr uint64_t kDit = 1u << 24;
inline constexpr uint64_t kTco = 1u << 25;
inline constexpr uint64_t kNzcv = uint64_t{0xf} << 28;

// AArch32 only.
inline constexpr uint64_t kT = 1u << 5;                    // T32 instructions
inline constexpr uint64_t kE = 1u << 9;                    // big-endian data
inline constexpr uint64_t kItHigh = uint64_t{0x3f} << 10;  // IT[7:2]
inline constexpr uint64_t kGe = uint64_t{0xf} << 16;
inline constexpr uint64_t kAarch32Ssbs = 1u << 23;
inline constexpr uint64_t kItLow = uint64_t{3} << 25;  // IT[1:0]
inline constexpr uint64_t kQ = 1u << 27;

constexpr bool IsAarch32(uint64_t value) { return (value & kAarch32) != 0; }
constexpr bool IsEl0(uint64_t value) {
  return (value & kModeMask) == kEl0t || (value & kModeMask) == kAarch32User;
}

}  // namespace atoll::pstate

#endif  // ATOLL_KERNEL_VCPU_PSTATE_H_
