// Numbers and layouts of the VIRTIO specification, version 1.2, with its own spelling. Values in
// guest memory are little-endian, as is everything that Atoll runs on.
#ifndef ATOLL_SERVICES_VIRTIO_SPECIFICATION_H_
#define ATOLL_SERVICES_VIRTIO_SPECIFICATION_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace atoll::virtio {

static_assert(std::endian::native == std::endian::little);

// 4.2.2 MMIO device register layout: offsets.
enum Register : uint32_t {
  kMagicValue = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSel = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSel = 0x024,
  kQueueSel = 0x030,
  kQueueNumMax = 0x034,
  kQueueNum = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmSel = 0x0ac,
  kShmLenLow = 0x0b0,
  kShmLenHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kQueueReset = 0x0c0,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,  // device-specific configuration space, to the end of the slot
};

inline constexpr uint32_t kMagic = 0x74726976;  // "virt"
inline constexpr uint32_t kMmioVersion = 2;
inline constexpr uint32_t kVendor = 0x4c4f5441;  // "ATOL"

// 2.1 Device status field.
inline constexpr uint32_t kStatusAcknowledge = 1;
inline constexpr uint32_t kStatusDriver = 2;
inline constexpr uint32_t kStatusDriverOk = 4;
inline constexpr uint32_t kStatusFeaturesOk = 8;
inline constexpr uint32_t kStatusNeedsReset = 64;
inline constexpr uint32_t kStatusFailed = 128;
inline constexpr uint32_t kDriverStatusBits =  // those that a driver sets
    kStatusAcknowledge | kStatusDriver | kStatusDriverOk | kStatusFeaturesOk | kStatusFailed;

// 4.2.2 InterruptStatus.
inline constexpr uint32_t kInterruptUsedBuffer = 1;
inline constexpr uint32_t kInterruptConfig = 2;

// 6 Reserved feature bits.
inline constexpr uint64_t kFeatureIndirectDesc = uint64_t{1} << 28;
inline constexpr uint64_t kFeatureEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;

// 2.7.5 The virtqueue descriptor table.
struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);
inline constexpr uint16_t kDescriptorNext = 1;
inline constexpr uint16_t kDescriptorWrite = 2;
inline constexpr uint16_t kDescriptorIndirect = 4;

// 2.7.8 The virtqueue used ring.
struct UsedElement {
  uint32_t id;      // head of the chain
  uint32_t length;  // bytes written, from the first writable byte on
};
static_assert(sizeof(UsedElement) == 8);

// 2.7 Split virtqueues: alignment and bytes of the three areas of a queue of `size` entries; both
// rings with the event word at their end, which is there whether or not EVENT_IDX is negotiated.
inline constexpr uint64_t kDescriptorAlignment = 16;
inline constexpr uint64_t kAvailAlignment = 2;
inline constexpr uint64_t kUsedAlignment = 4;
constexpr uint64_t DescriptorBytes(uint64_t size) { return sizeof(Descriptor) * size; }
constexpr uint64_t AvailBytes(uint64_t size) { return 6 + 2 * size; }
constexpr uint64_t UsedBytes(uint64_t size) { return 6 + sizeof(UsedElement) * size; }

// 2.7.6, 2.7.8: both rings begin with le16 flags and le16 idx; the entries follow.
inline constexpr size_t kRingFlags = 0;
inline constexpr size_t kRingIndex = 2;
inline constexpr size_t kRingEntries = 4;
inline constexpr uint16_t kAvailNoInterrupt = 1;
inline constexpr uint16_t kUsedNoNotify = 1;

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_SPECIFICATION_H_
