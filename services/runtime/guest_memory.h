// A VM's RAM as a service sees it: mapped once at start, addressed by guest physical address.
#ifndef ATOLL_SERVICES_RUNTIME_GUEST_MEMORY_H_
#define ATOLL_SERVICES_RUNTIME_GUEST_MEMORY_H_

#include <cstddef>
#include <span>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll {

// One contiguous range of guest RAM. The guest changes it at any time: read each field once, into private
// memory, and check the copy.
class GuestMemory {
 public:
  constexpr GuestMemory() = default;
  // `bytes` is the service's mapping of guest physical [base, base + bytes.size()).
  constexpr GuestMemory(GuestPhys base, std::span<std::byte> bytes) : base_(base), bytes_(bytes) {}

  constexpr GuestPhys base() const { return base_; }
  constexpr uint64_t size() const { return bytes_.size(); }

  // The mapping of [address, address + length). OUT_OF_RANGE if any byte is outside or the sum wraps.
  Result<std::span<std::byte>> Range(GuestPhys address, uint64_t length) const {
    const uint64_t offset =
        address.value - base_.value;  // huge when below base: InBounds refuses it
    if (address < base_ || !InBounds(offset, length, bytes_.size())) {
      return std::unexpected(Status::kOutOfRange);
    }
    return std::span(bytes_.data() + offset, length);  // as subspan, which would check it once more
  }

 private:
  GuestPhys base_;
  std::span<std::byte> bytes_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_GUEST_MEMORY_H_
