// What a test has made: objects, mappings and grants, in order, so that all of it can be taken back.
#ifndef ATOLL_TESTS_KERNEL_INVENTORY_H_
#define ATOLL_TESTS_KERNEL_INVENTORY_H_

#include <cstdint>
#include <string_view>

#include "ipc/status.h"
#include "proto/kernel.atoll.h"

namespace atoll::test::inventory {

void AddObject(uint32_t slot, ObjectType type);
void AddMapping(uint32_t space, uint64_t address, uint64_t bytes);
void AddGrant(uint32_t task, uint32_t slot);

// The object is destroyed, and with it what was mapped in it or granted to it.
void ForgetObject(uint32_t slot);
void ForgetMapping(uint32_t space, uint64_t address);

// Unmaps however much is left of a mapping.
Status UnmapAll(uint32_t space, uint64_t address, uint64_t bytes);
// All mappings of one space, which must succeed.
void UnmapSpace(uint32_t space);

// Everything goes, in the order that the kernel asks for; what does not is reported as a failure.
void TakeBack();
// Keeps what there is for the tests that follow.
void Forget();

}  // namespace atoll::test::inventory

#endif  // ATOLL_TESTS_KERNEL_INVENTORY_H_
