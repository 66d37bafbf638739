// Descriptor formats: Arm ARM (DDI0487) D8.3, EL2&0 regime.
#include "kernel/boot/table_builder.h"

namespace atoll::boot {
namespace {

constexpr uint64_t kValid = 1u << 0;
constexpr uint64_t kTableOrPage = 1u << 1;  // levels 1 and 2: a table; level 3: a page
constexpr unsigned kAttrIndxShift = 2;
constexpr uint64_t kApReadOnly = 1u << 7;  // AP[2]
constexpr uint64_t kInnerShareable = 3u << 8;
constexpr uint64_t kAccessFlag = 1u << 10;
constexpr uint64_t kGuardedPage = uint64_t{1} << 50;  // checked where the CPU has BTI
constexpr uint64_t kPxn = uint64_t{1} << 53;
constexpr uint64_t kUxn = uint64_t{1} << 54;
constexpr uint64_t kAddressMask = 0x0000'ffff'ffff'f000;

constexpr unsigned kFirstLevel = 1;
constexpr unsigned kLastLevel = 3;
constexpr unsigned kIndexBits = 9;
constexpr uint64_t kIndexMask = (1u << kIndexBits) - 1;

constexpr unsigned LevelShift(unsigned level) { return 12 + kIndexBits * (kLastLevel - level); }

constexpr uint64_t LeafBits(MemoryAttribute attribute, Access access) {
  uint64_t bits = kValid | kAccessFlag | kInnerShareable | kUxn |
                  (static_cast<uint64_t>(attribute) << kAttrIndxShift);
  bits |= access == Access::kExecute ? kGuardedPage : kPxn;
  if (access != Access::kReadWrite) bits |= kApReadOnly;
  return bits;
}

}  // namespace

Result<TranslationTable*> TableBuilder::NextTable(uint64_t& entry) {
  if (entry == 0) {
    if (used_ == pool_.size()) return std::unexpected(Status::kResourceExhausted);
    entry = (pool_base_ + used_++ * kPageSize).value | kValid | kTableOrPage;
  } else if ((entry & kTableOrPage) == 0) {
    return std::unexpected(Status::kAlreadyExists);  // a block
  }
  return &pool_[(entry & kAddressMask) / kPageSize - pool_base_.value / kPageSize];
}

Status TableBuilder::Map(TranslationTable& root, VirtAddr address, PhysAddr physical,
                         uint64_t bytes, MemoryAttribute attribute, Access access) {
  if (!address.IsAligned(kPageSize) || !physical.IsAligned(kPageSize) || bytes % kPageSize != 0) {
    return Status::kInvalidArgument;
  }
  const uint64_t leaf = LeafBits(attribute, access);
  while (bytes > 0) {
    TranslationTable* table = &root;
    unsigned level = kFirstLevel;
    for (;; ++level) {
      const uint64_t block = uint64_t{1} << LevelShift(level);
      uint64_t& entry = table->entries[(address.value >> LevelShift(level)) & kIndexMask];
      if (address.IsAligned(block) && physical.IsAligned(block) && bytes >= block) {
        if (entry != 0) return Status::kAlreadyExists;
        entry = physical.value | leaf | (level == kLastLevel ? kTableOrPage : 0);
        break;
      }
      const Result<TranslationTable*> next = NextTable(entry);
      if (!next) return next.error();
      table = *next;
    }
    const uint64_t mapped = uint64_t{1} << LevelShift(level);
    address = address + mapped;
    physical = physical + mapped;
    bytes -= mapped;
  }
  return Status::kOk;
}

}  // namespace atoll::boot
