#include "kernel/memory/frame_table.h"

#include <cstring>

namespace atoll {
namespace {

// Eight pages per comparison: a guest's memory is hundreds of thousands of pages.
bool AllAre(std::span<const FrameState> states, FrameState expected) {
  uint64_t pattern = 0;
  std::memset(&pattern, static_cast<int>(expected), sizeof(pattern));
  size_t i = 0;
  for (; i + sizeof(pattern) <= states.size(); i += sizeof(pattern)) {
    uint64_t eight = 0;
    std::memcpy(&eight, &states[i], sizeof(eight));
    if (eight != pattern) return false;
  }
  for (; i < states.size(); ++i) {
    if (states[i] != expected) return false;
  }
  return true;
}

}  // namespace

FrameTable::FrameTable(PhysAddr base, std::span<FrameState> states) : base_(base), states_(states) {
  std::memset(states_.data(), static_cast<int>(FrameState::kKernel), states_.size());
}

Status FrameTable::Change(PhysAddr start, uint64_t bytes, FrameState from, FrameState to) {
  if (!start.IsAligned(kPageSize) || bytes % kPageSize != 0 || bytes == 0)
    return Status::kInvalidArgument;
  // A start below the base wraps to a large offset.
  if (!InBounds(start - base_, bytes, states_.size() * kPageSize)) return Status::kOutOfRange;
  const std::span<FrameState> range =
      states_.subspan((start - base_) / kPageSize, bytes / kPageSize);
  if (!AllAre(range, from)) return Status::kFailedPrecondition;
  std::memset(range.data(), static_cast<int>(to), range.size());
  return Status::kOk;
}

std::optional<FrameState> FrameTable::StateOf(PhysAddr address) const {
  const uint64_t offset = address - base_;
  if (offset >= states_.size() * kPageSize) return std::nullopt;
  return states_[offset / kPageSize];
}

bool FrameTable::Overlaps(PhysAddr start, uint64_t bytes) const {
  if (bytes == 0) return false;
  const uint64_t last = start.value + (bytes - 1);
  if (last < start.value) return true;
  return start.value < base_.value + states_.size() * kPageSize && last >= base_.value;
}

}  // namespace atoll
