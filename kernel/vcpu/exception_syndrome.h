// ESR_ELx: exception class and the parts of the syndrome that the kernel reads or makes (DDI0487,
// ESR_EL2).
#ifndef ATOLL_KERNEL_VCPU_EXCEPTION_SYNDROME_H_
#define ATOLL_KERNEL_VCPU_EXCEPTION_SYNDROME_H_

#include <cstdint>

namespace atoll {

enum class ExceptionClass : uint32_t {
  kUnknown = 0x00,
  kWfx = 0x01,
  kFpAccess = 0x07,
  kPointerAuth = 0x09,
  kIllegalState = 0x0e,
  kSvc64 = 0x15,
  kHvc64 = 0x16,
  kSmc64 = 0x17,
  kSystemRegister = 0x18,
  kSve = 0x19,
  kInstructionAbortLower = 0x20,
  kInstructionAbortSame = 0x21,
  kDataAbortLower = 0x24,
  kDataAbortSame = 0x25,
  kBreakpointLower = 0x30,
  kSoftwareStepLower = 0x32,
  kWatchpointLower = 0x34,
  kBreakpoint32 = 0x38,  // BKPT in AArch32
  kVectorCatch32 = 0x3a,
  kBrk64 = 0x3c,
};

namespace esr {

inline constexpr unsigned kClassShift = 26;
inline constexpr uint64_t kIl = 1u << 25;  // 32-bit instruction
inline constexpr uint64_t kIssMask = kIl - 1;

constexpr ExceptionClass Class(uint64_t value) {
  return static_cast<ExceptionClass>((value >> kClassShift) & 0x3f);
}
constexpr uint64_t Make(ExceptionClass exception_class, uint64_t iss) {
  return static_cast<uint64_t>(exception_class) << kClassShift | kIl | iss;
}

// Aborts. Those above kWrite are of data aborts only.
inline constexpr uint64_t kFaultStatusMask = 0x3f;
inline constexpr uint64_t kFaultTypeMask = 0x3c;  // without the level
inline constexpr uint64_t kTranslationFault = 0x04;
inline constexpr uint64_t kAccessFlagFault = 0x08;
inline constexpr uint64_t kPermissionFault = 0x0c;
inline constexpr uint64_t kExternalAbort = 0x10;
inline constexpr uint64_t kExternalAbortOnWalk = 0x14;  // + level
inline constexpr uint64_t kWrite = 1u << 6;             // WnR
inline constexpr uint64_t kTableWalk = 1u << 7;         // S1PTW
inline constexpr uint64_t kCacheMaintenance = 1u << 8;  // CM
inline constexpr uint64_t kExternal = 1u << 9;          // EA
inline constexpr uint64_t kFarNotValid = 1u << 10;      // FnV
inline constexpr uint64_t kSixtyFour = 1u << 15;        // SF
inline constexpr unsigned kRegisterShift = 16;          // SRT
inline constexpr uint64_t kSignExtend = 1u << 21;       // SSE
inline constexpr unsigned kSizeShift = 22;              // SAS
inline constexpr uint64_t kSyndromeValid = 1u << 24;    // ISV

// WFx: bit 1 set = WFIT or WFET. Atoll hides FEAT_WFxT, so those are undefined instructions.
inline constexpr uint64_t kWfxTimed = 1u << 1;
inline constexpr uint64_t kWfxEvent = 1u << 0;

}  // namespace esr
}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_EXCEPTION_SYNDROME_H_
