// Any sequence of register accesses, input, console reads, time and restarts, as a function of
// random bytes. Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_PL011_FUZZ_H_
#define ATOLL_TESTS_FUZZ_PL011_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzPl011(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_PL011_FUZZ_H_
