// Where kernel, device tree and initrd lie in a VM's RAM when it starts.
#ifndef ATOLL_SERVICES_VMM_GUEST_LAYOUT_H_
#define ATOLL_SERVICES_VMM_GUEST_LAYOUT_H_

#include <cstdint>
#include <expected>

#include "ipc/address.h"
#include "services/vmm/error_text.h"
#include "services/vmm/kernel_image.h"

namespace atoll {

// Room for the device tree. A power of two to which its address is aligned, so that it never
// crosses the 2 MiB boundary that kernels before 4.2 stumble over; far below the protocol's limit
// of 2 MiB.
inline constexpr uint64_t kDeviceTreeBytes = 64 * 1024;

struct GuestLayout {
  GuestPhys kernel;  // its entry point
  GuestPhys device_tree;
  GuestPhys initrd;  // page aligned; meaningless without an initrd
};

// RAM is [ram_base, ram_base + ram_bytes), below 2^40. The error says which of the three does not
// fit.
std::expected<GuestLayout, ErrorText> PlaceGuest(const KernelImage& kernel, uint64_t initrd_bytes,
                                                 GuestPhys ram_base, uint64_t ram_bytes);

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_GUEST_LAYOUT_H_
