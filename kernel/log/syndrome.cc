// Arm ARM (DDI0487) D17.2.37, ESR_EL2: exception class, and ISS of aborts.
#include "kernel/log/syndrome.h"

namespace atoll {
namespace {

constexpr unsigned kClassShift = 26;
constexpr uint64_t kClassMask = 0x3f;
constexpr uint64_t kClassInstructionAbortLower = 0x20;
constexpr uint64_t kClassInstructionAbort = 0x21;
constexpr uint64_t kClassDataAbortLower = 0x24;
constexpr uint64_t kClassDataAbort = 0x25;
constexpr uint64_t kFaultStatusMask = 0x3f;
constexpr uint64_t kWriteNotRead = 1u << 6;

std::string_view ClassName(uint64_t exception_class) {
  switch (exception_class) {
    case 0x00: return "undefined instruction";
    case 0x01: return "trapped WFI or WFE";
    case 0x07: return "trapped vector instruction";
    case 0x0d: return "branch target exception";
    case 0x0e: return "illegal execution state";
    case 0x15: return "SVC";
    case 0x16: return "HVC";
    case 0x17: return "SMC";
    case 0x18: return "trapped system register access";
    case 0x1c: return "pointer authentication failure";
    case kClassInstructionAbortLower:
    case kClassInstructionAbort: return "instruction abort";
    case 0x22: return "unaligned program counter";
    case kClassDataAbortLower:
    case kClassDataAbort: return "data abort";
    case 0x26: return "unaligned stack pointer";
    case 0x2f: return "SError interrupt";
    case 0x30:
    case 0x31: return "breakpoint";
    case 0x32:
    case 0x33: return "single step";
    case 0x34:
    case 0x35: return "watchpoint";
    case 0x3c: return "BRK instruction";
    default: return "exception";
  }
}

void DescribeFaultStatus(Line& line, uint64_t status) {
  const uint64_t level = status & 3;
  switch (status >> 2) {
    case 0: line << ", address size fault at level " << level; return;
    case 1: line << ", translation fault at level " << level; return;
    case 2: line << ", access flag fault at level " << level; return;
    case 3: line << ", permission fault at level " << level; return;
    default: break;
  }
  switch (status) {
    case 0x10: line << ", synchronous external abort"; return;
    case 0x21: line << ", alignment fault"; return;
    case 0x30: line << ", TLB conflict"; return;
    default: line << ", fault status " << Hex(status); return;
  }
}

}  // namespace

void DescribeSyndrome(Line& line, uint64_t esr) {
  const uint64_t exception_class = (esr >> kClassShift) & kClassMask;
  line << ClassName(exception_class);
  const bool data =
      exception_class == kClassDataAbort || exception_class == kClassDataAbortLower;
  const bool instruction =
      exception_class == kClassInstructionAbort || exception_class == kClassInstructionAbortLower;
  if (data || instruction) DescribeFaultStatus(line, esr & kFaultStatusMask);
  if (data) line << ((esr & kWriteNotRead) != 0 ? ", write" : ", read");
}

}  // namespace atoll
