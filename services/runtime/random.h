// Random bytes that never come twice, over any number of deaths of the service that gives them away.
//
// A generator of the kind that NIST SP 800-90A calls a DRBG, with ChaCha20 and a key that is erased as it is used: the
// first bytes of a key's stream are the next key. Whoever keeps that where a successor finds it before any other byte of
// the stream goes out repeats nothing, and whoever reads it later learns nothing of what was given away.
#ifndef ATOLL_SERVICES_RUNTIME_RANDOM_H_
#define ATOLL_SERVICES_RUNTIME_RANDOM_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "services/runtime/chacha20.h"

namespace atoll {

// The next key is the old one's stream with `seed` in it: unpredictable as long as one of the two is.
inline void MixRandom(ChaCha20Key& key, std::span<const std::byte> seed) {
  do {
    ChaCha20Key added = {};
    const auto part = seed.first(std::min(seed.size(), sizeof(added)));
    if (!part.empty()) std::memcpy(added.data(), part.data(), part.size());
    key = ChaCha20Stream(key).TakeKey();
    for (size_t i = 0; i < key.size(); ++i) key[i] ^= added[i];
    seed = seed.subspan(part.size());
  } while (!seed.empty());
}

// Bytes to be given away once the next key, which is in `key` now, is kept.
inline ChaCha20Stream NextRandom(ChaCha20Key& key) {
  ChaCha20Stream stream(key);
  key = stream.TakeKey();
  return stream;
}

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_RANDOM_H_
