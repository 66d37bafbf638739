// Random bytes of a virtio entropy device: all that was asked for comes, nothing beyond it, and nothing twice.
#ifndef ATOLL_GUESTS_ORACLE_RNG_H_
#define ATOLL_GUESTS_ORACLE_RNG_H_

#include "guests/oracle/events.h"
#include "guests/oracle/random.h"
#include "guests/oracle/report.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

class RngOracle final : public Device {
 public:
  static constexpr uint32_t kBuffers = 8;
  static constexpr uint32_t kWords = 32;  // of 8 bytes, of a buffer at most

  explicit constexpr RngOracle(uint64_t seed) : random_(seed) {}

  // False: there is no such device, or it does not start.
  bool Start(uint32_t slot);
  // Fills so many buffers, together.
  void Round(uint32_t buffers);
  void Finish();
  void OnInterrupt() override;
  void Took(uint64_t began) { report_.Took(began); }

 private:
  static constexpr uint32_t kRemembered = 4096;

  void Check(uint32_t buffer, uint32_t length);

  Report report_{"rng"};
  Random random_;
  Transport transport_{0};
  uint32_t wanted_[kBuffers] = {};  // words; 0: not under way
  uint32_t busy_ = 0;
  uint64_t seen_[kRemembered] = {};  // words, each where its remainder says
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_RNG_H_
