// Descriptors of the three kinds of translation table, all with the 4 KiB granule (DDI0487,
// VMSAv8-64 translation table format descriptors):
//
//   TaskFormat    Stage 1, TTBR0_EL2: 39 bits, levels 1-3, EL0 pages, not global (ASID)
//   KernelFormat  Stage 1, TTBR1_EL2: 39 bits, levels 1-3, EL2 only, global
//   Stage2Format  Stage 2, VTTBR_EL2: 40 bits, levels 1-3, two concatenated level 1 tables
#ifndef ATOLL_KERNEL_MEMORY_TABLE_FORMAT_H_
#define ATOLL_KERNEL_MEMORY_TABLE_FORMAT_H_

#include <cstdint>
#include <optional>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "kernel/direct_map.h"
#include "kernel/memory_attributes.h"

namespace atoll {

enum class PageMemory : uint32_t {
  kNormal,  // write-back, inner shareable
  kDevice,  // Device-nGnRE; never executable
};

// What a mapping allows. Writing and executing include reading.
struct PageAttributes {
  bool write = false;
  bool execute = false;
  PageMemory memory = PageMemory::kNormal;
  constexpr bool operator==(const PageAttributes&) const = default;
};

namespace descriptor {

inline constexpr uint64_t kValid = 1u << 0;
inline constexpr uint64_t kTableOrPage =
    1u << 1;  // levels 1, 2: table, else block; level 3: always set
inline constexpr uint64_t kTypeMask = kValid | kTableOrPage;
inline constexpr uint64_t kAddressMask = 0x0000'ffff'ffff'f000;
inline constexpr uint64_t kInnerShareable = uint64_t{3} << 8;
inline constexpr uint64_t kAccessFlag = 1u << 10;  // set from the start: no access flag faults

// Stage 1.
inline constexpr unsigned kAttributeIndexShift = 2;
inline constexpr uint64_t kAttributeIndexMask = uint64_t{7} << kAttributeIndexShift;
inline constexpr uint64_t kUnprivileged = 1u << 6;  // AP[1]: EL0 too
inline constexpr uint64_t kReadOnly = 1u << 7;      // AP[2]
inline constexpr uint64_t kNotGlobal = 1u << 11;
inline constexpr uint64_t kPrivilegedExecuteNever = uint64_t{1} << 53;
inline constexpr uint64_t kUnprivilegedExecuteNever = uint64_t{1} << 54;

// Stage 2.
inline constexpr uint64_t kStage2MemoryMask = uint64_t{0xf} << 2;
inline constexpr uint64_t kStage2NormalWriteBack = uint64_t{0xf} << 2;  // inner and outer
inline constexpr uint64_t kStage2DeviceNgnre = uint64_t{0x1} << 2;
inline constexpr uint64_t kStage2Read = 1u << 6;
inline constexpr uint64_t kStage2Write = 1u << 7;
// XN[1:0] = 0b10 (bit 53 is reserved without FEAT_XNX): executable neither at EL1 nor at EL0.
inline constexpr uint64_t kStage2ExecuteNever = uint64_t{1} << 54;

constexpr uint64_t Stage1Memory(PageMemory memory) {
  const MemoryAttribute index = memory == PageMemory::kNormal ? MemoryAttribute::kNormalWriteBack
                                                              : MemoryAttribute::kDeviceNgnre;
  // Shareability of Device memory is ignored: it is always outer shareable.
  const uint64_t shareable = memory == PageMemory::kNormal ? kInnerShareable : 0;
  return static_cast<uint64_t>(index) << kAttributeIndexShift | shareable | kAccessFlag;
}

constexpr PageMemory Stage1MemoryOf(uint64_t value) {
  const uint64_t index = (value & kAttributeIndexMask) >> kAttributeIndexShift;
  return index == static_cast<uint64_t>(MemoryAttribute::kNormalWriteBack) ? PageMemory::kNormal
                                                                           : PageMemory::kDevice;
}

// Writable and executable at once is refused wherever the kernel or a task runs; so is executable
// Device memory, which speculative fetches could read.
constexpr bool IsAllowedInStage1(PageAttributes attributes) {
  return !(attributes.execute && (attributes.write || attributes.memory == PageMemory::kDevice));
}

}  // namespace descriptor

struct TaskFormat {
  using Input = VirtAddr;
  static constexpr Input kBase{0};
  static constexpr unsigned kInputBits = abi::kTaskSpaceBits;
  static constexpr unsigned kRootLevel = 1;
  static constexpr unsigned kLargestBlockLevel = 2;
  static constexpr bool kMaySplitBlocks = true;

  static constexpr std::optional<uint64_t> Encode(PageAttributes attributes) {
    using namespace descriptor;
    if (!IsAllowedInStage1(attributes)) return std::nullopt;
    return Stage1Memory(attributes.memory) | kUnprivileged | kNotGlobal | kPrivilegedExecuteNever |
           (attributes.write ? 0 : kReadOnly) |
           (attributes.execute ? 0 : kUnprivilegedExecuteNever);
  }
  static constexpr PageAttributes Decode(uint64_t value) {
    using namespace descriptor;
    return {.write = (value & kReadOnly) == 0,
            .execute = (value & kUnprivilegedExecuteNever) == 0,
            .memory = Stage1MemoryOf(value)};
  }
};

struct KernelFormat {
  using Input = VirtAddr;
  static constexpr Input kBase = kDirectMapBase;
  static constexpr unsigned kInputBits = kKernelSpaceBits;
  static constexpr unsigned kRootLevel = 1;
  static constexpr unsigned kLargestBlockLevel = 1;
  // Break-before-make would take away what the kernel runs from.
  static constexpr bool kMaySplitBlocks = false;

  static constexpr std::optional<uint64_t> Encode(PageAttributes attributes) {
    using namespace descriptor;
    if (!IsAllowedInStage1(attributes)) return std::nullopt;
    return Stage1Memory(attributes.memory) | kUnprivilegedExecuteNever |
           (attributes.write ? 0 : kReadOnly) | (attributes.execute ? 0 : kPrivilegedExecuteNever);
  }
  static constexpr PageAttributes Decode(uint64_t value) {
    using namespace descriptor;
    return {.write = (value & kReadOnly) == 0,
            .execute = (value & kPrivilegedExecuteNever) == 0,
            .memory = Stage1MemoryOf(value)};
  }
};

struct Stage2Format {
  using Input = GuestPhys;
  static constexpr Input kBase{0};
  static constexpr unsigned kInputBits = abi::kGuestPhysBits;
  static constexpr unsigned kRootLevel = 1;
  static constexpr unsigned kLargestBlockLevel = 2;
  static constexpr bool kMaySplitBlocks = true;

  static constexpr std::optional<uint64_t> Encode(PageAttributes attributes) {
    using namespace descriptor;
    const bool device = attributes.memory == PageMemory::kDevice;
    if (device && attributes.execute) return std::nullopt;
    return (device ? kStage2DeviceNgnre : kStage2NormalWriteBack | kInnerShareable) | kAccessFlag |
           kStage2Read | (attributes.write ? kStage2Write : 0) |
           (attributes.execute ? 0 : kStage2ExecuteNever);
  }
  static constexpr PageAttributes Decode(uint64_t value) {
    using namespace descriptor;
    return {.write = (value & kStage2Write) != 0,
            .execute = (value & kStage2ExecuteNever) == 0,
            .memory = (value & kStage2MemoryMask) == kStage2NormalWriteBack ? PageMemory::kNormal
                                                                            : PageMemory::kDevice};
  }
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_TABLE_FORMAT_H_
