// Layouts of the hypervisor's GIC registers (IHI0069, "Virtual interface control registers").
#ifndef ATOLL_KERNEL_VGIC_LIST_REGISTER_H_
#define ATOLL_KERNEL_VGIC_LIST_REGISTER_H_

#include <cstdint>

namespace atoll {

inline constexpr uint32_t kMaxListRegisters = 16;
inline constexpr uint32_t kMaxActivePriorityRegisters = 4;  // ICH_AP0R<n>_EL2, ICH_AP1R<n>_EL2

// ICH_LR<n>_EL2.
struct ListRegister {
  static constexpr uint64_t kPending = uint64_t{1} << 62;
  static constexpr uint64_t kActive = uint64_t{1} << 63;
  static constexpr uint64_t kState = kPending | kActive;
  static constexpr uint64_t kHardware = uint64_t{1} << 61;
  static constexpr uint64_t kGroup1 = uint64_t{1} << 60;
  static constexpr uint64_t kMaintenance = uint64_t{1}
                                           << 41;  // EOI: interrupt at deactivation; HW = 0
  static constexpr uint32_t kPriorityShift = 48;
  static constexpr uint32_t kPhysicalIntidShift = 32;
  static constexpr uint64_t kPhysicalIntidMask = uint64_t{0x1fff} << kPhysicalIntidShift;

  uint64_t value = 0;

  constexpr bool pending() const { return (value & kPending) != 0; }
  constexpr bool active() const { return (value & kActive) != 0; }
  constexpr bool valid() const { return (value & kState) != 0; }
  constexpr bool hardware() const { return (value & kHardware) != 0; }
  constexpr bool maintenance() const { return !hardware() && (value & kMaintenance) != 0; }
  constexpr uint32_t group() const { return (value & kGroup1) != 0 ? 1 : 0; }
  constexpr uint32_t priority() const { return (value >> kPriorityShift) & 0xff; }
  constexpr uint32_t virtual_intid() const { return static_cast<uint32_t>(value); }
  constexpr uint32_t physical_intid() const {
    return static_cast<uint32_t>((value & kPhysicalIntidMask) >> kPhysicalIntidShift);
  }
  constexpr void Set(uint64_t bits, bool on) { value = on ? value | bits : value & ~bits; }
  constexpr bool operator==(const ListRegister&) const = default;
};

// ICH_HCR_EL2.
namespace ich_hcr {
inline constexpr uint64_t kEn = 1;
inline constexpr uint64_t kUnderflow = 1 << 1;
inline constexpr uint64_t kNoEntryForEoi = 1 << 2;  // LRENPIE
inline constexpr uint64_t kNoPending = 1 << 3;      // NPIE
inline constexpr uint64_t kGroup0Enabled = 1 << 4;
inline constexpr uint64_t kGroup0Disabled = 1 << 5;
inline constexpr uint64_t kGroup1Enabled = 1 << 6;
inline constexpr uint64_t kGroup1Disabled = 1 << 7;
inline constexpr uint64_t kTrapDir = 1 << 14;  // TDIR
inline constexpr uint32_t kEoiCountShift = 27;
constexpr uint32_t EoiCount(uint64_t hcr) { return (hcr >> kEoiCountShift) & 0x1f; }
}  // namespace ich_hcr

// ICH_VMCR_EL2: the guest's CPU interface.
struct VirtualMachineControl {
  static constexpr uint64_t kGroup0Enable = 1 << 0;
  static constexpr uint64_t kGroup1Enable = 1 << 1;
  static constexpr uint64_t kFiqEnable = 1 << 3;  // RES1 while ICC_SRE_EL1.SRE is 1
  static constexpr uint64_t kCommonBinaryPoint = 1 << 4;
  static constexpr uint64_t kEoiMode = 1 << 9;
  static constexpr uint32_t kBinaryPoint1Shift = 18;
  static constexpr uint32_t kBinaryPoint0Shift = 21;
  static constexpr uint32_t kPriorityMaskShift = 24;

  uint64_t value = 0;

  // Bit g: Group g is enabled by ICC_IGRPEN<g>_EL1.
  constexpr uint32_t groups() const { return value & (kGroup0Enable | kGroup1Enable); }
  constexpr bool separate_deactivation() const { return (value & kEoiMode) != 0; }
  constexpr uint32_t priority_mask() const { return (value >> kPriorityMaskShift) & 0xff; }

  // The bits of a priority that count for preemption (IHI0069, "Preemption"): Group 1 of one Security
  // state has one bit less than its binary point says, unless CBPR makes Group 0's count for both.
  constexpr uint32_t GroupPriorityMask(uint32_t group) const {
    const uint32_t point0 = (value >> kBinaryPoint0Shift) & 7;
    const uint32_t point1 = (value >> kBinaryPoint1Shift) & 7;
    const bool own = group == 1 && (value & kCommonBinaryPoint) == 0;
    return own ? (0xffu << point1) & 0xff : (0xffu << (point0 + 1)) & 0xff;
  }

  // What CPU_ON finds: everything masked, binary points at their minimum for `preemption_bits`.
  static constexpr VirtualMachineControl Reset(uint32_t preemption_bits) {
    const uint64_t point0 = 7 - preemption_bits;
    return {kFiqEnable | ((point0 + 1) << kBinaryPoint1Shift) | (point0 << kBinaryPoint0Shift)};
  }
};

// ICH_VTR_EL2: what the virtual interface has.
struct VirtualTypeRegister {
  uint64_t value = 0;
  constexpr uint32_t list_registers() const { return (value & 0x1f) + 1; }
  constexpr bool trap_dir() const { return (value & (1 << 19)) != 0; }   // TDS
  constexpr bool affinity3() const { return (value & (1 << 21)) != 0; }  // A3V
  constexpr uint32_t preemption_bits() const { return ((value >> 26) & 7) + 1; }
  constexpr uint32_t priority_bits() const { return ((value >> 29) & 7) + 1; }
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_LIST_REGISTER_H_
