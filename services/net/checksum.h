// The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.
#ifndef ATOLL_SERVICES_NET_CHECKSUM_H_
#define ATOLL_SERVICES_NET_CHECKSUM_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace atoll::net {

// A sum under way. Its words are those of memory order, so it is a number of no meaning until it is folded; ones'
// complement sums are the same in either byte order (RFC 1071, 2B).
class ChecksumSum {
 public:
  // Adds bytes that start at an even distance from the start of what is summed. Reads each byte once.
  void Add(std::span<const std::byte> bytes);

  // Adds a word as its value, e.g. a length or protocol number of a pseudo header.
  void AddWord(uint16_t value);

  // The sum in 16 bits, as a value: what a sender stores that leaves the rest to the device.
  uint16_t Folded() const;

  // The checksum to be stored, as a value.
  uint16_t Checksum() const { return static_cast<uint16_t>(~Folded()); }

  // The same number, but 0 as 0xffff: for UDP, where 0 means that there is none (RFC 768).
  uint16_t NonZeroChecksum() const { return Checksum() == 0 ? 0xffff : Checksum(); }

 private:
  void AddCarrying(uint64_t value) { sum_ += value, sum_ += sum_ < value ? 1 : 0; }

  uint64_t sum_ = 0;
};

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_CHECKSUM_H_
