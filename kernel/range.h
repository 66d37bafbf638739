// Which guest physical addresses of a VM are devices, and who answers for them.
#ifndef ATOLL_KERNEL_RANGE_H_
#define ATOLL_KERNEL_RANGE_H_

#include <array>
#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"
#include "kernel/endpoint.h"

namespace atoll {

// One bound range. A store to the doorbell inside it sets a signal and the vCPU goes on, with no call.
struct Range {
  static constexpr uint64_t kNoDoorbell = ~uint64_t{0};

  uint64_t base = 0;  // guest physical
  uint64_t size = 0;
  Endpoint* endpoint = nullptr;
  uint64_t badge = 0;
  uint64_t doorbell = kNoDoorbell;  // offset of the register
  Signal* signal = nullptr;
  uint32_t first_bit = 0;
  uint32_t bits = 0;
  bool patient =
      false;  // the signal's owner works when the vCPU waits, at the latest when its turn ends
};

// Holds no address: what a vCPU's last range is before its first access.
inline constinit Range no_range;

class RangeTable {
 public:
  static constexpr size_t kCapacity = 64;

  // The range that holds `address`, or null.
  Range* Find(GuestPhys address) {
    size_t low = 0, high = count_;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      Range& range = ranges_[middle];
      if (address.value < range.base) {
        high = middle;
      } else if (address.value - range.base >= range.size) {
        low = middle + 1;
      } else {
        return &range;
      }
    }
    return nullptr;
  }

  // Keeps the table sorted. Only while no vCPU of the VM runs: vCPUs remember pointers into it.
  Status Insert(const Range& range) {
    if (count_ == kCapacity) return Status::kResourceExhausted;
    size_t at = 0;
    while (at < count_ && ranges_[at].base < range.base) ++at;
    if (at > 0 && ranges_[at - 1].base + ranges_[at - 1].size > range.base) {
      return Status::kAlreadyExists;
    }
    if (at < count_ && range.base + range.size > ranges_[at].base) return Status::kAlreadyExists;
    for (size_t i = count_; i > at; --i) ranges_[i] = ranges_[i - 1];
    ranges_[at] = range;
    ++count_;
    return Status::kOk;
  }

  size_t size() const { return count_; }
  Range& operator[](size_t i) { return ranges_[i]; }

 private:
  size_t count_ = 0;
  std::array<Range, kCapacity> ranges_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_RANGE_H_
