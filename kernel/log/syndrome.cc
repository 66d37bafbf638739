// Arm ARM (DDI0487) D17.2.37, ESR_EL2: exception class, and ISS of aborts.
#include "kernel/log/syndrome.h"

#include <span>
#include <string_view>

namespace atoll {
namespace {

constexpr unsigned kClassShift = 26;
constexpr uint64_t kClassMask = 0x3f;
constexpr uint8_t kClassInstructionAbortLower = 0x20;
constexpr uint8_t kClassInstructionAbort = 0x21;
constexpr uint8_t kClassDataAbortLower = 0x24;
constexpr uint8_t kClassDataAbort = 0x25;
constexpr uint64_t kFaultStatusMask = 0x3f;
constexpr uint64_t kWriteNotRead = 1u << 6;

// Number and name; tables, since they are constants and a switch is code.
struct Name {
  uint8_t number;
  std::string_view name;
};

constexpr Name kClasses[] = {
    {0x00, "undefined instruction"},
    {0x01, "trapped WFI or WFE"},
    {0x07, "trapped vector instruction"},
    {0x0d, "branch target exception"},
    {0x0e, "illegal execution state"},
    {0x15, "SVC"},
    {0x16, "HVC"},
    {0x17, "SMC"},
    {0x18, "trapped system register access"},
    {0x1c, "pointer authentication failure"},
    {kClassInstructionAbortLower, "instruction abort"},
    {kClassInstructionAbort, "instruction abort"},
    {0x22, "unaligned program counter"},
    {kClassDataAbortLower, "data abort"},
    {kClassDataAbort, "data abort"},
    {0x26, "unaligned stack pointer"},
    {0x2f, "SError interrupt"},
    {0x30, "breakpoint"},
    {0x31, "breakpoint"},
    {0x32, "single step"},
    {0x33, "single step"},
    {0x34, "watchpoint"},
    {0x35, "watchpoint"},
    {0x3c, "BRK instruction"},
};

// By fault status code without its two bits of level.
constexpr Name kLevelFaults[] = {
    {0, "address size fault"},
    {1, "translation fault"},
    {2, "access flag fault"},
    {3, "permission fault"},
};

constexpr Name kFaults[] = {
    {0x10, "synchronous external abort"},
    {0x21, "alignment fault"},
    {0x30, "TLB conflict"},
};

std::string_view Find(std::span<const Name> names, uint64_t number, std::string_view otherwise) {
  for (const Name& name : names) {
    if (name.number == number) return name.name;
  }
  return otherwise;
}

void DescribeFaultStatus(Line& line, uint64_t status) {
  const std::string_view level_fault = Find(kLevelFaults, status >> 2, {});
  if (!level_fault.empty()) {
    line << ", " << level_fault << " at level " << (status & 3);
    return;
  }
  line << ", " << Find(kFaults, status, "fault status ");
  if (Find(kFaults, status, {}).empty()) line << Hex(status);
}

}  // namespace

void DescribeSyndrome(Line& line, uint64_t esr) {
  const uint64_t exception_class = (esr >> kClassShift) & kClassMask;
  line << Find(kClasses, exception_class, "exception");
  const bool data = exception_class == kClassDataAbort || exception_class == kClassDataAbortLower;
  const bool instruction =
      exception_class == kClassInstructionAbort || exception_class == kClassInstructionAbortLower;
  if (data || instruction) DescribeFaultStatus(line, esr & kFaultStatusMask);
  if (data) line << ((esr & kWriteNotRead) != 0 ? ", write" : ", read");
}

}  // namespace atoll
