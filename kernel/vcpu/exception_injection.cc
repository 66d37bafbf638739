#include "kernel/vcpu/exception_injection.h"

#include "kernel/system_register.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/pstate.h"

namespace atoll {
namespace {

// SCTLR_EL1.
inline constexpr uint64_t kSpan = 1u << 23;            // 0: exceptions to EL1 set PAN
inline constexpr uint64_t kDssbs = uint64_t{1} << 44;  // SSBS on exceptions to EL1

// Offsets into the vector table of synchronous exceptions.
inline constexpr uint64_t kFromCurrentSp0 = 0x000;
inline constexpr uint64_t kFromCurrentSpx = 0x200;
inline constexpr uint64_t kFromLowerAarch64 = 0x400;
inline constexpr uint64_t kFromLowerAarch32 = 0x600;
inline constexpr uint64_t kVectorBaseMask = ~uint64_t{0x7ff};

inline constexpr uint64_t kLastLevel = 3;

uint64_t VectorOffset(uint64_t from) {
  if (pstate::IsAarch32(from)) return kFromLowerAarch32;
  if (pstate::IsEl0(from)) return kFromLowerAarch64;
  return (from & pstate::kModeMask) == pstate::kEl1t ? kFromCurrentSp0 : kFromCurrentSpx;
}

// IT[7:0] after an instruction of an IT block: the condition stays, the mask moves up; 0 at the
// block's end.
uint64_t AdvanceItState(uint64_t value) {
  const uint64_t it = ((value & pstate::kItHigh) >> 8) | ((value & pstate::kItLow) >> 25);
  const uint64_t next = (it & 0x7) == 0 ? 0 : (it & 0xe0) | ((it << 1) & 0x1f);
  return (value & ~(pstate::kItHigh | pstate::kItLow)) | ((next << 8) & pstate::kItHigh) |
         ((next << 25) & pstate::kItLow);
}

}  // namespace

void ExceptionInjector::Inject(GuestProgress guest, uint64_t esr_value) const {
  using namespace pstate;
  const uint64_t from = guest.pstate;
  const uint64_t sctlr = SctlrEl12::Read();
  EsrEl12::Write(esr_value);
  SpsrEl12::Write(from);
  ElrEl12::Write(guest.pc);
  guest.pc = (VbarEl12::Read() & kVectorBaseMask) + VectorOffset(from);
  // Kept: flags, DIT, PAN. Cleared: UAO, BTYPE, IL, SS, and all that only AArch32 has.
  uint64_t to = (from & (kNzcv | kDit | kPan)) | kDaif | kEl1h;
  if ((sctlr & kSpan) == 0) to |= kPan;
  if (shows_ssbs_ && (sctlr & kDssbs) != 0) to |= kSsbs;
  guest.pstate = to;
}

void ExceptionInjector::InjectUndefined(GuestProgress guest) const {
  Inject(guest, esr::Make(ExceptionClass::kUnknown, 0));
}

void ExceptionInjector::InjectExternalAbort(GuestProgress guest, uint64_t stage2_esr,
                                            uint64_t far) const {
  const bool data = esr::Class(stage2_esr) == ExceptionClass::kDataAbortLower;
  const bool from_el0 = pstate::IsEl0(guest.pstate);
  const ExceptionClass exception_class =
      data ? (from_el0 ? ExceptionClass::kDataAbortLower : ExceptionClass::kDataAbortSame)
           : (from_el0 ? ExceptionClass::kInstructionAbortLower
                       : ExceptionClass::kInstructionAbortSame);
  uint64_t iss = (stage2_esr & esr::kTableWalk) != 0 ? esr::kExternalAbortOnWalk + kLastLevel
                                                     : esr::kExternalAbort;
  if (data) iss |= stage2_esr & (esr::kWrite | esr::kCacheMaintenance);
  FarEl12::Write(far);
  Inject(guest, esr::Make(exception_class, iss));
}

void SkipInstruction(GuestProgress guest, uint64_t esr_value) {
  constexpr uint64_t kWide = 4;
  constexpr uint64_t kNarrow = 2;  // T32
  if (pstate::IsAarch32(guest.pstate)) {
    guest.pc += (esr_value & esr::kIl) != 0 ? kWide : kNarrow;
    guest.pstate = AdvanceItState(guest.pstate) & ~pstate::kSs;
  } else {
    guest.pc += kWide;
    guest.pstate &= ~(pstate::kSs | pstate::kBtype);
  }
}

}  // namespace atoll
