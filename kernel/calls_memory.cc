// Kernel calls about memory: mapping, unmapping, clearing.
#include <algorithm>

#include "kernel/calls.h"
#include "kernel/cpu.h"
#include "kernel/direct_map.h"
#include "kernel/memory/cache.h"
#include "kernel/memory/page_table.h"
#include "kernel/memory/translation_registers.h"
#include "kernel/memory_object.h"
#include "kernel/task.h"
#include "kernel/vm.h"

namespace atoll {
namespace {

// Entries of work in one call: 64 KiB of pages, or 32 MiB of blocks.
inline constexpr uint32_t kEntriesPerCall = 16;
inline constexpr uint64_t kClearedPerCall = 1 << 20;

constexpr bool Has(uint32_t rights, Right right) {
  return (rights & static_cast<uint32_t>(right)) != 0;
}

// The mapping of a space, whichever kind it is.
struct Space {
  Task* task = nullptr;
  Vm* vm = nullptr;

  MappingRecords* mappings = nullptr;  // of whichever it is

  Result<uint64_t> Map(uint64_t address, PhysAddr phys, uint64_t bytes,
                       PageAttributes attributes) const {
    if (task != nullptr) {
      return TaskTable(task->root, task->tables)
          .Map(VirtAddr(address), phys, bytes, attributes, kEntriesPerCall);
    }
    return Stage2Table(vm->root, vm->tables)
        .Map(GuestPhys(address), phys, bytes, attributes, kEntriesPerCall);
  }

  Result<uint64_t> Unmap(uint64_t address, uint64_t bytes) const {
    if (task != nullptr) {
      TaskTlb tlb(task->asid);
      return TaskTable(task->root, task->tables)
          .Unmap(VirtAddr(address), bytes, kEntriesPerCall, tlb);
    }
    Stage2Tlb tlb(TranslationBase(vm->root, vm->vmid));
    return Stage2Table(vm->root, vm->tables).Unmap(GuestPhys(address), bytes, kEntriesPerCall, tlb);
  }
};

Result<Space> SpaceOf(const HandleEntry& entry) {
  if (entry.type() == ObjectType::kTask) {
    Task* const task = static_cast<Task*>(entry.object);
    return Space{.task = task, .mappings = &task->mappings};
  }
  if (entry.type() == ObjectType::kVm) {
    Vm* const vm = static_cast<Vm*>(entry.object);
    return Space{.vm = vm, .mappings = &vm->mappings};
  }
  return std::unexpected(Status::kInvalidArgument);
}

}  // namespace

template <>
Result<MapMemoryReply> Execute<KernelCall::kMapMemory>(Task& caller, HandleEntry* handle,
                                                       const MapMemoryRequest& request) {
  Memory& memory = ObjectOf<Memory>(*handle);
  HandleEntry* const space_handle = caller.FindHandle(request.space);
  if (space_handle == nullptr) return std::unexpected(Status::kNotFound);
  if (!Has(space_handle->rights(), Right::kManage))
    return std::unexpected(Status::kPermissionDenied);
  const Result<Space> space = SpaceOf(*space_handle);
  if (!space.has_value()) return std::unexpected(space.error());
  // Never more than the handle on the memory itself allows; every format maps readable.
  if ((request.rights & ~handle->rights()) != 0) return std::unexpected(Status::kPermissionDenied);
  if (!Has(request.rights, Right::kRead)) return std::unexpected(Status::kInvalidArgument);
  if (request.offset % kPageSize != 0 || request.bytes == 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (!InBounds(request.offset, request.bytes, memory.bytes)) {
    return std::unexpected(Status::kOutOfRange);
  }
  MappingRecords::Record* const record =
      space->mappings->FindForMap(memory, request.address, request.offset);
  if (record == nullptr) return std::unexpected(Status::kResourceExhausted);
  const PageAttributes attributes = {.write = Has(request.rights, Right::kWrite),
                                     .execute = Has(request.rights, Right::kExecute),
                                     .memory = memory.memory_type == MemoryType::kNormal
                                                   ? PageMemory::kNormal
                                                   : PageMemory::kDevice};
  // Whoever filled it wrote through its data side. Guests see to their own instruction caches.
  const bool is_code = attributes.execute && space->task != nullptr;
  const Result<uint64_t> mapped =
      space->Map(request.address, memory.base + request.offset, request.bytes, attributes);
  if (!mapped.has_value()) return std::unexpected(mapped.error());
  if (is_code) MakeExecutable(PhysToPointer<std::byte>(memory.base + request.offset), *mapped);
  if (record->memory == nullptr) {
    *record = {.memory = &memory, .address = request.address, .offset = request.offset};
  }
  record->bytes += *mapped;
  memory.mapped_bytes += *mapped;
  return MapMemoryReply{.bytes = *mapped};
}

template <>
Result<MapMemoryReply> Execute<KernelCall::kUnmapMemory>(Task&, HandleEntry* handle,
                                                         const UnmapMemoryRequest& request) {
  const Result<Space> space = SpaceOf(*handle);
  if (!space.has_value()) return std::unexpected(space.error());
  MappingRecords::Record* const record = space->mappings->FindFront(request.address);
  if (record == nullptr) return std::unexpected(Status::kNotFound);
  if (request.bytes > record->bytes) return std::unexpected(Status::kOutOfRange);
  const Result<uint64_t> unmapped = space->Unmap(request.address, request.bytes);
  if (!unmapped.has_value()) return std::unexpected(unmapped.error());
  record->memory->mapped_bytes -= *unmapped;
  record->address += *unmapped;
  record->offset += *unmapped;
  record->bytes -= *unmapped;
  if (record->bytes == 0) *record = {};
  return MapMemoryReply{.bytes = *unmapped};
}

template <>
Result<MapMemoryReply> Execute<KernelCall::kClearMemory>(Task&, HandleEntry* handle,
                                                         const ClearMemoryRequest& request) {
  Memory& memory = ObjectOf<Memory>(*handle);
  if (memory.memory_type != MemoryType::kNormal || !Has(handle->rights(), Right::kWrite)) {
    return std::unexpected(Status::kPermissionDenied);
  }
  if (request.offset % kPageSize != 0 || request.bytes % kPageSize != 0 || request.bytes == 0) {
    return std::unexpected(Status::kInvalidArgument);
  }
  if (!InBounds(request.offset, request.bytes, memory.bytes)) {
    return std::unexpected(Status::kOutOfRange);
  }
  const uint64_t bytes = std::min(request.bytes, kClearedPerCall);
  std::byte* const first = PhysToPointer<std::byte>(memory.base + request.offset);
  // Long, so other CPUs may work meanwhile. The memory stays: only the supervisor destroys, and it is in this call.
  kernel_lock.Unlock();
  ClearToPointOfCoherency(first, bytes);
  kernel_lock.Lock(Cpu::This());
  return MapMemoryReply{.bytes = bytes};
}

}  // namespace atoll
