// A physical range that tasks and VMs may be given, and the record of where it is mapped.
#ifndef ATOLL_KERNEL_MEMORY_OBJECT_H_
#define ATOLL_KERNEL_MEMORY_OBJECT_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"
#include "kernel/object.h"

namespace atoll {

struct Memory : Object {
  Memory(PhysAddr memory_base, uint64_t memory_bytes, MemoryType attributes)
      : Object(ObjectType::kMemory),
        base(memory_base),
        bytes(memory_bytes),
        memory_type(attributes) {}
  const PhysAddr base;
  const uint64_t bytes;
  const MemoryType memory_type;
  uint64_t mapped_bytes = 0;  // in all address spaces together; only 0 can be destroyed
};

// What is mapped in one address space. Mappings are made front to back and taken away the same way, in
// bounded steps, so a record only ever grows at its end and shrinks at its front.
class MappingRecords {
 public:
  static constexpr size_t kCapacity = 40;

  struct Record {
    Memory* memory = nullptr;  // null: free
    uint64_t address = 0;
    uint64_t bytes = 0;
    uint64_t offset = 0;  // into the memory object
  };

  // A record that this mapping continues, or a free one; null if there is neither.
  Record* FindForMap(const Memory& memory, uint64_t address, uint64_t offset) {
    Record* free = nullptr;
    for (Record& record : records_) {
      if (record.memory == nullptr) {
        if (free == nullptr) free = &record;
      } else if (record.memory == &memory && record.address + record.bytes == address &&
                 record.offset + record.bytes == offset) {
        return &record;
      }
    }
    return free;
  }

  bool InUse() const {
    for (const Record& record : records_) {
      if (record.memory != nullptr) return true;
    }
    return false;
  }

  const Record& operator[](size_t index) const { return records_[index]; }

  // The record whose front is `address`, null if none.
  Record* FindFront(uint64_t address) {
    for (Record& record : records_) {
      if (record.memory != nullptr && record.address == address) return &record;
    }
    return nullptr;
  }

 private:
  std::array<Record, kCapacity> records_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_OBJECT_H_
