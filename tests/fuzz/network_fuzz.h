// Any sequence of transmit chains, receive buffers, commands, frames of the switch, ring memory,
// resets and restarts of a virtio-net device, as a function of random bytes. Aborts if an invariant
// breaks.
#ifndef ATOLL_TESTS_FUZZ_NETWORK_FUZZ_H_
#define ATOLL_TESTS_FUZZ_NETWORK_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzNetwork(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_NETWORK_FUZZ_H_
