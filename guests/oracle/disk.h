// Reads and writes of a virtio block device that know what is to be read: each sector says its number and the version
// that was written last. Many requests are under way at a time, and writes may overlap; then either is right.
#ifndef ATOLL_GUESTS_ORACLE_DISK_H_
#define ATOLL_GUESTS_ORACLE_DISK_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

class DiskOracle final : public Device {
 public:
  static constexpr uint32_t kDepthMax = 16;
  static constexpr uint32_t kSpanMax = 8;    // sectors of a request
  static constexpr uint32_t kSectors = 512;  // of the disk that are used
  static constexpr uint32_t kWords = 512 / 8;

  explicit constexpr DiskOracle(uint64_t seed) : random_(seed) {}

  // Writes all of the sectors once. False: there is no such device, or it does not start.
  bool Start(uint32_t slot);
  // So many requests, at most `depth` at a time, of at most `span` sectors.
  void Round(uint32_t requests, uint32_t depth, uint32_t span);
  // A sector at a time: write, read back.
  void WriteAndRead(uint32_t span);
  // Reads all of the sectors.
  void Finish();
  void OnInterrupt() override;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  enum class Kind : uint32_t { kRead = 0, kWrite = 1, kFlush = 4 };  // VIRTIO 1.2, 5.2.6
  struct Sector {
    uint32_t version = 0;
    uint32_t other = 0;  // of a write that was under way at the same time; 0: none
    uint8_t writers = 0;
    uint8_t readers = 0;
    bool is_closed = false;  // two writes were under way: no third until both are done
  };
  struct Request {
    bool is_busy;
    Kind kind;
    uint32_t sector, count;
    uint32_t version;
  };
  struct Header {
    uint32_t type, reserved;
    uint64_t sector;
  };

  bool MayBegin(Kind kind, uint32_t sector, uint32_t count) const;
  void Begin(Kind kind, uint32_t sector, uint32_t count);
  void End(uint32_t slot, uint32_t length);
  void Check(const Request& request, const uint64_t* data);
  void Submit(uint32_t depth, uint32_t span);
  // Until at most `count` requests are under way.
  bool WaitUntilBusy(uint32_t count);
  static void Fill(uint64_t* words, uint32_t sector, uint32_t version);

  Report report_{"disk"};
  Random random_;
  Transport transport_{0};
  uint32_t busy_ = 0;
  uint32_t versions_ = 0;
  bool is_stuck_ = false;
  uint64_t writes_ = 0, reads_ = 0, flushes_ = 0;
  Sector sectors_[kSectors] = {};
  Request requests_[kDepthMax] = {};
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_DISK_H_
