// A trapped load or store, decoded from ESR_EL2.ISS of a Stage-2 data abort (DDI0487, ISS encoding
// for an exception from a Data Abort), and what it does to the register.
#ifndef ATOLL_KERNEL_VCPU_MMIO_ACCESS_H_
#define ATOLL_KERNEL_VCPU_MMIO_ACCESS_H_

#include <bit>
#include <cstdint>
#include <optional>

#include "ipc/address.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/pstate.h"

namespace atoll {

inline constexpr uint32_t kZeroRegister = 31;

struct MmioAccess {
  uint32_t size = 0;  // bytes: 1, 2, 4, 8
  uint32_t register_number = 0;
  bool write = false;
  bool sign_extend = false;
  bool sixty_four = false;  // an X register; a load to a W register clears its upper half
  bool big_endian = false;  // the guest's data is, at this exception level

  // Nothing if the syndrome does not describe one access of one register: LDP/STP, SIMD, writeback,
  // exclusives and atomics (ISV = 0), cache maintenance, or the guest's own table walk.
  static constexpr std::optional<MmioAccess> Decode(uint64_t esr_value, bool big_endian = false) {
    using namespace esr;
    if ((esr_value & kSyndromeValid) == 0 || (esr_value & (kCacheMaintenance | kTableWalk)) != 0) {
      return std::nullopt;
    }
    return MmioAccess{.size = 1u << ((esr_value >> kSizeShift) & 3),
                      .register_number = static_cast<uint32_t>(esr_value >> kRegisterShift) & 31,
                      .write = (esr_value & kWrite) != 0,
                      .sign_extend = (esr_value & kSignExtend) != 0,
                      .sixty_four = (esr_value & kSixtyFour) != 0,
                      .big_endian = big_endian};
  }

  constexpr unsigned UnusedBits() const { return 64 - 8 * size; }

  // Store: what the device sees of the register's value. Devices are little-endian.
  constexpr uint64_t Outgoing(uint64_t register_value) const {
    return Swapped(register_value << UnusedBits() >> UnusedBits());
  }

  // Load: what the register gets for the device's answer; bits beyond the access are dropped.
  constexpr uint64_t Complete(uint64_t device_value) const {
    const uint64_t value = Swapped(device_value << UnusedBits() >> UnusedBits());
    if (!sign_extend) return value;
    const auto top = static_cast<int64_t>(value << UnusedBits());
    const auto extended = static_cast<uint64_t>(top >> UnusedBits());
    return sixty_four ? extended : static_cast<uint32_t>(extended);
  }

 private:
  constexpr uint64_t Swapped(uint64_t value) const {
    return big_endian ? __builtin_bswap64(value) >> UnusedBits() : value;
  }
};

// SCTLR_EL1: data of EL0, of EL1 is big-endian.
inline constexpr uint64_t kSctlrE0e = 1u << 24;
inline constexpr uint64_t kSctlrEe = 1u << 25;

// Whether data accesses of this state are big-endian.
constexpr bool IsBigEndian(uint64_t guest_pstate, uint64_t sctlr_el1) {
  if (pstate::IsAarch32(guest_pstate)) return (guest_pstate & pstate::kE) != 0;
  return (sctlr_el1 & (pstate::IsEl0(guest_pstate) ? kSctlrE0e : kSctlrEe)) != 0;
}

// Guest physical address of a Stage-2 abort: HPFAR_EL2.FIPA is its page, FAR_EL2 the offset in the
// page.
constexpr GuestPhys FaultAddress(uint64_t hpfar, uint64_t far) {
  constexpr uint64_t kFipaMask = 0x0000'0fff'ffff'fff0;  // FIPA[51:12] in [43:4]
  return GuestPhys((hpfar & kFipaMask) << 8 | (far & (kPageSize - 1)));
}

// HPFAR_EL2 is unknown for permission faults, unless they are on a table walk.
constexpr bool IsFaultAddressValid(uint64_t esr_value) {
  return (esr_value & esr::kFaultTypeMask) != esr::kPermissionFault ||
         (esr_value & esr::kTableWalk) != 0;
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_MMIO_ACCESS_H_
