// The device tree that a VM finds in x0: the machine as its VmmConfig describes it.
#ifndef ATOLL_SERVICES_VMM_DEVICE_TREE_H_
#define ATOLL_SERVICES_VMM_DEVICE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/address.h"
#include "proto/vmm_config.atoll.h"
#include "services/vmm/error_text.h"

namespace atoll {

// [initrd, initrd + config.initrd_bytes) is named in /chosen if there is one. `buffer` is 8-byte
// aligned and holds the tree from its start; unused room stays as it is. Returns why it failed, if
// it did.
std::optional<ErrorText> BuildDeviceTree(const VmmConfig& config, GuestPhys initrd,
                                         std::span<std::byte> buffer);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_DEVICE_TREE_H_
