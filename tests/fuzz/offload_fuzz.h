// Any header and frame of a sender, as a function of random bytes: checked, completed and cut into segments.
// Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_OFFLOAD_FUZZ_H_
#define ATOLL_TESTS_FUZZ_OFFLOAD_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll::net {

// input: a FrameHeader, then the frame.
void FuzzOffload(std::span<const std::byte> input);

}  // namespace atoll::net

#endif  // ATOLL_TESTS_FUZZ_OFFLOAD_FUZZ_H_
