// Any sequence of register accesses, line changes, acknowledges, ends and vCPU switches against the vgic service
// and the kernel's list-register logic over modelled hardware, compared with a model of the architecture.
#ifndef ATOLL_TESTS_FUZZ_VGIC_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VGIC_FUZZ_H_

#include <cstddef>
#include <span>
#include <string>

namespace atoll {

// Interprets `input` as a scenario. After each step every vCPU must be signalled exactly what the model says; at
// the end everything that pends must come, once. Returns what went wrong, or an empty string.
std::string FuzzVgic(std::span<const std::byte> input);

// Register accesses only, of any offset and size: nothing may break, and the VM can be reset.
std::string FuzzVgicRegisters(std::span<const std::byte> input);

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_VGIC_FUZZ_H_
