// What all kernel objects have in common, and the handles that name them.
//
// An object lives in pages that the supervisor donated at its creation and gets back when it is destroyed.
// Nobody but the supervisor creates or destroys; `references` counts the handles and bindings that point
// here, and an object that is still referenced is not destroyed, so a pointer in a handle is always good.
#ifndef ATOLL_KERNEL_OBJECT_H_
#define ATOLL_KERNEL_OBJECT_H_

#include <cstdint>

#include "ipc/address.h"
#include "kernel/kernel_lock.h"
#include "kernel/machine/bounded_vector.h"
#include "proto/kernel.atoll.h"

namespace atoll {

// Pages for page tables that were given after an object's creation; they go back with it.
struct LaterDonation {
  PhysAddr base;
  uint32_t pages = 0;
};
using LaterDonations = BoundedVector<LaterDonation, 24>;

struct Object {
  explicit Object(ObjectType object_type) : type(object_type) {}

  ObjectType type;
  uint32_t references = 0;
  PhysAddr backing;  // donated pages
  uint32_t backing_pages = 0;
};

// An entry of a task's handle table.
struct HandleEntry {
  Object* object = nullptr;
  uint32_t type_and_rights = 0;  // ObjectType in [7:0], Right bits from bit 8; 0 = empty
  uint32_t reserved = 0;
  uint64_t badge = 0;
  uint64_t unused = 0;  // 32 bytes: the index becomes one shift

  static constexpr uint32_t Pack(ObjectType type, uint32_t rights) {
    return static_cast<uint32_t>(type) | rights << 8;
  }
  ObjectType type() const { return static_cast<ObjectType>(type_and_rights & 0xff); }
  uint32_t rights() const { return type_and_rights >> 8; }
};
static_assert(sizeof(HandleEntry) == 32);

}  // namespace atoll

#endif  // ATOLL_KERNEL_OBJECT_H_
