// Bits [63:48] of a caller's tokens: each task and vCPU has an id of its own while it lives.
//
// Ids are lent in turn, so one that was given back comes again after all others. By then no server keeps a token of its
// last owner: the reply to a caller that is gone is CANCELLED.
#ifndef ATOLL_KERNEL_CALLER_IDS_H_
#define ATOLL_KERNEL_CALLER_IDS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace atoll {

class CallerIds {
 public:
  static constexpr size_t kIds = 1 << 16;

  // There are fewer tasks and vCPUs than ids (kMaxTasks, kMaxVms). 0 is nobody's: a token is never 0.
  uint16_t Take() {
    do {
      ++last_;
    } while (last_ == 0 || (Word(last_) & Bit(last_)) != 0);
    Word(last_) |= Bit(last_);
    return last_;
  }
  void Give(uint16_t id) { Word(id) &= ~Bit(id); }

 private:
  uint64_t& Word(uint16_t id) { return lent_[id / 64]; }
  static constexpr uint64_t Bit(uint16_t id) { return uint64_t{1} << (id % 64); }

  std::array<uint64_t, kIds / 64> lent_ = {};
  uint16_t last_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_CALLER_IDS_H_
