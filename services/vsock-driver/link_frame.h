// Frames on the serial line between the vsock-driver and the host's program (scripts/vsock_link.py has the other end).
//
// The line carries bytes, and loses an unknown number of them whenever either end starts anew. So frames are told apart
// as in HDLC: kEnd before and behind each, and nowhere else, since kEnd and kEscape within are sent as kEscape and the
// byte with one bit changed. Nothing that a guest sends can look like a frame, and a frame of which a part is missing is
// not as long as its header says. A receiver takes frames whose length and check (CRC-32) are right and drops the rest.
#ifndef ATOLL_SERVICES_VSOCK_DRIVER_LINK_FRAME_H_
#define ATOLL_SERVICES_VSOCK_DRIVER_LINK_FRAME_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "services/vsock/packet.h"

namespace atoll::vsock_driver {

inline constexpr std::byte kEnd{0x7e};
inline constexpr std::byte kEscape{0x7d};
inline constexpr std::byte kEscaped{0x20};  // this bit is changed

enum class Kind : uint8_t {
  kHello = 1,    // of the driver: where it stands; payload: 8 bytes that the answer repeats
  kWelcome = 2,  // of the host, to that
  kData = 3,     // payload: a packet
  kAck = 4,
  kAsk = 5,  // of the host: say hello
};

inline constexpr uint8_t kLinkVersion = 1;

struct LinkHeader {
  Kind kind = Kind::kAck;
  uint8_t version = kLinkVersion;
  uint16_t reserved = 0;
  uint32_t bytes = 0;         // of the payload
  uint32_t session = 0;       // chosen by the host; 0: none
  uint32_t sequence = 0;      // kData: of this frame. kHello: of the sender's next one
  uint32_t following = 0;     // kData: of the one after it. kHello: the sender's epoch
  uint32_t acknowledged = 0;  // of the next frame that the sender takes
};
static_assert(sizeof(LinkHeader) == 24 && std::endian::native == std::endian::little);

using Nonce = uint64_t;

inline constexpr size_t kMaxContent = sizeof(LinkHeader) + vsock::kMaxPacket + sizeof(uint32_t);

// CRC-32 as in zlib.
class Crc32 {
 public:
  void Add(std::byte byte) {
    const auto value = std::to_integer<uint8_t>(byte);
#if defined(__ARM_FEATURE_CRC32)
    value_ = __builtin_arm_crc32b(value_, value);
#else
    value_ ^= value;
    for (int bit = 0; bit < 8; ++bit) value_ = value_ >> 1 ^ ((value_ & 1) != 0 ? 0xedb8'8320 : 0);
#endif
  }
  uint32_t value() const { return ~value_; }

 private:
  uint32_t value_ = ~uint32_t{0};
};

// Writes one frame after the other, in pieces of any size.
class FrameEncoder {
 public:
  // What of the frame before was not written is left out: the receiver drops that one. The payload is read once, byte by
  // byte, while it is written.
  void Begin(const LinkHeader& header, std::span<const std::byte> payload) {
    std::memcpy(header_.data(), &header, sizeof(header));
    parts_ = {std::span<const std::byte>(header_), payload, std::span<const std::byte>(check_)};
    part_ = 0;
    at_ = 0;
    crc_ = Crc32();
    started_ = false;
    done_ = false;
  }
  void Abandon() { done_ = true; }
  bool done() const { return done_; }

  // Bytes written; less than there is room for means that the frame is done or that a pair of bytes does not fit.
  size_t Fill(std::span<std::byte> room) {
    size_t count = 0;
    if (done_ || room.empty()) return 0;
    if (!started_) {
      room[count++] = kEnd;
      started_ = true;
    }
    while (part_ < parts_.size()) {
      const std::span<const std::byte> part = parts_[part_];
      for (; at_ < part.size() && count + 2 <= room.size(); ++at_) {
        const std::byte byte = *static_cast<const volatile std::byte*>(&part[at_]);
        if (part_ < 2) crc_.Add(byte);
        if (byte == kEnd || byte == kEscape) [[unlikely]] {
          room[count++] = kEscape;
          room[count++] = byte ^ kEscaped;
        } else {
          room[count++] = byte;
        }
      }
      if (at_ < part.size()) return count;
      at_ = 0;
      if (++part_ == 2) {
        const uint32_t check = crc_.value();
        std::memcpy(check_.data(), &check, sizeof(check));
      }
    }
    if (count == room.size()) return count;
    room[count++] = kEnd;
    done_ = true;
    return count;
  }

 private:
  std::array<std::byte, sizeof(LinkHeader)> header_{};
  std::array<std::byte, sizeof(uint32_t)> check_{};
  std::array<std::span<const std::byte>, 3> parts_{};
  size_t part_ = 0;
  size_t at_ = 0;  // in that part
  Crc32 crc_;
  bool started_ = false;
  bool done_ = true;
};

// Finds frames in bytes that may begin and break off anywhere.
class FrameDecoder {
 public:
  // Takes bytes up to the end of the next good frame, or all. `taken`: how many.
  bool Take(std::span<const std::byte> bytes, size_t& taken) {
    for (taken = 0; taken < bytes.size();) {
      const std::byte byte = bytes[taken++];
      if (byte == kEnd) [[unlikely]] {
        const bool good = hunting_ ? false : Check();
        if (!good && !hunting_ && (count_ != 0 || escape_)) ++damaged_;
        hunting_ = false;
        escape_ = false;
        size_ = good ? count_ : 0;
        count_ = 0;
        if (good) return true;
      } else if (hunting_) {
        continue;
      } else if (byte == kEscape) [[unlikely]] {
        hunting_ = escape_;  // twice: none of ours
        escape_ = true;
        if (hunting_) ++damaged_;
      } else if (count_ == content_.size()) [[unlikely]] {
        ++damaged_;
        hunting_ = true;
      } else {
        content_[count_++] = escape_ ? byte ^ kEscaped : byte;
        escape_ = false;
      }
    }
    return false;
  }

  // Of the frame found last, until Take is called again.
  LinkHeader header() const {
    LinkHeader header;
    std::memcpy(&header, content_.data(), sizeof(header));
    return header;
  }
  std::span<const std::byte> payload() const {
    return std::span(content_).subspan(sizeof(LinkHeader),
                                       size_ < kOverhead ? 0 : size_ - kOverhead);
  }
  // Frames that were dropped.
  uint64_t damaged() const { return damaged_; }

 private:
  static constexpr size_t kOverhead = sizeof(LinkHeader) + sizeof(uint32_t);

  bool Check() const {
    if (escape_ || count_ < kOverhead) return false;
    const LinkHeader found = header();
    if (found.bytes != count_ - kOverhead || found.version != kLinkVersion || found.reserved != 0) {
      return false;
    }
    Crc32 crc;
    for (size_t i = 0; i < count_ - sizeof(uint32_t); ++i) crc.Add(content_[i]);
    uint32_t check;
    std::memcpy(&check, content_.data() + count_ - sizeof(check), sizeof(check));
    return crc.value() == check;
  }

  std::array<std::byte, kMaxContent> content_{};
  size_t count_ = 0;     // of the frame that is coming
  size_t size_ = 0;      // of the one that was found
  bool hunting_ = true;  // for the end of what cannot be a frame
  bool escape_ = false;
  uint64_t damaged_ = 0;
};

}  // namespace atoll::vsock_driver

#endif  // ATOLL_SERVICES_VSOCK_DRIVER_LINK_FRAME_H_
