// The CPU's own virtual interface: ICH_*_EL2. The logic takes its like as a template argument, so that host
// tests give it a model.
//
// Writes here need no ISB before the guest is entered: ERET synchronises the context (DDI0487, "Context
// synchronization event"). After Save the caller needs one before it may unmask interrupts or sleep.
#ifndef ATOLL_KERNEL_VGIC_LIST_REGISTER_HARDWARE_H_
#define ATOLL_KERNEL_VGIC_LIST_REGISTER_HARDWARE_H_

#include <cstdint>

#include "kernel/system_register.h"
#include "kernel/vgic/list_register.h"

namespace atoll {

ATOLL_SYSTEM_REGISTER(IchHcrEl2, "S3_4_C12_C11_0");
ATOLL_SYSTEM_REGISTER(IchVtrEl2, "S3_4_C12_C11_1");
ATOLL_SYSTEM_REGISTER(IchMisrEl2, "S3_4_C12_C11_2");
ATOLL_SYSTEM_REGISTER(IchElrsrEl2, "S3_4_C12_C11_5");
ATOLL_SYSTEM_REGISTER(IchVmcrEl2, "S3_4_C12_C11_7");
ATOLL_SYSTEM_REGISTER(IchAp0r0El2, "S3_4_C12_C8_0");
ATOLL_SYSTEM_REGISTER(IchAp0r1El2, "S3_4_C12_C8_1");
ATOLL_SYSTEM_REGISTER(IchAp0r2El2, "S3_4_C12_C8_2");
ATOLL_SYSTEM_REGISTER(IchAp0r3El2, "S3_4_C12_C8_3");
ATOLL_SYSTEM_REGISTER(IchAp1r0El2, "S3_4_C12_C9_0");
ATOLL_SYSTEM_REGISTER(IchAp1r1El2, "S3_4_C12_C9_1");
ATOLL_SYSTEM_REGISTER(IchAp1r2El2, "S3_4_C12_C9_2");
ATOLL_SYSTEM_REGISTER(IchAp1r3El2, "S3_4_C12_C9_3");
ATOLL_SYSTEM_REGISTER(IchLr0El2, "S3_4_C12_C12_0");
ATOLL_SYSTEM_REGISTER(IchLr1El2, "S3_4_C12_C12_1");
ATOLL_SYSTEM_REGISTER(IchLr2El2, "S3_4_C12_C12_2");
ATOLL_SYSTEM_REGISTER(IchLr3El2, "S3_4_C12_C12_3");
ATOLL_SYSTEM_REGISTER(IchLr4El2, "S3_4_C12_C12_4");
ATOLL_SYSTEM_REGISTER(IchLr5El2, "S3_4_C12_C12_5");
ATOLL_SYSTEM_REGISTER(IchLr6El2, "S3_4_C12_C12_6");
ATOLL_SYSTEM_REGISTER(IchLr7El2, "S3_4_C12_C12_7");
ATOLL_SYSTEM_REGISTER(IchLr8El2, "S3_4_C12_C13_0");
ATOLL_SYSTEM_REGISTER(IchLr9El2, "S3_4_C12_C13_1");
ATOLL_SYSTEM_REGISTER(IchLr10El2, "S3_4_C12_C13_2");
ATOLL_SYSTEM_REGISTER(IchLr11El2, "S3_4_C12_C13_3");
ATOLL_SYSTEM_REGISTER(IchLr12El2, "S3_4_C12_C13_4");
ATOLL_SYSTEM_REGISTER(IchLr13El2, "S3_4_C12_C13_5");
ATOLL_SYSTEM_REGISTER(IchLr14El2, "S3_4_C12_C13_6");
ATOLL_SYSTEM_REGISTER(IchLr15El2, "S3_4_C12_C13_7");
ATOLL_SYSTEM_REGISTER(IccDirEl1, "S3_0_C12_C11_1");

struct ListRegisterHardware {
  // Register numbers are part of the instruction, so an index needs a branch for each.
#define ATOLL_EACH_LIST_REGISTER(ROW) \
  ROW(0)                              \
  ROW(1)                              \
  ROW(2)                              \
  ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8) ROW(9) ROW(10) ROW(11) ROW(12) ROW(13) ROW(14) ROW(15)
#define ATOLL_EACH_ACTIVE_PRIORITY_REGISTER(ROW) ROW(0) ROW(1) ROW(2) ROW(3)

  static ListRegister ReadListRegister(uint32_t index) {
    switch (index) {
#define ATOLL_ROW(n) \
  case n: return {IchLr##n##El2::Read()};
      ATOLL_EACH_LIST_REGISTER(ATOLL_ROW)
#undef ATOLL_ROW
    }
    return {};
  }
  static void WriteListRegister(uint32_t index, ListRegister value) {
    switch (index) {
#define ATOLL_ROW(n) \
  case n: return IchLr##n##El2::Write(value.value);
      ATOLL_EACH_LIST_REGISTER(ATOLL_ROW)
#undef ATOLL_ROW
    }
  }
  static uint32_t ReadActivePriorities(uint32_t group, uint32_t index) {
    switch (index) {
#define ATOLL_ROW(n) \
  case n:            \
    return static_cast<uint32_t>(group == 0 ? IchAp0r##n##El2::Read() : IchAp1r##n##El2::Read());
      ATOLL_EACH_ACTIVE_PRIORITY_REGISTER(ATOLL_ROW)
#undef ATOLL_ROW
    }
    return 0;
  }
  static void WriteActivePriorities(uint32_t group, uint32_t index, uint32_t value) {
    switch (index) {
#define ATOLL_ROW(n) \
  case n: return group == 0 ? IchAp0r##n##El2::Write(value) : IchAp1r##n##El2::Write(value);
      ATOLL_EACH_ACTIVE_PRIORITY_REGISTER(ATOLL_ROW)
#undef ATOLL_ROW
    }
  }
#undef ATOLL_EACH_LIST_REGISTER
#undef ATOLL_EACH_ACTIVE_PRIORITY_REGISTER

  static VirtualTypeRegister ReadType() { return {IchVtrEl2::Read()}; }
  static uint64_t ReadControl() { return IchHcrEl2::Read(); }
  static void WriteControl(uint64_t hcr) { IchHcrEl2::Write(hcr); }
  static VirtualMachineControl ReadMachineControl() { return {IchVmcrEl2::Read()}; }
  static void WriteMachineControl(VirtualMachineControl vmcr) { IchVmcrEl2::Write(vmcr.value); }
  static uint32_t ReadEmpty() { return static_cast<uint32_t>(IchElrsrEl2::Read()); }

  // Ends the active state of a physical interrupt whose priority was dropped at acknowledge (EOImode 1).
  static void DeactivatePhysical(uint32_t intid) { IccDirEl1::Write(intid); }
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_LIST_REGISTER_HARDWARE_H_
