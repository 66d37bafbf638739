#include "kernel/boot/kernel_map.h"

#include <algorithm>

#include "kernel/boot/boot_phases.h"
#include "kernel/boot/image.h"
#include "kernel/boot/stacks.h"
#include "kernel/direct_map.h"
#include "kernel/machine/power.h"
#include "kernel/system_register.h"

namespace atoll::boot {
namespace {

// Image and identity map: 3 + 3 for 2 MiB, and 2 more for each further 2 MiB; direct map: at most 4
// for each edge of a range that is not 1 GiB aligned; device window: 2 for each region.
constexpr size_t kPoolTables = 56;

constinit TranslationTable root_table = {};
constinit TranslationTable identity_table = {};
constinit TranslationTable empty_table = {};
constinit TranslationTable pool[kPoolTables] = {};
constinit size_t pool_used = 0;
constinit uint64_t device_window_used = 0;

uint64_t Here(const void* object) { return reinterpret_cast<uintptr_t>(object); }

TableBuilder Builder(PhysAddr image_base) {
  return TableBuilder(pool, image_base + (Here(pool) - Here(image_start)), pool_used);
}

// Maps the image at `address`, each part with its rights; the guard pages of the stacks stay out.
Status MapImage(TranslationTable& root, VirtAddr address, PhysAddr image_base) {
  TableBuilder builder = Builder(image_base);
  const auto map = [&](const char* from, const char* to, Access access) {
    const uint64_t offset = Here(from) - Here(image_start);
    return builder.Map(root, address + offset, image_base + offset, Here(to) - Here(from),
                       MemoryAttribute::kNormalWriteBack, access);
  };
  Status status = map(image_start, image_text_end, Access::kExecute);
  if (IsOk(status)) status = map(image_text_end, image_rodata_end, Access::kReadOnly);
  if (IsOk(status)) status = map(image_rodata_end, kernel_stacks, Access::kReadWrite);
  for (size_t cpu = 0; cpu < kMaxCpus && IsOk(status); ++cpu) {
    const char* stacks = kernel_stacks + cpu * ATOLL_STACK_TOP;
    const char* emergency = stacks + ATOLL_GUARD_BYTES;
    const char* stack = stacks + ATOLL_EMERGENCY_STACK_TOP + ATOLL_GUARD_BYTES;
    status = map(emergency, emergency + ATOLL_EMERGENCY_STACK_BYTES, Access::kReadWrite);
    if (IsOk(status)) status = map(stack, stack + ATOLL_STACK_BYTES, Access::kReadWrite);
  }
  return status;
}

}  // namespace

RootTables GetRootTables(PhysAddr image_base) {
  const auto physical = [&](const TranslationTable& table) {
    return image_base + (Here(&table) - Here(image_start));
  };
  return {physical(root_table), physical(identity_table), physical(empty_table)};
}

// The image's virtual address is where kernel.ld starts; here, at the physical address,
// `image_start` is the latter, so the former comes from a word that the linker wrote.
extern "C" void boot_build_tables() {
  static constinit const char* const volatile linked_start = image_start;
  const PhysAddr image_base(Here(image_start));
  const VirtAddr linked(Here(linked_start));
  if (!IsOk(MapImage(root_table, linked, image_base)) ||
      !IsOk(MapImage(identity_table, VirtAddr(image_base.value), image_base))) {
    PowerOff(1);  // an image of more MiB than the pool has tables for
  }
}

Status MapKernel(PhysAddr image_base, VirtAddr address, PhysAddr physical, uint64_t bytes,
                 MemoryAttribute attribute, Access access) {
  const Status status =
      Builder(image_base).Map(root_table, address, physical, bytes, attribute, access);
  // The entries were invalid, so no TLB holds them; the walker must see them before their first
  // use.
  DsbIshst();
  Isb();
  return status;
}

Status MapDirect(PhysAddr image_base, PhysAddr base, uint64_t bytes) {
  const PhysAddr read_only_end = image_base + (Here(image_rodata_end) - Here(image_start));
  const auto map = [&](PhysAddr from, PhysAddr to, Access access) {
    if (from >= to) return Status::kOk;
    return MapKernel(image_base, PhysToVirt(from), from, to - from,
                     MemoryAttribute::kNormalWriteBack, access);
  };
  const PhysAddr end = base + bytes;
  Status status = map(base, std::min(end, image_base), Access::kReadWrite);
  if (IsOk(status)) {
    status = map(std::max(base, image_base), std::min(end, read_only_end), Access::kReadOnly);
  }
  if (IsOk(status)) status = map(std::max(base, read_only_end), end, Access::kReadWrite);
  return status;
}

Result<VirtAddr> MapDevice(PhysAddr image_base, PhysAddr base, uint64_t bytes) {
  const uint64_t in_block = base.value % kBlockSize;  // kept, so that blocks can be used
  const PhysAddr first(AlignDown(base.value, kPageSize));
  const uint64_t length = AlignUp(bytes + base.value % kPageSize, kPageSize);
  const VirtAddr block = kDeviceWindowBase + device_window_used;
  const Status status = MapKernel(image_base, block + AlignDown(in_block, kPageSize), first, length,
                                  MemoryAttribute::kDeviceNgnre, Access::kReadWrite);
  if (!IsOk(status)) return std::unexpected(status);
  device_window_used += AlignUp(in_block + bytes, kBlockSize);
  return block + in_block;
}

}  // namespace atoll::boot
