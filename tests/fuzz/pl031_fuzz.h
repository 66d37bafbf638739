// Any sequence of register accesses, time and restarts of a PL031, as a function of random bytes.
// Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_PL031_FUZZ_H_
#define ATOLL_TESTS_FUZZ_PL031_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzPl031(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_PL031_FUZZ_H_
