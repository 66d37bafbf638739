// Numbers and layouts of block devices, VIRTIO 1.2 section 5.2.
#ifndef ATOLL_SERVICES_VIRTIO_BLK_SPECIFICATION_H_
#define ATOLL_SERVICES_VIRTIO_BLK_SPECIFICATION_H_

#include <cstddef>
#include <cstdint>

namespace atoll::virtio_blk {

inline constexpr uint32_t kDeviceId = 2;
inline constexpr uint64_t kSectorBytes = 512;

// 5.2.3 Feature bits.
inline constexpr uint64_t kFeatureSegMax = uint64_t{1} << 2;
inline constexpr uint64_t kFeatureRo = uint64_t{1} << 5;
inline constexpr uint64_t kFeatureBlkSize = uint64_t{1} << 6;
inline constexpr uint64_t kFeatureFlush = uint64_t{1} << 9;
inline constexpr uint64_t kFeatureMq = uint64_t{1} << 12;
inline constexpr uint64_t kFeatureDiscard = uint64_t{1} << 13;
inline constexpr uint64_t kFeatureWriteZeroes = uint64_t{1} << 14;

// 5.2.4 Device configuration layout.
struct Config {
  uint64_t capacity = 0;  // sectors
  uint32_t size_max = 0;
  uint32_t seg_max = 0;
  uint16_t geometry_cylinders = 0;
  uint8_t geometry_heads = 0;
  uint8_t geometry_sectors = 0;
  uint32_t blk_size = 0;
  uint8_t physical_block_exp = 0;
  uint8_t alignment_offset = 0;
  uint16_t min_io_size = 0;
  uint32_t opt_io_size = 0;
  uint8_t writeback = 0;
  uint8_t unused0 = 0;
  uint16_t num_queues = 0;
  uint32_t max_discard_sectors = 0;
  uint32_t max_discard_seg = 0;
  uint32_t discard_sector_alignment = 0;
  uint32_t max_write_zeroes_sectors = 0;
  uint32_t max_write_zeroes_seg = 0;
  uint8_t write_zeroes_may_unmap = 0;
  uint8_t unused1[3] = {};
  uint32_t max_secure_erase_sectors = 0;
  uint32_t max_secure_erase_seg = 0;
  uint32_t secure_erase_sector_alignment = 0;
};
static_assert(sizeof(Config) == 72);
static_assert(offsetof(Config, seg_max) == 12 && offsetof(Config, blk_size) == 20 &&
              offsetof(Config, writeback) == 32 && offsetof(Config, num_queues) == 34 &&
              offsetof(Config, max_discard_sectors) == 36 &&
              offsetof(Config, max_write_zeroes_sectors) == 48 &&
              offsetof(Config, max_secure_erase_sectors) == 60);

// 5.2.6 Device operation.
enum RequestType : uint32_t {
  kIn = 0,
  kOut = 1,
  kFlush = 4,
  kGetId = 8,
  kGetLifetime = 10,
  kDiscard = 11,
  kWriteZeroes = 13,
  kSecureErase = 14,
};

struct RequestHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(RequestHeader) == 16);

struct DiscardWriteZeroes {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};
static_assert(sizeof(DiscardWriteZeroes) == 16);
inline constexpr uint32_t kFlagUnmap = 1;

enum RequestStatus : uint8_t {
  kStatusOk = 0,
  kStatusIoErr = 1,
  kStatusUnsupp = 2,
};

inline constexpr size_t kIdBytes = 20;

}  // namespace atoll::virtio_blk

#endif  // ATOLL_SERVICES_VIRTIO_BLK_SPECIFICATION_H_
