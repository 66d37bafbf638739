// The ChaCha20 block function (RFC 8439, 2.3) and its key stream.
#ifndef ATOLL_SERVICES_RUNTIME_CHACHA20_H_
#define ATOLL_SERVICES_RUNTIME_CHACHA20_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace atoll {

using ChaCha20Key = std::array<uint32_t, 8>;
using ChaCha20Block = std::array<uint32_t, 16>;
static_assert(std::endian::native == std::endian::little);  // a block's bytes are its words'

inline ChaCha20Block MakeChaCha20Block(const ChaCha20Key& key, uint32_t counter,
                                       const std::array<uint32_t, 3>& nonce) {
  const ChaCha20Block start = {0x6170'7865, 0x3320'646e, 0x7962'2d32, 0x6b20'6574, key[0], key[1],
                               key[2],      key[3],      key[4],      key[5],      key[6], key[7],
                               counter,     nonce[0],    nonce[1],    nonce[2]};
  ChaCha20Block block = start;
  uint32_t* const x = block.data();
  const auto quarter = [](uint32_t& a, uint32_t& b, uint32_t& c, uint32_t& d) {
    d = std::rotl(d ^ (a += b), 16);
    b = std::rotl(b ^ (c += d), 12);
    d = std::rotl(d ^ (a += b), 8);
    b = std::rotl(b ^ (c += d), 7);
  };
  for (int round = 0; round < 20; round += 2) {
    for (int i = 0; i < 4; ++i) quarter(x[i], x[4 + i], x[8 + i], x[12 + i]);
    for (int i = 0; i < 4; ++i) {
      quarter(x[i], x[4 + (i + 1) % 4], x[8 + (i + 2) % 4], x[12 + (i + 3) % 4]);
    }
  }
  for (size_t i = 0; i < block.size(); ++i) block[i] += start[i];
  return block;
}

// The bytes that a key stands for, from the first on.
class ChaCha20Stream {
 public:
  explicit ChaCha20Stream(const ChaCha20Key& key) : key_(key) {}

  void Take(std::span<std::byte> to) {
    while (!to.empty()) {
      if (left_ == 0) {
        // The 32 bits of the counter reach for 256 GiB, the nonce's for all beyond.
        block_ = MakeChaCha20Block(key_, static_cast<uint32_t>(count_),
                                   {static_cast<uint32_t>(count_ >> 32), 0, 0});
        ++count_;
        left_ = sizeof(block_);
      }
      const size_t bytes = std::min(to.size(), left_);
      std::memcpy(to.data(), reinterpret_cast<const std::byte*>(&block_ + 1) - left_, bytes);
      to = to.subspan(bytes);
      left_ -= bytes;
    }
  }
  ChaCha20Key TakeKey() {
    ChaCha20Key key;
    Take(std::as_writable_bytes(std::span(key)));
    return key;
  }

 private:
  const ChaCha20Key key_;
  ChaCha20Block block_ = {};
  uint64_t count_ = 0;
  size_t left_ = 0;  // bytes of the block that were not taken yet
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_CHACHA20_H_
