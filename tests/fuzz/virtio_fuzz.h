// Any sequence of register accesses, guest memory contents, notifications and restarts of a
// virtio-blk device, as a function of random bytes. Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_VIRTIO_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VIRTIO_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzVirtio(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_VIRTIO_FUZZ_H_
