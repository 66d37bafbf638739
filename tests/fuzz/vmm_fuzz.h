// What vmm is fed by guests and files, as functions of random bytes. Each aborts if an invariant
// breaks.
#ifndef ATOLL_TESTS_FUZZ_VMM_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VMM_FUZZ_H_

#include <cstddef>
#include <span>

namespace atoll {

void FuzzSmccc(std::span<const std::byte> input);
void FuzzImage(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_VMM_FUZZ_H_
