// A virtio entropy device (VIRTIO 1.2, 5.4): fills the guest's buffers from a generator (services/runtime/random.h).
#ifndef ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_
#define ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "services/runtime/cpu_random.h"
#include "services/runtime/random.h"
#include "services/virtio-rng/manifest.h"
#include "services/virtio/device.h"

namespace atoll {

struct VirtioRngState {
  ChaCha20Key key = {};
  uint64_t seeded = 0;  // 1: the key has come from the seed of this VM's start
};
inline constexpr virtio::Declaration kVirtioRng{.device_id = 4, .queues = {64}};

class VirtioRng final : public virtio::Device<kVirtioRng, virtio::NoConfigSpace, VirtioRngState> {
 public:
  static constexpr uint64_t kBufferBytes =
      1024;  // that a buffer gets at most, and is used with then

  explicit VirtioRng(const Surroundings& surroundings)
      : Device(surroundings),
        cpu_(virtio_rng_manifest::kVm),
        clock_(surroundings.peers.Memory(virtio_rng_manifest::kRtcAddress,
                                         virtio_rng_manifest::kRtcBytes)) {
    NameCounter(kCpuWords, "cpu_words");
  }

  virtio::Handled OnRequest(uint32_t, virtio::Request& request) override {
    // A buffer that the device may read is no entropy request: it goes back as it is.
    if (request.readable_bytes() != 0) return virtio::Handled::kDone;
    ChaCha20Stream stream = NextStream();
    (void)request.WriteWith(std::min(request.writable_bytes(), kBufferBytes),
                            [&stream](std::span<std::byte> piece) { stream.Take(piece); });
    return virtio::Handled::kDone;
  }
  // The driver's reset is no reason to repeat anything.
  VirtioRngState StateAfterReset() const override { return state(); }

 private:
  static constexpr size_t kCpuWords = kFirstCounter;  // that the CPU's generator gave

  // The key that follows is in the journal when this returns.
  ChaCha20Stream NextStream() {
    VirtioRngState& state = ChangeState();
    if (state.seeded == 0)
      MixRandom(state.key, std::as_bytes(std::span(surroundings().start.seed)));
    state.seeded = 1;
    std::array<uint64_t, 4> drawn;
    for (uint64_t& word : drawn) word = cpu_.Next();
    Count(kCpuWords, std::ranges::count_if(drawn, [](uint64_t word) { return word != 0; }));
    // The first word of the machine's PL031 is the time of day.
    drawn[0] ^= surroundings().counter.Ticks();
    drawn[1] ^= *reinterpret_cast<const volatile uint32_t*>(clock_.data());
    MixRandom(state.key, std::as_bytes(std::span(drawn)));
    ChaCha20Stream stream = NextRandom(state.key);
    CommitState();
    return stream;
  }

  const CpuRandom cpu_;
  const std::span<std::byte> clock_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VIRTIO_RNG_DEVICE_H_
