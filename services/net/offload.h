// What a sender may leave to the network: the transport checksum and the cutting of a TCP packet into segments
// (VIRTIO 1.2, 5.1.6.2). Pure functions over bytes, whose work is bounded by the frame's size.
//
// Between VMs a frame stays as its sender made it. Whoever receives for a guest, or for a wire, that does not take
// it so completes or cuts it: CompleteChecksum or FinalChecksum, and Segmenter (segmenter.h).
#ifndef ATOLL_SERVICES_NET_OFFLOAD_H_
#define ATOLL_SERVICES_NET_OFFLOAD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "services/net/frame_ring.h"
#include "services/net/packet.h"

namespace atoll::net {

// Smaller segments are refused: they would make a frame into very many, each at the receiver's cost. TCP over any
// path that IPv4 hosts must support has 536.
inline constexpr uint16_t kMinGsoSize = 128;
inline constexpr uint32_t kMaxSegments = kMaxFrameBytes / kMinGsoSize;

enum class OffloadFault : uint8_t {
  kFrameSize,      // shorter than an Ethernet header or longer than any frame
  kChecksumRange,  // the checksum field is outside the packet
  kGsoType,        // unknown
  kGsoChecksum,    // segmentation without kNeedsChecksum, or of another field than TCP's
  kGsoSize,        // below kMinGsoSize
  kGsoHeaders,     // not the whole TCP packet that gso_type promises
};
inline constexpr size_t kOffloadFaults = 6;

// Checks what a sender says of its frame and returns it in canonical form: flags that are no sender's business, and
// fields that say nothing then, are 0; header_bytes is right for a packet to be cut and else 0.
// head: the frame's first bytes, min(kHeadBytes, header.bytes) of them, in private memory: what is checked must be
// what is passed on. If flags and gso_type are 0, it is not looked at.
std::expected<FrameHeader, OffloadFault> ValidateOffload(const FrameHeader& header,
                                                         std::span<const std::byte> head);

// The two bytes to be stored at checksum_start + checksum_offset of a frame with kNeedsChecksum, where the sender
// stored the sum of the pseudo header. Fields that lie outside the frame give the bytes 0.
std::array<std::byte, 2> FinalChecksum(const FrameHeader& header, std::span<const std::byte> frame);

// Stores FinalChecksum, if there is one to be stored, and clears kNeedsChecksum and its fields.
void CompleteChecksum(std::span<std::byte> frame, FrameHeader& header);

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_OFFLOAD_H_
