// Makes a VM ready to run: kernel, initrd and device tree in its RAM.
#ifndef ATOLL_SERVICES_VMM_LOADER_H_
#define ATOLL_SERVICES_VMM_LOADER_H_

#include <cstddef>
#include <expected>
#include <optional>
#include <span>

#include "ipc/address.h"
#include "proto/vmm_config.atoll.h"
#include "services/runtime/guest_memory.h"
#include "services/vmm/error_text.h"
#include "services/vmm/power_states.h"
#include "services/vmm/vm_control.h"

namespace atoll {

// How vCPU 0 starts: pc = entry, x0 = device_tree.
struct GuestEntry {
  GuestPhys entry;
  GuestPhys device_tree;
};

// `ram` is the RAM that the checked config describes; kernel and initrd are the files. Does the
// same again when repeated. RAM that is not named here stays as it is.
std::expected<GuestEntry, ErrorText> LoadGuest(const VmmConfig& config,
                                               std::span<const std::byte> kernel,
                                               std::span<const std::byte> initrd,
                                               const GuestMemory& ram);

// A VM that has never run: hides features, loads, starts vCPU 0. Any other runs already, and this
// instance of vmm takes over from one that died: nothing is done but to look whether the VM is as
// its guest wants it (PowerStates::Compare). Until the very last step the VM counts as never run, so
// an instance that dies on the way is followed by one that does it all again. Returns why the VM
// cannot run, if so.
std::optional<ErrorText> StartGuest(const VmmConfig& config, std::span<const std::byte> kernel,
                                    std::span<const std::byte> initrd, const GuestMemory& ram,
                                    VmControl& vm, PowerStates& powers);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_LOADER_H_
