// The last bytes of the log, in memory: what the console does not show can be read from here.
#ifndef ATOLL_KERNEL_LOG_LOG_RING_H_
#define ATOLL_KERNEL_LOG_LOG_RING_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace atoll {

template <size_t kBytes>
class LogRing {
 public:
  void Append(std::string_view text) {
    for (char c : text) bytes_[static_cast<size_t>(written_++ % kBytes)] = c;
  }

  // Bytes ever written; the ring holds the last min(written, kBytes) of them.
  uint64_t written() const { return written_; }

  // Copies from stream position `from` (or the oldest byte still held, if that is later) into
  // `out`. Returns how many bytes and sets `from` to the position after the last of them.
  size_t Read(uint64_t& from, std::span<char> out) const {
    const uint64_t oldest = written_ > kBytes ? written_ - kBytes : 0;
    from = std::clamp(from, oldest, written_);
    const size_t count = static_cast<size_t>(std::min<uint64_t>(written_ - from, out.size()));
    for (size_t i = 0; i < count; ++i) out[i] = bytes_[static_cast<size_t>((from + i) % kBytes)];
    from += count;
    return count;
  }

 private:
  std::array<char, kBytes> bytes_ = {};
  uint64_t written_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_LOG_RING_H_
