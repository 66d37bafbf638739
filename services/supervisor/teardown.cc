#include "services/supervisor/teardown.h"

#include <array>

namespace atoll {
namespace {

constexpr std::array kOrder = {ObjectType::kIrqLine, ObjectType::kVcpu,     ObjectType::kVm,
                               ObjectType::kIrq,     ObjectType::kEndpoint, ObjectType::kSignal,
                               ObjectType::kTask,    ObjectType::kMemory};

Checked<void> Check(Status status, std::string_view what, uint32_t slot) {
  if (IsOk(status)) return {};
  return std::unexpected(
      LogLine(what).Append(" of slot ").Decimal(slot).Append(": ").Append(StatusName(status)));
}

}  // namespace

Checked<bool> Teardown::Step(Objects& objects) {
  Checked<void> done;
  switch (stage_) {
    case Stage::kGrants: done = RevokeNext(objects); break;
    case Stage::kMappings: done = UnmapNext(objects); break;
    case Stage::kObjects: done = DestroyNext(objects); break;
    case Stage::kDone: break;
  }
  if (!done) return std::unexpected(done.error());
  return stage_ == Stage::kDone;
}

void Teardown::NextStage() {
  stage_ = static_cast<Stage>(static_cast<uint8_t>(stage_) + 1);
  position_ = 0;
}

Checked<void> Teardown::RevokeNext(Objects& objects) {
  const auto grants = objects.ledger().grants.entries();
  while (position_ < grants.size() && grants[position_].owner != vm_) ++position_;
  if (position_ == grants.size()) {
    NextStage();
    return {};
  }
  const uint32_t task = grants[position_].task;
  return Check(objects.Revoke(position_), "handle", task);
}

Checked<void> Teardown::UnmapNext(Objects& objects) {
  const auto mappings = objects.ledger().mappings.entries();
  while (position_ < mappings.size() && mappings[position_].owner != vm_) ++position_;
  if (position_ == mappings.size()) {
    NextStage();
    return {};
  }
  const uint32_t memory = mappings[position_].memory;
  return Check(objects.Unmap(position_), "mapping", memory);
}

Checked<void> Teardown::DestroyNext(Objects& objects) {
  const auto& all = objects.ledger().objects;
  const auto is_next = [&](const Ledger::Object& object) {
    return object.type == kOrder[type_] && object.owner == vm_;
  };
  while (position_ < all.size() && !is_next(all[position_])) ++position_;
  if (position_ < all.size()) {
    const auto slot = static_cast<uint32_t>(position_);
    return Check(objects.Destroy(slot), "object", slot);
  }
  position_ = 0;
  if (++type_ == kOrder.size()) NextStage();
  return {};
}

}  // namespace atoll
