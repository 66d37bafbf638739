// The kernel calls of proto/kernel.proto: one table indexed by number, one function per call.
//
// A function gets its request decoded and in range, and the handle in x0 checked for its right and its object's type;
// what is left to it is the meaning. Its result goes back to x0-x6 of the caller.
#ifndef ATOLL_KERNEL_CALLS_H_
#define ATOLL_KERNEL_CALLS_H_

#include <cstdint>

#include "ipc/status.h"
#include "kernel/object.h"
#include "kernel/task.h"
#include "proto/kernel.atoll.h"

namespace atoll {

template <KernelCall kCall>
using RequestOf = typename KernelCallTraits<kCall>::Request;
template <KernelCall kCall>
using ReplyOf = typename KernelCallTraits<kCall>::Reply;

// `handle`: the entry named by x0, with the right that the schema and the object that the table asks for; of no meaning
// for calls without one.
template <KernelCall kCall>
Result<ReplyOf<kCall>> Execute(Task& caller, HandleEntry* handle,
                               const RequestOf<kCall>& request) ATOLL_KERNEL_LOCKED;

// A call that answers with a status alone.
inline Result<Empty> FromStatus(Status status) {
  if (!IsOk(status)) return std::unexpected(status);
  return Empty{};
}

// The object of a handle whose type is known.
template <typename T>
T& ObjectOf(const HandleEntry& entry) {
  return static_cast<T&>(*entry.object);
}

// A handle given in a request's field rather than in x0.
template <typename T>
Result<T*> FindObject(Task& caller, uint32_t slot, ObjectType type, Right right) {
  HandleEntry* const entry = caller.FindHandle(slot);
  if (entry == nullptr) return std::unexpected(Status::kNotFound);
  if ((entry->rights() & static_cast<uint32_t>(right)) == 0) {
    return std::unexpected(Status::kPermissionDenied);
  }
  if (entry->type() != type) return std::unexpected(Status::kInvalidArgument);
  return &ObjectOf<T>(*entry);
}

}  // namespace atoll

#endif  // ATOLL_KERNEL_CALLS_H_
