#include <algorithm>

#include "kernel/machine/machine.h"

namespace atoll {
namespace {

// Takes `hole` out, widened to whole pages.
bool Subtract(FreeMemory& memory, PhysRange hole) {
  if (hole.bytes == 0) return true;
  const PhysAddr first(AlignDown(hole.base.value, kPageSize));
  const PhysAddr end(AlignUp(hole.end().value, kPageSize));
  FreeMemory rest;
  for (const PhysRange& range : memory) {
    const PhysAddr left_end = std::min(range.end(), first);
    const PhysAddr right_base = std::max(range.base, end);
    if (left_end > range.base && !rest.PushBack({range.base, left_end - range.base})) return false;
    if (right_base < range.end() && !rest.PushBack({right_base, range.end() - right_base}))
      return false;
  }
  memory = rest;
  return true;
}

bool AllMemory(const Machine& machine, FreeMemory& result) {
  result = {};
  for (const PhysRange& range : machine.memory) {
    if (!result.PushBack(range)) return false;
  }
  return true;
}

}  // namespace

bool MappableMemory(const Machine& machine, FreeMemory& result) {
  if (!AllMemory(machine, result)) return false;
  for (const ReservedRange& reserved : machine.reserved) {
    if (reserved.no_map && !Subtract(result, reserved.range)) return false;
  }
  return true;
}

bool UnusedMemory(const Machine& machine, std::span<const PhysRange> taken, FreeMemory& result) {
  if (!AllMemory(machine, result)) return false;
  for (const ReservedRange& reserved : machine.reserved) {
    if (!Subtract(result, reserved.range)) return false;
  }
  for (const PhysRange& range : taken) {
    if (!Subtract(result, range)) return false;
  }
  return true;
}

}  // namespace atoll
