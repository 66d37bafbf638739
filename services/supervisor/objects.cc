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
      exists_.set(slot);
      return status;
    }
    const Status freed = pages_.Free(*base, pages * kPageSize);
    if (!IsOk(freed)) return freed;
    if (status != Status::kResourceExhausted) break;
  }
  return status;
}

Status Objects::CreateRam(uint32_t slot, uint64_t bytes, uint64_t alignment) {
  const Result<PhysAddr> base = pages_.Allocate(bytes, alignment);
  if (!base.has_value()) return base.error();
  Status status = CreateMemory(slot, *base, bytes, MemoryType::kNormal);
  if (!IsOk(status)) {
    const Status freed = pages_.Free(*base, bytes);
    return IsOk(freed) ? status : freed;
  }
  return Clear(slot, 0, bytes);
}

Status Objects::CreateMemory(uint32_t slot, PhysAddr base, uint64_t bytes, MemoryType type) {
  if (!base.IsAligned(kPageSize)) return Status::kInvalidArgument;
  return Create(ObjectType::kMemory, slot, 0, base.value | static_cast<uint64_t>(type), bytes);
}

bool Objects::Exists(uint32_t slot) const {
  return slot == kOwnTask.slot || slot == kOwnSignal.slot ||
         (slot < kHandleSlots && exists_.test(slot));
}

Status Objects::Map(uint32_t memory, uint32_t space, uint64_t offset, uint64_t address,
                    uint64_t bytes, uint32_t rights) {
  bool donated = false;  // since the last progress
  for (uint64_t done = 0; done < bytes;) {
    const Result<MapMemoryReply> reply =
        kernel_.MapMemory(abi::Handle{memory}, {.space = space,
                                                .offset = offset + done,
                                                .address = address + done,
                                                .bytes = bytes - done,
                                                .rights = rights});
    Status status = CheckProgress(reply, bytes - done);
    if (status == Status::kResourceExhausted && !donated) {
      status = DonateTables(space, TablePages(bytes - done));
      if (!IsOk(status)) return status;
      donated = true;
      continue;
    }
    if (!IsOk(status)) return status;
    done += reply->bytes;
    donated = false;
  }
  return Status::kOk;
}

Status Objects::Clear(uint32_t memory, uint64_t offset, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const Result<MapMemoryReply> reply =
        kernel_.ClearMemory(abi::Handle{memory}, {.offset = offset + done, .bytes = bytes - done});
    const Status status = CheckProgress(reply, bytes - done);
    if (!IsOk(status)) return status;
    done += reply->bytes;
  }
  return Status::kOk;
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
  const uint64_t bytes = open_bytes_;
  open_bytes_ = 0;
  return Unmap(kOwnTask.slot, kWorkspace.value, bytes);
}

Status Objects::DonateTables(uint32_t space, uint64_t pages) {
  const Result<PhysAddr> base = pages_.Allocate(pages * kPageSize);
  if (!base.has_value()) return base.error();
  return kernel_.DonateTables(abi::Handle{space}, {.backing = Backing(*base, pages)});
}

Status Objects::Unmap(uint32_t space, uint64_t address, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    const Result<MapMemoryReply> reply =
        kernel_.UnmapMemory(abi::Handle{space}, {.address = address + done, .bytes = bytes - done});
    const Status status = CheckProgress(reply, bytes - done);
    if (!IsOk(status)) return status;
    done += reply->bytes;
  }
  return Status::kOk;
}

}  // namespace atoll
