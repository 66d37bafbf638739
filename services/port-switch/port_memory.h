// The memory that a console device and the port switch share: which ends of its named ports are open, and two rings of
// bytes for each of them.
#ifndef ATOLL_SERVICES_PORT_SWITCH_PORT_MEMORY_H_
#define ATOLL_SERVICES_PORT_SWITCH_PORT_MEMORY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/address.h"
#include "services/console/line.h"
#include "services/runtime/byte_ring.h"

namespace atoll::port_switch {

inline constexpr uint32_t kPorts = 6;  // of one device
inline constexpr size_t kRingBytes = ByteRing::kHeaderBytes + (size_t{16} << 10);
inline constexpr size_t kPortBytes = 2 * kRingBytes;
inline constexpr size_t kMemoryBytes = AlignUp(kPageSize + kPorts * kPortBytes, kPageSize);

// The first page. Each side writes its own half, and believes of the other's only that a word is 0 or not.
struct PortStates {
  alignas(64) std::array<uint32_t, kPorts> device_open;  // the driver has its end open
  alignas(64) std::array<uint32_t, kPorts> switch_open;  // so has whoever is at the other end

  static bool Is(uint32_t& word) {
    return std::atomic_ref(word).load(std::memory_order_acquire) != 0;
  }
  // Whether that is new.
  static bool Set(uint32_t& word, bool open) {
    if (Is(word) == open) return false;
    std::atomic_ref(word).store(open ? 1 : 0, std::memory_order_release);
    return true;
  }
};
static_assert(sizeof(PortStates) <= kPageSize);

inline PortStates& StatesIn(std::span<std::byte> memory) {
  return *reinterpret_cast<PortStates*>(memory.data());
}
inline std::span<std::byte> RingsOf(std::span<std::byte> memory, uint32_t port) {
  return memory.subspan(kPageSize + port * kPortBytes, kPortBytes);
}

}  // namespace atoll::port_switch

#endif  // ATOLL_SERVICES_PORT_SWITCH_PORT_MEMORY_H_
