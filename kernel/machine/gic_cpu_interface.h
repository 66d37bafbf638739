// The physical GIC CPU interface of this CPU, by system registers. IHI0069 12.2.
#ifndef ATOLL_KERNEL_MACHINE_GIC_CPU_INTERFACE_H_
#define ATOLL_KERNEL_MACHINE_GIC_CPU_INTERFACE_H_

#include <cstdint>

#include "kernel/system_register.h"

namespace atoll::gic {

ATOLL_SYSTEM_REGISTER(IccSreEl2, "icc_sre_el2");
ATOLL_SYSTEM_REGISTER(IccPmrEl1, "icc_pmr_el1");
ATOLL_SYSTEM_REGISTER(IccBpr1El1, "icc_bpr1_el1");
ATOLL_SYSTEM_REGISTER(IccCtlrEl1, "icc_ctlr_el1");
ATOLL_SYSTEM_REGISTER(IccIgrpen1El1, "icc_igrpen1_el1");

inline constexpr uint64_t kSreSre = 1u << 0;
inline constexpr uint64_t kSreDfb = 1u << 1;
inline constexpr uint64_t kSreDib = 1u << 2;
inline constexpr uint64_t kSreEnable = 1u << 3;    // EL1 may access ICC_SRE_EL1
inline constexpr uint64_t kCtlrEoiMode = 1u << 1;  // EOIR drops the priority only, DIR deactivates
inline constexpr uint64_t kPmrAll = 0xff;          // every priority but the lowest passes
inline constexpr uint32_t kSpurious = 1020;        // INTIDs from here on: nothing to handle

// On each CPU, after its redistributor. False if the system register interface cannot be enabled.
[[nodiscard]] inline bool InitializeCpuInterface() {
  IccSreEl2::Write(kSreSre | kSreDfb | kSreDib | kSreEnable);
  Isb();
  if ((IccSreEl2::Read() & kSreSre) == 0) return false;
  IccPmrEl1::Write(kPmrAll);
  IccBpr1El1::Write(0);
  IccCtlrEl1::Write(kCtlrEoiMode);
  IccIgrpen1El1::Write(1);
  Isb();
  return true;
}

// The pending interrupt of the highest priority, now active, or an INTID from kSpurious on.
inline uint32_t Acknowledge() {
  uint64_t intid;
  asm volatile("mrs %0, icc_iar1_el1" : "=r"(intid)::"memory");
  DsbSy();  // the acknowledge is complete before the device is touched (IHI0069 4.4.1)
  return static_cast<uint32_t>(intid);
}

// Drops the running priority; the interrupt stays active until Deactivate.
inline void EndOfInterrupt(uint32_t intid) {
  asm volatile("msr icc_eoir1_el1, %0" ::"r"(uint64_t{intid}) : "memory");
  Isb();
}

inline void Deactivate(uint32_t intid) {
  asm volatile("msr icc_dir_el1, %0" ::"r"(uint64_t{intid}) : "memory");
  Isb();
}

// Without range selectors (ICC_CTLR_EL1.RSS) an SGI reaches Aff0 below 16.
constexpr bool IsSgiTarget(uint64_t affinity) { return (affinity & 0xff) < 16; }

// Sends SGI `intid` (0 to 15) to the CPU with this affinity, which must be a target.
inline void SendSgi(uint32_t intid, uint64_t affinity) {
  const uint64_t value = ((affinity >> 32 & 0xff) << 48) |  // Aff3
                         ((affinity >> 16 & 0xff) << 32) |  // Aff2
                         ((affinity >> 8 & 0xff) << 16) |   // Aff1
                         (uint64_t{intid} << 24) | (uint64_t{1} << (affinity & 0xf));
  DsbIshst();  // what the other CPU is told of is visible to it
  asm volatile("msr icc_sgi1r_el1, %0" ::"r"(value) : "memory");
  Isb();
}

}  // namespace atoll::gic

#endif  // ATOLL_KERNEL_MACHINE_GIC_CPU_INTERFACE_H_
