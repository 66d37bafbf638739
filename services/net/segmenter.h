// Cuts a TCP packet that is larger than the receiver takes into segments of at most gso_size bytes of payload, as
// the sender would have done (VIRTIO 1.2, 5.1.6.2; RFC 9293, RFC 3168 for CWR).
//
//   Segmenter segmenter(...);               // the frame stays where it is
//   while (const auto segment = segmenter.Next()) { copy segment->head, then segment->payload }
#ifndef ATOLL_SERVICES_NET_SEGMENTER_H_
#define ATOLL_SERVICES_NET_SEGMENTER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "services/net/checksum.h"
#include "services/net/offload.h"

namespace atoll::net {

class Segmenter {
 public:
  enum class Checksum : uint8_t {
    kComplete,        // segments carry their whole checksum
    kLeftToReceiver,  // segments have kNeedsChecksum and the sum of their pseudo header
  };

  struct Segment {
    FrameHeader header;               // bytes = head + payload; no segmentation
    std::span<const std::byte> head;  // all headers, in the segmenter's memory until the next Next
    std::span<const std::byte> payload;  // a part of the frame
  };

  // The faults of ValidateOffload, and kGsoType if the frame is not to be cut at all. frame.size() must be
  // header.bytes. The headers are copied here, so that memory that changes cannot make them disagree.
  static std::expected<Segmenter, OffloadFault> Make(const FrameHeader& header,
                                                     std::span<const std::byte> frame,
                                                     Checksum checksum);

  // How many segments there are in all: 1..kMaxSegments.
  uint32_t count() const;

  // The size of the frame that Next makes: 0 after the last.
  uint32_t NextBytes() const { return left_ == 0 ? 0 : packet_.payload + NextPayload(); }

  std::optional<Segment> Next();

 private:
  Segmenter(const FrameHeader& header, const TcpPacket& packet, std::span<const std::byte> head,
            std::span<const std::byte> frame, Checksum checksum);

  uint32_t NextPayload() const { return left_ < gso_size_ ? left_ : gso_size_; }
  uint32_t TransportBytes(uint32_t payload) const {
    return payload + packet_.payload - packet_.transport;
  }
  std::span<std::byte> Head() { return std::span(head_).first(packet_.payload); }
  void MakeNetworkHeader(uint32_t payload);
  uint16_t PseudoHeaderSum(uint32_t payload) const;

  TcpPacket packet_;
  Checksum checksum_;
  uint16_t gso_size_;
  uint16_t flow_;
  uint8_t flags_ = 0;                   // of the packet's TCP header
  uint32_t left_;                       // payload that is in no segment yet
  std::span<const std::byte> payload_;  // all of it
  std::array<std::byte, kHeadBytes> head_{};
};

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_SEGMENTER_H_
