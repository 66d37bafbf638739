// Any contents of the rings of some ports, any frames, signals, times and restarts, as a function of random bytes.
// Aborts if an invariant breaks: the switch comes to rest, and two good ports beside the hostile ones reach each
// other.
#ifndef ATOLL_TESTS_FUZZ_VSWITCH_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VSWITCH_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll::vswitch {

void FuzzVswitch(std::span<const std::byte> input);

}  // namespace atoll::vswitch

#endif  // ATOLL_TESTS_FUZZ_VSWITCH_FUZZ_H_
