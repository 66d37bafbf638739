#include "services/supervisor/resources.h"

#include <span>

namespace atoll {

Checked<void> Resources::Read(KernelCalls& kernel, PageAllocator& pages) {
  count_ = 0;
  while (true) {
    const auto reply = kernel.GetResource({.index = static_cast<uint32_t>(count_)});
    if (!reply.has_value()) {
      return std::unexpected(LogLine("machine resource ")
                                 .Decimal(count_)
                                 .Append(": ")
                                 .Append(StatusName(reply.error())));
    }
    if (reply->kind == ResourceKind::kNone) break;
    if (count_ == kMaxEntries) {
      return std::unexpected(LogLine("machine resources: more than ").Decimal(kMaxEntries));
    }
    entries_[count_++] = *reply;
  }

  for (const GetResourceReply& entry : std::span(entries_).first(count_)) {
    if (entry.kind != ResourceKind::kRam) continue;
    const uint64_t base = AlignUp(entry.base, kPageSize);
    const uint64_t end = AlignDown(entry.base + entry.bytes, kPageSize);
    if (base >= end) continue;  // less than a page
    if (const Status status = pages.Free(PhysAddr{base}, end - base); !IsOk(status)) {
      return std::unexpected(
          LogLine("RAM at ").Hex(entry.base).Append(": ").Append(StatusName(status)));
    }
  }
  const GetResourceReply* archive = Find(ResourceKind::kArchive);
  if (archive == nullptr) {
    return std::unexpected(LogLine("boot archive: there is none; give it as initrd"));
  }
  if (archive->base % kPageSize != 0) {
    return std::unexpected(
        LogLine("boot archive: its base ").Hex(archive->base).Append(" is not page aligned"));
  }
  if (const Status status = pages.Reserve(PhysAddr{archive->base}, archive->bytes); !IsOk(status)) {
    return std::unexpected(LogLine("boot archive: ").Append(StatusName(status)));
  }
  return {};
}

const GetResourceReply* Resources::Find(ResourceKind kind) const {
  for (const GetResourceReply& entry : std::span(entries_).first(count_)) {
    if (entry.kind == kind) return &entry;
  }
  return nullptr;
}

}  // namespace atoll
