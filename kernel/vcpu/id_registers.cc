#include "kernel/vcpu/id_registers.h"

#include <algorithm>

#include "kernel/vcpu/id_register_rules.h"

namespace atoll {
namespace {

const FieldRule* FindRule(IdRegister which, unsigned shift) {
  const auto* rule = std::ranges::find_if(
      kRules, [&](const FieldRule& r) { return r.which == which && r.shift == shift; });
  return rule == std::end(kRules) ? nullptr : rule;
}

}  // namespace

Status IdRegisters::Set(IdRegister which, uint64_t value) {
  if (!which.IsValid()) return Status::kInvalidArgument;
  if (frozen_) return Status::kFailedPrecondition;
  const uint64_t baseline = baseline_[which.Index()];
  for (unsigned shift = 0; shift < 64; shift += kFieldBits) {
    const uint64_t wanted = (value >> shift) & kFieldMask;
    if (wanted == ((baseline >> shift) & kFieldMask)) continue;
    const FieldRule* rule = FindRule(which, shift);
    if (rule == nullptr || wanted != rule->absent) return Status::kInvalidArgument;
  }
  values_[which.Index()] = value;
  return Status::kOk;
}

}  // namespace atoll
