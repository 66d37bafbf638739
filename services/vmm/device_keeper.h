// Keeps a few words for each service of the VM that asks (proto/keeper.proto). What they mean, and whether they are whole,
// is for whoever kept them to know.
#ifndef ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_
#define ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_

#include <array>
#include <cstdint>

#include "proto/keeper.atoll.h"
#include "services/runtime/journal.h"

namespace atoll {

// In the journal, all zero at first.
struct KeptDevices {
  static constexpr uint32_t kParts = 24;
  struct Device {
    uint64_t owner;  // KeyOf; 0: free
    std::array<std::array<uint64_t, 4>, kParts> parts;
  };
  std::array<Device, 32> devices;  // as many as a VM has virtio slots
};

class DeviceKeeper final : public KeeperServer {
 public:
  explicit DeviceKeeper(KeptDevices& kept) : kept_(kept) {}

  Status Keep(const CallInfo& call, const KeepRequest& request) override {
    KeptDevices::Device* device = Find(KeyOf(call, request.kind));
    if (device == nullptr) device = Find(0);
    if (device == nullptr) return Status::kResourceExhausted;
    auto& part = device->parts[request.part % KeptDevices::kParts];
    part = {request.word0, request.word1, request.word2, request.word3};
    StoreRelease(device->owner, KeyOf(call, request.kind));
    return Status::kOk;
  }

  Result<RecallReply> Recall(const CallInfo& call, const RecallRequest& request) override {
    const KeptDevices::Device* const device = Find(KeyOf(call, request.kind));
    if (device == nullptr) return RecallReply{};
    const auto& part = device->parts[request.part % KeptDevices::kParts];
    return RecallReply{.word0 = part[0], .word1 = part[1], .word2 = part[2], .word3 = part[3]};
  }

 private:
  static uint64_t KeyOf(const CallInfo& call, uint32_t kind) {
    return uint64_t{1} << 63 | uint64_t{kind} << 24 | (call.badge & 0xff'ffff);
  }
  KeptDevices::Device* Find(uint64_t owner) {
    for (KeptDevices::Device& device : kept_.devices) {
      if (device.owner == owner) return &device;
    }
    return nullptr;
  }

  KeptDevices& kept_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_DEVICE_KEEPER_H_
