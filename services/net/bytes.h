// Numbers in a packet: at any alignment, most significant byte first.
#ifndef ATOLL_SERVICES_NET_BYTES_H_
#define ATOLL_SERVICES_NET_BYTES_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace atoll::net {

static_assert(std::endian::native == std::endian::little);

// As it lies in memory. The built-in is one load; std::memcpy is a call where code is freestanding.
template <typename Number>
Number LoadRaw(const std::byte* at) {
  Number number;
  __builtin_memcpy(&number, at, sizeof number);
  return number;
}

template <typename Number>
void StoreRaw(std::byte* at, Number number) {
  __builtin_memcpy(at, &number, sizeof number);
}

// Whoever calls these has checked that offset + size is within the bytes.
inline uint8_t Load8(std::span<const std::byte> bytes, size_t offset) {
  return static_cast<uint8_t>(bytes[offset]);
}
inline uint16_t Load16(std::span<const std::byte> bytes, size_t offset) {
  return std::byteswap(LoadRaw<uint16_t>(bytes.subspan(offset, 2).data()));
}
inline uint32_t Load32(std::span<const std::byte> bytes, size_t offset) {
  return std::byteswap(LoadRaw<uint32_t>(bytes.subspan(offset, 4).data()));
}
inline void Store8(std::span<std::byte> bytes, size_t offset, uint8_t value) {
  bytes[offset] = std::byte{value};
}
inline void Store16(std::span<std::byte> bytes, size_t offset, uint16_t value) {
  StoreRaw(bytes.subspan(offset, 2).data(), std::byteswap(value));
}
inline void Store32(std::span<std::byte> bytes, size_t offset, uint32_t value) {
  StoreRaw(bytes.subspan(offset, 4).data(), std::byteswap(value));
}

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_BYTES_H_
