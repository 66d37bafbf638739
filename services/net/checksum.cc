#include "services/net/checksum.h"

#include <bit>
#include <cstring>

#include "services/net/bytes.h"

namespace atoll::net {
namespace {

constexpr size_t kWords = 16;  // of one round: on AArch64 8 LDP, 16 ADCS and 4 more for 128 bytes

// The sum of a round and of what was there before, with the carry out of bit 63 added to bit 0.
uint64_t AddRound(uint64_t sum, const std::byte* at) {
#ifdef __clang__
  unsigned long long carry = 0;
#pragma clang loop unroll(full)
  for (size_t i = 0; i < kWords; ++i) {
    sum = __builtin_addcll(sum, LoadRaw<uint64_t>(at + 8 * i), carry, &carry);
  }
  sum += carry;
  return sum + (sum < carry ? 1 : 0);
#else
  __extension__ unsigned __int128 wide = sum;
  for (size_t i = 0; i < kWords; ++i) wide += LoadRaw<uint64_t>(at + 8 * i);
  const auto low = static_cast<uint64_t>(wide);
  sum = low + static_cast<uint64_t>(wide >> 64);
  return sum + (sum < low ? 1 : 0);
#endif
}

}  // namespace

void ChecksumSum::Add(std::span<const std::byte> bytes) {
  uint64_t sum = sum_;
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= kWords * 8; left -= kWords * 8, at += kWords * 8) {
    sum = AddRound(sum, at);
  }
  sum_ = sum;
  for (; left >= 8; left -= 8, at += 8) AddCarrying(LoadRaw<uint64_t>(at));
  if (left == 0) return;
  uint64_t rest = 0;  // as if zeroes followed
  std::memcpy(&rest, at, left);
  AddCarrying(rest);
}

void ChecksumSum::AddWord(uint16_t value) { AddCarrying(std::byteswap(value)); }

uint16_t ChecksumSum::Folded() const {
  uint64_t sum = (sum_ >> 32) + (sum_ & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);  // at most 2 * 2^17
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return std::byteswap(static_cast<uint16_t>(sum));
}

}  // namespace atoll::net
