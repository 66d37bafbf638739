// A packet of virtio-vsock (VIRTIO 1.2, 5.10.6), and how it lies in the frame rings between devices and switch.
#ifndef ATOLL_SERVICES_VSOCK_PACKET_H_
#define ATOLL_SERVICES_VSOCK_PACKET_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "services/net/frame_ring.h"

namespace atoll::vsock {

inline constexpr uint64_t kHostCid = 2;
inline constexpr uint64_t kFirstGuestCid = 3;
inline constexpr uint64_t kMaxGuestCid = 0xffff'fffe;
constexpr bool IsGuestCid(uint64_t cid) { return cid >= kFirstGuestCid && cid <= kMaxGuestCid; }

inline constexpr uint16_t kTypeStream = 1;

enum Op : uint16_t {
  kOpInvalid = 0,
  kOpRequest = 1,
  kOpResponse = 2,
  kOpReset = 3,
  kOpShutdown = 4,
  kOpData = 5,  // VIRTIO_VSOCK_OP_RW
  kOpCreditUpdate = 6,
  kOpCreditRequest = 7,
};
constexpr bool IsKnown(uint16_t op) { return op >= kOpRequest && op <= kOpCreditRequest; }

struct [[gnu::packed]] PacketHeader {
  uint64_t src_cid = 0;
  uint64_t dst_cid = 0;
  uint32_t src_port = 0;
  uint32_t dst_port = 0;
  uint32_t len = 0;  // of the payload
  uint16_t type = 0;
  uint16_t op = 0;
  uint32_t flags = 0;
  uint32_t buf_alloc = 0;
  uint32_t fwd_cnt = 0;
};
static_assert(sizeof(PacketHeader) == 44 && std::is_trivially_copyable_v<PacketHeader>);
static_assert(std::endian::native == std::endian::little);

// Linux's drivers send up to 64 KiB in one packet.
inline constexpr uint32_t kMaxPayload = 65536;
inline constexpr uint32_t kMaxPacket = sizeof(PacketHeader) + kMaxPayload;
static_assert(kMaxPacket <= net::FrameRing::kMostBytes);

// What 5.10.6 allows in any packet: a type and op that there are, payload with RW only.
inline bool IsSound(const PacketHeader& header) {
  const bool length = header.op == kOpData ? header.len <= kMaxPayload : header.len == 0;
  return header.type == kTypeStream && IsKnown(header.op) && length;
}

// The answer to a packet that leads nowhere (5.10.6.4.2).
inline PacketHeader ResetFor(const PacketHeader& header) {
  return {.src_cid = header.dst_cid,
          .dst_cid = header.src_cid,
          .src_port = header.dst_port,
          .dst_port = header.src_port,
          .type = header.type,
          .op = kOpReset};
}

// In a ring a packet is a frame: header and payload. Of the FrameHeader two fields mean something here.
//   flags: kRefuse, towards the switch: only the header is there, and it is to be answered with RST.
//   flow:  the lower bits of the epoch that its writer was in. What is of another epoch than the ring's counts no more.
inline constexpr uint8_t kRefuse = 1;
constexpr uint16_t EpochMark(uint32_t epoch) { return static_cast<uint16_t>(epoch); }

// A port has two rings one after the other: towards the switch, from the switch.
inline constexpr size_t kRingBytes = 4096 + 262144;
inline constexpr size_t kPortBytes = 2 * kRingBytes;

// The header of a packet in a ring, read once; nullopt: the packet is none.
inline std::optional<PacketHeader> HeaderOf(const net::Frame& frame) {
  if (frame.bytes.size() < sizeof(PacketHeader)) return std::nullopt;
  PacketHeader header;
  std::memcpy(&header, frame.bytes.data(), sizeof(header));
  asm volatile("" ::: "memory");  // the writer may change it: nothing is read again
  return header;
}

}  // namespace atoll::vsock

#endif  // ATOLL_SERVICES_VSOCK_PACKET_H_
