// How the ledger and the page allocator come to know what an earlier instance of the supervisor made.
#include "services/supervisor/objects.h"

namespace atoll {
namespace {

constexpr uint64_t kInPage = kPageSize - 1;
constexpr uint64_t kTypeMask = 0xff;
constexpr unsigned kIndexShift = 8;

bool IsInside(uint64_t address, const GetResourceReply* range) {
  return range != nullptr && address >= range->base && address - range->base < range->bytes;
}

}  // namespace

Status Objects::Adopt(uint32_t slot, Owner owner, const GetResourceReply* archive) {
  if (slot <= kOwnSignal.slot || slot >= kHandleSlots) return Status::kOutOfRange;
  const auto reply = kernel_.InspectObject(abi::Handle{slot}, {});
  if (!reply.has_value()) return reply.error() == Status::kNotFound ? Status::kOk : reply.error();
  Ledger::Object& object = ledger_.objects[slot];
  object = {.type = static_cast<ObjectType>(reply->type & kTypeMask),
            .owner = owner,
            .backing = PhysAddr{AlignDown(reply->backing, kPageSize)},
            .backing_bytes = (reply->backing & kInPage) * kPageSize};
  Status status = pages_.Reserve(object.backing, object.backing_bytes);
  if (object.type != ObjectType::kMemory) return status;
  object.memory = PhysAddr{AlignDown(reply->memory, kPageSize)};
  object.memory_bytes = reply->bytes;
  object.is_allocated = (reply->memory & kInPage) == static_cast<uint64_t>(MemoryType::kNormal) &&
                        !IsInside(object.memory.value, archive);
  if (IsOk(status) && object.is_allocated) {
    status = pages_.Reserve(object.memory, object.memory_bytes);
  }
  return status;
}

Status Objects::AdoptSpaces() {
  Status status = AdoptSpace(kOwnTask.slot);
  for (uint32_t slot = 0; slot < kHandleSlots && IsOk(status); ++slot) {
    const ObjectType type = ledger_.objects[slot].type;
    if (type == ObjectType::kTask || type == ObjectType::kVm) status = AdoptSpace(slot);
  }
  // What was being filled is filled again, or not needed.
  const auto is_open = [](const Ledger::Mapping& mapping) {
    return mapping.space == kOwnTask.slot && mapping.address >= kWorkspace.value &&
           mapping.address < kWorkspaceEnd.value;
  };
  for (size_t i = 0; IsOk(status) && i < ledger_.mappings.entries().size();) {
    if (is_open(ledger_.mappings.entries()[i])) {
      status = Unmap(i);
    } else {
      ++i;
    }
  }
  return status;
}

Status Objects::AdoptSpace(uint32_t space) {
  uint32_t near = space;
  for (uint32_t index = 0;; ++index) {
    const auto reply = kernel_.InspectObject(abi::Handle{space}, {.index = index});
    if (!reply.has_value()) return reply.error();
    if (reply->bytes == 0) return Status::kOk;
    index = static_cast<uint32_t>(reply->type >> kIndexShift);
    if (reply->memory == 0) {
      const PhysAddr base{reply->address};
      if (ledger_.table_pages.Add({.space = space, .base = base, .bytes = reply->bytes}) ==
          nullptr) {
        return Status::kResourceExhausted;
      }
      const Status status = pages_.Reserve(base, reply->bytes);
      if (!IsOk(status)) return status;
      continue;
    }
    const Result<uint32_t> memory = MemorySlot(reply->memory, near);
    if (!memory.has_value()) return memory.error();
    near = *memory;
    // A VM's mappings are those in its spaces, and those of its memory in others'.
    const Owner space_owner = ledger_.objects[space].owner;
    if (ledger_.mappings.Add(
            {.memory = *memory,
             .space = space,
             .owner = space_owner != kMachine ? space_owner : ledger_.objects[*memory].owner,
             .address = reply->address,
             .bytes = reply->bytes,
             .offset = reply->offset}) == nullptr) {
      return Status::kResourceExhausted;
    }
  }
}

// What is mapped one after the other lies in slots near each other.
Result<uint32_t> Objects::MemorySlot(uint64_t backing, uint32_t near) const {
  for (uint32_t i = 0; i < kHandleSlots; ++i) {
    const uint32_t slot = (near + i) % kHandleSlots;
    const Ledger::Object& object = ledger_.objects[slot];
    if (object.type == ObjectType::kMemory && object.backing.value == backing) return slot;
  }
  return std::unexpected(Status::kNotFound);  // an object that the plan does not name
}

bool Objects::AdoptGrant(Owner owner, uint32_t object, uint32_t task, uint32_t slot) {
  if (!Exists(object) || !Exists(task)) return true;
  for (const Ledger::Grant& grant : ledger_.grants.entries()) {
    if (grant.task == task && grant.slot == slot) return true;
  }
  return ledger_.grants.Add({.owner = owner, .task = task, .slot = slot}) != nullptr;
}

uint64_t Objects::MappedBytes(uint32_t memory, uint32_t space, uint64_t address) const {
  for (const Ledger::Mapping& mapping : ledger_.mappings.entries()) {
    if (mapping.memory == memory && mapping.space == space && mapping.address == address) {
      return mapping.bytes;
    }
  }
  return 0;
}

Status Objects::Discard(uint32_t memory) {
  for (size_t i = 0; i < ledger_.mappings.entries().size();) {
    if (ledger_.mappings.entries()[i].memory != memory) {
      ++i;
    } else if (const Status status = Unmap(i); !IsOk(status)) {
      return status;
    }
  }
  return ledger_.objects[memory].type == ObjectType::kNone ? Status::kOk : Destroy(memory);
}

}  // namespace atoll
