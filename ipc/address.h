// Addresses of different spaces are different types, so that they cannot be mixed by accident.
#ifndef ATOLL_IPC_ADDRESS_H_
#define ATOLL_IPC_ADDRESS_H_

#include <compare>
#include <cstdint>

namespace atoll {

template <typename Space>
struct Address {
  uint64_t value = 0;

  constexpr Address() = default;
  constexpr explicit Address(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Address&) const = default;
  constexpr Address operator+(uint64_t bytes) const { return Address(value + bytes); }
  constexpr Address operator-(uint64_t bytes) const { return Address(value - bytes); }
  constexpr uint64_t operator-(Address other) const { return value - other.value; }
  constexpr bool IsAligned(uint64_t power_of_two) const {
    return (value & (power_of_two - 1)) == 0;
  }
};

using PhysAddr = Address<struct PhysicalSpace>;        // the machine's physical memory
using GuestPhys = Address<struct GuestPhysicalSpace>;  // a VM's intermediate physical address (IPA)
using VirtAddr = Address<struct VirtualSpace>;         // EL2 kernel or EL0 task virtual address

// True if [offset, offset + length) lies inside [0, size); no sum can wrap.
constexpr bool InBounds(uint64_t offset, uint64_t length, uint64_t size) {
  return length <= size && offset <= size - length;
}

constexpr bool IsPowerOfTwo(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

constexpr uint64_t AlignUp(uint64_t value, uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}
constexpr uint64_t AlignDown(uint64_t value, uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kBlockSize = 2 * 1024 * 1024;  // level-2 block with the 4 KiB granule

}  // namespace atoll

#endif  // ATOLL_IPC_ADDRESS_H_
