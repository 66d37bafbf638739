// What the feature bits say about checksums and segmentation: what the driver may ask for, and
// what it takes.
#ifndef ATOLL_SERVICES_VIRTIO_NET_OFFLOADS_H_
#define ATOLL_SERVICES_VIRTIO_NET_OFFLOADS_H_

#include <cstdint>

#include "services/net/frame_ring.h"
#include "services/virtio-net/specification.h"
#include "services/virtio-net/state.h"

namespace atoll::virtio_net {

// Features that GUEST_OFFLOADS_SET may switch off and on.
inline constexpr uint64_t kGuestOffloads =
    kFeatureGuestCsum | kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn;

// 5.1.3.1 Feature bit requirements.
constexpr bool OffloadsAcceptable(uint64_t features) {
  const auto has = [features](uint64_t any) { return (features & any) != 0; };
  constexpr uint64_t kGuestTso = kFeatureGuestTso4 | kFeatureGuestTso6;
  constexpr uint64_t kHostTso = kFeatureHostTso4 | kFeatureHostTso6;
  return (has(kFeatureGuestCsum) || !has(kGuestTso)) &&
         (has(kGuestTso) || !has(kFeatureGuestEcn)) && (has(kFeatureCsum) || !has(kHostTso)) &&
         (has(kHostTso) || !has(kFeatureHostEcn));
}

// Those of kGuestOffloads that are on now; one whose prerequisite is off is off.
constexpr uint64_t GuestOffloadsNow(uint64_t features, uint64_t chosen) {
  uint64_t on = features & kGuestOffloads;
  if ((chosen & DriverSettings::kSet) != 0) on &= chosen;
  return (on & kFeatureGuestCsum) != 0 ? on : 0;
}

// Whether `type` is among `tso4`, `tso6`, `ecn` of `features`. NONE is not.
constexpr bool GsoAllowed(uint8_t type, uint64_t features, uint64_t tso4, uint64_t tso6,
                          uint64_t ecn) {
  using net::FrameHeader;
  if ((type & FrameHeader::kGsoEcn) != 0 && (features & ecn) == 0) return false;
  switch (type & ~FrameHeader::kGsoEcn) {
    case FrameHeader::kGsoTcp4: return (features & tso4) != 0;
    case FrameHeader::kGsoTcp6: return (features & tso6) != 0;
    default: return false;
  }
}

// A driver may send frames of this type; a driver takes them whole.
constexpr bool HostGsoAllowed(uint8_t type, uint64_t features) {
  return GsoAllowed(type, features, kFeatureHostTso4, kFeatureHostTso6, kFeatureHostEcn);
}
constexpr bool GuestTakesGso(uint8_t type, uint64_t offloads) {
  return GsoAllowed(type, offloads, kFeatureGuestTso4, kFeatureGuestTso6, kFeatureGuestEcn);
}

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_OFFLOADS_H_
