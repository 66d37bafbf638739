// The drivers of the machine's devices under any input, as a function of random bytes. Abort if an
// invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_DRIVER_FUZZ_H_
#define ATOLL_TESTS_FUZZ_DRIVER_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

// Clients of blk-driver that write anything into their rings, at any time.
void FuzzDriverClient(std::span<const std::byte> input);

// A disk and a network interface that write anything into their driver's DMA memory, give back what
// they do not have, and answer nonsense from their registers.
void FuzzDriverDevice(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_DRIVER_FUZZ_H_
