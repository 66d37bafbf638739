#include "services/supervisor/objects.h"

#include "services/supervisor/object_pages.h"

namespace atoll {
namespace {

constexpr uint64_t Backing(PhysAddr base, uint64_t pages) { return base.value | pages; }

// One answer of a call that may do a part of its work.
Status CheckProgress(const Result<MapMemoryReply>& reply, uint64_t asked) {
  if (!reply.has_value()) return reply.error();
  return reply->bytes == 0 || reply->bytes > asked ? Objects::kBrokenKernel : Status::kOk;
}

}  // namespace

// ---- making ----------------------------------------------------------------------------------------------------

Status Objects::Create(ObjectType type, uint32_t slot, uint32_t owner, uint64_t a, uint64_t b) {
  if (slot == 0 || slot >= kHandleSlots) return Status::kOutOfRange;
  Status status = Status::kResourceExhausted;
  for (uint64_t pages = ObjectPages(type); pages <= kMaxObjectPages; pages *= 2) {
    const Result<PhysAddr> base = pages_.Allocate(pages * kPageSize);
    if (!base.has_value()) return base.error();
    status = kernel_.CreateObject({.type = type,
                                   .slot = slot,
                                   .backing = Backing(*base, pages),
                                   .owner = owner,
                                   .a = a,
                                   .b = b});
    if (IsOk(status)) {
      ledger_.objects[slot] = {
          .type = type, .owner = owner_, .backing = *base, .backing_bytes = pages * kPageSize};
      return status;
    }
    const Status freed = pages_.Free(*base, pages * kPageSize);
    if (!IsOk(freed)) return freed;
    if (status != Status::kResourceExhausted) break;
  }
  return status;
}

Status Objects::CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment) {
  Bulk clear;
  Status status = CreateRam(slot, bytes, alignment, clear);
  while (IsOk(status) && !clear.done()) status = Step(clear);
  return status;
}

Status Objects::CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment, Bulk& clear) {
  const Result<PhysAddr> base = pages_.Allocate(bytes, alignment);
  if (!base.has_value()) return base.error();
  const Status status = CreateMemory(slot, *base, bytes, MemoryType::kNormal);
  if (!IsOk(status)) {
    const Status freed = pages_.Free(*base, bytes);
    return IsOk(freed) ? status : freed;
  }
  ledger_.objects[slot].is_allocated = true;
  clear = {.kind = Bulk::Kind::kClear, .memory = slot, .bytes = bytes};
  return Status::kOk;
}

Status Objects::CreateMemory(uint32_t slot, PhysAddr base, uint64_t bytes, MemoryType type) {
  if (!base.IsAligned(kPageSize)) return Status::kInvalidArgument;
  const Status status =
      Create(ObjectType::kMemory, slot, 0, base.value | static_cast<uint64_t>(type), bytes);
  if (!IsOk(status)) return status;
  ledger_.objects[slot].memory = base;
  ledger_.objects[slot].memory_bytes = bytes;
  return Status::kOk;
}

bool Objects::Exists(uint32_t slot) const {
  return slot == kOwnTask.slot || slot == kOwnSignal.slot ||
         (slot < kHandleSlots && ledger_.objects[slot].type != ObjectType::kNone);
}

bool Objects::IsMapped(uint32_t memory, uint32_t space, uint64_t address) const {
  return MappedBytes(memory, space, address) != 0;
}

Status Objects::Grant(uint32_t object, const GrantHandleRequest& request) {
  if (ledger_.grants.full()) return Status::kResourceExhausted;
  const Status status = kernel_.GrantHandle(abi::Handle{object}, request);
  if (!IsOk(status)) return status;
  for (const Ledger::Grant& grant : ledger_.grants.entries()) {
    if (grant.task == request.task && grant.slot == request.slot) return Status::kOk;
  }
  (void)ledger_.grants.Add({.owner = owner_, .task = request.task, .slot = request.slot});
  return Status::kOk;
}

Status Objects::Map(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address,
                    uint64_t bytes, uint32_t rights) {
  Bulk bulk = MapLater(memory, space, offset, address, bytes, rights);
  Status status = Status::kOk;
  while (IsOk(status) && !bulk.done()) status = Step(bulk);
  return status;
}

Bulk Objects::MapLater(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address,
                       uint64_t bytes, uint32_t rights) const {
  return {.kind = bytes == 0 ? Bulk::Kind::kNone : Bulk::Kind::kMap,
          .owner = owner_,
          .memory = memory,
          .space = space,
          .rights = rights,
          .offset = offset,
          .address = address,
          .bytes = bytes};
}

Status Objects::Clear(uint32_t memory, uint64_t offset, uint64_t bytes) {
  Bulk bulk{.kind = bytes == 0 ? Bulk::Kind::kNone : Bulk::Kind::kClear,
            .memory = memory,
            .offset = offset,
            .bytes = bytes};
  Status status = Status::kOk;
  while (IsOk(status) && !bulk.done()) status = Step(bulk);
  return status;
}

Status Objects::Step(Bulk& bulk) {
  switch (bulk.kind) {
    case Bulk::Kind::kClear: return ClearSome(bulk);
    case Bulk::Kind::kMap: return MapSome(bulk);
    case Bulk::Kind::kNone: break;
  }
  return Status::kOk;
}

Status Objects::ClearSome(Bulk& bulk) {
  const Result<MapMemoryReply> reply =
      kernel_.ClearMemory(abi::Handle{bulk.memory}, {.offset = bulk.offset, .bytes = bulk.bytes});
  const Status status = CheckProgress(reply, bulk.bytes);
  if (!IsOk(status)) return status;
  bulk.offset += reply->bytes;
  bulk.bytes -= reply->bytes;
  if (bulk.bytes == 0) bulk.kind = Bulk::Kind::kNone;
  return status;
}

Status Objects::MapSome(Bulk& bulk) {
  Ledger::Mapping* const note = Note(bulk);
  if (note == nullptr) return Status::kResourceExhausted;
  const Result<MapMemoryReply> reply =
      kernel_.MapMemory(abi::Handle{bulk.memory}, {.space = bulk.space,
                                                   .offset = bulk.offset,
                                                   .address = bulk.address,
                                                   .bytes = bulk.bytes,
                                                   .rights = bulk.rights});
  Status status = CheckProgress(reply, bulk.bytes);
  if (IsOk(status)) {
    note->bytes += reply->bytes;
    bulk.offset += reply->bytes;
    bulk.address += reply->bytes;
    bulk.bytes -= reply->bytes;
    bulk.donated = false;
    if (bulk.bytes == 0) bulk.kind = Bulk::Kind::kNone;
    return status;
  }
  if (status == Status::kResourceExhausted && !bulk.donated) {
    bulk.donated = true;
    status = DonateTables(bulk.space, TablePages(bulk.bytes));
  }
  if (note->bytes == 0) {  // nothing of it is mapped (yet)
    ledger_.mappings.Remove(static_cast<size_t>(note - ledger_.mappings.entries().data()));
  }
  return status;
}

// The entry that the next piece continues, by the kernel's rule, or a new one; null if there is no room.
Ledger::Mapping* Objects::Note(const Bulk& bulk) {
  // The window that is opened continues nothing, and is opened at every restart: it is not searched for.
  const bool is_window = bulk.space == kOwnTask.slot && bulk.address == kWorkspace.value;
  const size_t first = is_window ? ledger_.mappings.entries().size() : 0;
  for (Ledger::Mapping& mapping : ledger_.mappings.entries().subspan(first)) {
    if (mapping.space == bulk.space && mapping.memory == bulk.memory &&
        mapping.address + mapping.bytes == bulk.address &&
        mapping.offset + mapping.bytes == bulk.offset && mapping.owner == bulk.owner) {
      return &mapping;
    }
  }
  return ledger_.mappings.Add({.memory = bulk.memory,
                               .space = bulk.space,
                               .owner = bulk.owner,
                               .address = bulk.address,
                               .offset = bulk.offset});
}

Status Objects::DonateTables(uint32_t space, uint64_t pages) {
  if (space >= kHandleSlots || ledger_.table_pages.full()) return Status::kResourceExhausted;
  const Result<PhysAddr> base = pages_.Allocate(pages * kPageSize);
  if (!base.has_value()) return base.error();
  const Status status =
      kernel_.DonateTables(abi::Handle{space}, {.backing = Backing(*base, pages)});
  if (!IsOk(status)) {
    const Status freed = pages_.Free(*base, pages * kPageSize);
    return IsOk(freed) ? status : freed;
  }
  (void)ledger_.table_pages.Add({.space = space, .base = *base, .bytes = pages * kPageSize});
  return status;
}

Result<std::span<std::byte>> Objects::Open(uint32_t memory, uint64_t offset, uint64_t bytes) {
  if (open_bytes_ != 0) return std::unexpected(Status::kFailedPrecondition);
  const Status status = Map(memory, kOwnTask.slot, offset, kWorkspace.value, bytes,
                            Rights(Right::kRead, Right::kWrite));
  if (!IsOk(status)) return std::unexpected(status);
  open_bytes_ = bytes;
  return kernel_.OwnMemory(kWorkspace, bytes);
}

Status Objects::Close() {
  open_bytes_ = 0;
  const auto before = ledger_.mappings.entries();
  for (size_t i = before.size(); i-- != 0;) {  // it came last
    if (before[i].space != kOwnTask.slot || before[i].address != kWorkspace.value) continue;
    while (ledger_.mappings.entries().size() == before.size()) {
      if (const Status status = Unmap(i); !IsOk(status)) return status;
    }
    break;
  }
  return Status::kOk;
}

// ---- the way back ----------------------------------------------------------------------------------------------

Status Objects::Revoke(size_t index) {
  const Ledger::Grant grant = ledger_.grants.entries()[index];
  const Status status =
      kernel_.GrantHandle(kOwnTask, {.task = grant.task, .slot = grant.slot, .rights = 0});
  if (!IsOk(status)) return status;
  ledger_.grants.Remove(index);
  return status;
}

Status Objects::Unmap(size_t index) {
  Ledger::Mapping& mapping = ledger_.mappings.entries()[index];
  const Result<MapMemoryReply> reply = kernel_.UnmapMemory(
      abi::Handle{mapping.space}, {.address = mapping.address, .bytes = mapping.bytes});
  const Status status = CheckProgress(reply, mapping.bytes);
  if (!IsOk(status)) return status;
  mapping.address += reply->bytes;
  mapping.offset += reply->bytes;
  mapping.bytes -= reply->bytes;
  if (mapping.bytes == 0) ledger_.mappings.Remove(index);
  return status;
}

Status Objects::UnmapAll(uint32_t memory, uint32_t space) {
  for (size_t i = 0; i < ledger_.mappings.entries().size();) {
    const Ledger::Mapping& mapping = ledger_.mappings.entries()[i];
    if (mapping.memory != memory || mapping.space != space) {
      ++i;
    } else if (const Status status = Unmap(i); !IsOk(status)) {
      return status;
    }
  }
  return Status::kOk;
}

Status Objects::Destroy(uint32_t slot) {
  if (const Status status = kernel_.DestroyObject(abi::Handle{slot}); !IsOk(status)) return status;
  const Ledger::Object object = ledger_.objects[slot];
  ledger_.objects[slot] = {};
  Status status = pages_.Free(object.backing, object.backing_bytes);
  if (object.is_allocated && IsOk(status)) {
    status = pages_.Free(object.memory, object.memory_bytes);
  }
  for (size_t i = 0; i < ledger_.table_pages.entries().size();) {
    const Ledger::TablePages pages = ledger_.table_pages.entries()[i];
    if (pages.space != slot) {
      ++i;
      continue;
    }
    ledger_.table_pages.Remove(i);
    if (IsOk(status)) status = pages_.Free(pages.base, pages.bytes);
  }
  return status;
}

}  // namespace atoll
