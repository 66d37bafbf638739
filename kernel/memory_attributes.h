// Memory types of every translation table of the kernel: indices into MAIR_EL2 (Arm ARM D17.2.97).
#ifndef ATOLL_KERNEL_MEMORY_ATTRIBUTES_H_
#define ATOLL_KERNEL_MEMORY_ATTRIBUTES_H_

#include <cstdint>

namespace atoll {

enum class MemoryAttribute : uint64_t {
  kDeviceNgnre = 0,      // Device-nGnRE
  kNormalWriteBack = 1,  // Normal, inner and outer write-back, read and write allocate
};

inline constexpr uint64_t kMairEl2 =
    (uint64_t{0x04} << (8 * static_cast<uint64_t>(MemoryAttribute::kDeviceNgnre))) |
    (uint64_t{0xff} << (8 * static_cast<uint64_t>(MemoryAttribute::kNormalWriteBack)));

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_ATTRIBUTES_H_
