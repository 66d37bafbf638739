// Numbers and layouts of network devices, VIRTIO 1.2 section 5.1.
#ifndef ATOLL_SERVICES_VIRTIO_NET_SPECIFICATION_H_
#define ATOLL_SERVICES_VIRTIO_NET_SPECIFICATION_H_

#include <cstddef>
#include <cstdint>

namespace atoll::virtio_net {

inline constexpr uint32_t kDeviceId = 1;

// 5.1.3 Feature bits.
constexpr uint64_t Feature(unsigned bit) { return uint64_t{1} << bit; }
inline constexpr uint64_t kFeatureCsum = Feature(0);
inline constexpr uint64_t kFeatureGuestCsum = Feature(1);
inline constexpr uint64_t kFeatureCtrlGuestOffloads = Feature(2);
inline constexpr uint64_t kFeatureMtu = Feature(3);
inline constexpr uint64_t kFeatureMac = Feature(5);
inline constexpr uint64_t kFeatureGuestTso4 = Feature(7);
inline constexpr uint64_t kFeatureGuestTso6 = Feature(8);
inline constexpr uint64_t kFeatureGuestEcn = Feature(9);
inline constexpr uint64_t kFeatureHostTso4 = Feature(11);
inline constexpr uint64_t kFeatureHostTso6 = Feature(12);
inline constexpr uint64_t kFeatureHostEcn = Feature(13);
inline constexpr uint64_t kFeatureMrgRxbuf = Feature(15);
inline constexpr uint64_t kFeatureStatus = Feature(16);
inline constexpr uint64_t kFeatureCtrlVq = Feature(17);
inline constexpr uint64_t kFeatureCtrlRx = Feature(18);
inline constexpr uint64_t kFeatureCtrlVlan = Feature(19);
inline constexpr uint64_t kFeatureCtrlRxExtra = Feature(20);
inline constexpr uint64_t kFeatureMq = Feature(22);
inline constexpr uint64_t kFeatureCtrlMacAddr = Feature(23);

inline constexpr size_t kMacBytes = 6;

// 5.1.4 Device configuration layout.
struct Config {
  uint8_t mac[kMacBytes] = {};
  uint16_t status = 0;
  uint16_t max_virtqueue_pairs = 0;
  uint16_t mtu = 0;
};
static_assert(sizeof(Config) == 12);
static_assert(offsetof(Config, status) == 6 && offsetof(Config, max_virtqueue_pairs) == 8 &&
              offsetof(Config, mtu) == 10);
inline constexpr uint16_t kStatusLinkUp = 1;

// 5.1.6 Device operation: what stands before each packet.
struct NetHeader {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t hdr_len = 0;
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;
  uint16_t num_buffers = 0;
};
static_assert(sizeof(NetHeader) == 12);

// 5.1.6.5 Control virtqueue: classes, their commands, and the answers.
enum ControlClass : uint8_t {
  kControlRx = 0,
  kControlMac = 1,
  kControlVlan = 2,
  kControlMq = 4,
  kControlGuestOffloads = 5,
};
enum RxCommand : uint8_t {
  kRxPromisc = 0,
  kRxAllMulti = 1,
  kRxAllUni = 2,
  kRxNoMulti = 3,
  kRxNoUni = 4,
  kRxNoBcast = 5,
};
enum MacCommand : uint8_t { kMacTableSet = 0, kMacAddrSet = 1 };
enum VlanCommand : uint8_t { kVlanAdd = 0, kVlanDel = 1 };
enum MqCommand : uint8_t { kMqPairsSet = 0 };
enum GuestOffloadsCommand : uint8_t { kGuestOffloadsSet = 0 };
enum ControlAck : uint8_t { kAckOk = 0, kAckErr = 1 };

struct ControlHeader {
  uint8_t control_class;
  uint8_t command;
};
static_assert(sizeof(ControlHeader) == 2);

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_SPECIFICATION_H_
