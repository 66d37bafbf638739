// What vmm is fed by guests and files, as functions of random bytes. Each aborts if an invariant
// breaks.
//
// Suite unit runs them on a fixed number of pseudo-random inputs; built with ATOLL_LIBFUZZER
// defined and -fsanitize=fuzzer each file is a libFuzzer target.
#ifndef ATOLL_TESTS_FUZZ_VMM_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VMM_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzSmccc(std::span<const std::byte> input);
void FuzzImage(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_VMM_FUZZ_H_
