// Keeps a few words for each service of the VM that asks (proto/keeper.proto). What they mean, and whether they are whole,
// is for whoever kept them to know.
//
// Each caller has a place of its own, which its badge names and which it cannot choose: whatever it says, it reaches nobody
// else's words and uses up nobody else's room.
#ifndef ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_
#define ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_

#include <array>
#include <cstdint>

#include "proto/keeper.atoll.h"

namespace atoll {

// In the journal, all zero at first.
struct KeptDevices {
  static constexpr uint32_t kParts = 24;
  using Device = std::array<std::array<uint64_t, 4>, kParts>;
  std::array<Device, 32> devices;  // as many as a VM has virtio slots
};

class DeviceKeeper final : public KeeperServer {
 public:
  // SERVICE_BADGE of scripts/planner.py: of the first caller; the next one has the next.
  static constexpr uint64_t kFirstBadge = 1 << 16;

  explicit DeviceKeeper(KeptDevices& kept) : kept_(kept) {}

  // A death among these stores is followed by the same call.
  Status Keep(const CallInfo& call, const KeepRequest& request) override {
    KeptDevices::Device* const device = PlaceOf(call);
    if (device == nullptr) return Status::kResourceExhausted;
    (*device)[request.part % KeptDevices::kParts] = {request.word0, request.word1, request.word2,
                                                     request.word3};
    return Status::kOk;
  }

  Result<RecallReply> Recall(const CallInfo& call, const RecallRequest& request) override {
    const KeptDevices::Device* const device = PlaceOf(call);
    if (device == nullptr) return RecallReply{};
    const auto& part = (*device)[request.part % KeptDevices::kParts];
    return RecallReply{.word0 = part[0], .word1 = part[1], .word2 = part[2], .word3 = part[3]};
  }

 private:
  // Null: there is none.
  KeptDevices::Device* PlaceOf(const CallInfo& call) {
    const uint64_t place = call.badge - kFirstBadge;
    return place < kept_.devices.size() ? &kept_.devices[place] : nullptr;
  }

  KeptDevices& kept_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_
