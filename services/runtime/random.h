// Random bytes that never come twice, over any number of deaths of the service that gives them away.
//
// A generator of the kind that NIST SP 800-90A calls a DRBG, with ChaCha20 and a key that is erased as it is used: the
// first bytes of a key's stream are the next key, which is in the journal before any other byte of the stream goes out.
// So neither a successor nor whoever reads the journal later gets bytes that were given away. What is mixed in adds to
// what is unpredictable, and takes nothing away.
#ifndef ATOLL_SERVICES_RUNTIME_RANDOM_H_
#define ATOLL_SERVICES_RUNTIME_RANDOM_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "services/runtime/chacha20.h"
#include "services/runtime/two_copies.h"

namespace atoll {

// Something unpredictable, as far as the machine has it; at least different each time.
class SeedSource {
 public:
  using Seed = std::array<uint64_t, 4>;
  virtual Seed Draw() = 0;

 protected:
  ~SeedSource() = default;
};

class RandomGenerator {
 public:
  // Goes on with the key that is there. seed: of this VM's start, mixed in if there is none, or it is damaged. What
  // `source` gives is mixed in always, now and before each stream. Both references outlive the generator.
  RandomGenerator(TwoCopies<ChaCha20Key>& keys, SeedSource& source, std::span<const std::byte> seed)
      : keys_(keys), source_(source) {
    const Copies found = keys_.Load(key_);
    if (found == Copies::kFresh || found == Copies::kLost) {
      key_ = {};
      for (; !seed.empty(); seed = seed.subspan(std::min(seed.size(), sizeof(key_)))) {
        Mix(seed.first(std::min(seed.size(), sizeof(key_))));
      }
    }
  }

  // Bytes to be given away; one stream at a time.
  ChaCha20Stream Next() {
    const SeedSource::Seed drawn = source_.Draw();
    Mix(std::as_bytes(std::span(drawn)));
    ChaCha20Stream stream(key_);
    key_ = stream.TakeKey();
    keys_.Store(key_);
    return stream;
  }

 private:
  // The next key is the stream's and this, so unpredictable as long as one of them is.
  void Mix(std::span<const std::byte> bytes) {
    ChaCha20Key added = {};
    std::memcpy(added.data(), bytes.data(), bytes.size());
    key_ = ChaCha20Stream(key_).TakeKey();
    for (size_t i = 0; i < key_.size(); ++i) key_[i] ^= added[i];
  }

  TwoCopies<ChaCha20Key>& keys_;
  SeedSource& source_;
  ChaCha20Key key_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_RANDOM_H_
