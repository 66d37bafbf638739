// TLB maintenance: whose entries, which barriers, and under which HCR_EL2 (DDI0487, TLB maintenance
// instructions).
//
// With HCR_EL2.E2H = 1, the TLBI *E1* operations act on the EL2&0 regime (kernel and tasks) while
// TGE = 1 and on the EL1&0 regime (guests, current VMID) while TGE = 0. So those for tasks and the
// kernel must run with TGE = 1, as it is after every entry from a guest that has loaded kHostHcr;
// those for guests switch to TGE = 0 and the VM's VTTBR_EL2 by themselves.
//
// All forms are inner shareable: they reach every CPU. The order is always the same: DSB ISHST, so
// that walkers see the changed descriptors; TLBI; DSB ISH, which waits until no CPU uses an old
// entry any more; ISB, for what this CPU has fetched already.
#ifndef ATOLL_KERNEL_MEMORY_TLB_H_
#define ATOLL_KERNEL_MEMORY_TLB_H_

#include <cstdint>

#include "ipc/address.h"

namespace atoll {

// The translations of one address space.
class Tlb {
 public:
  // No CPU uses a translation of [address, address + bytes), or a table that led there, after this
  // returns.
  virtual void Invalidate(uint64_t address, uint64_t bytes) = 0;

 protected:
  ~Tlb() = default;
};

class TaskTlb final : public Tlb {
 public:
  explicit TaskTlb(uint32_t asid) : asid_(asid) {}
  void Invalidate(uint64_t address, uint64_t bytes) override;
  void InvalidateAll();

 private:
  uint64_t asid_;
};

class KernelTlb final : public Tlb {
 public:
  void Invalidate(uint64_t address, uint64_t bytes) override;
};

// `vttbr`: root table and VMID as in VTTBR_EL2.
class Stage2Tlb final : public Tlb {
 public:
  explicit Stage2Tlb(uint64_t vttbr) : vttbr_(vttbr) {}
  void Invalidate(uint64_t address, uint64_t bytes) override;
  void InvalidateAll();
  // Entries of this VM on this CPU alone, instruction caches included: when another vCPU of the
  // same VM is loaded than was last, since their non-shared entries carry the same VMID and ASIDs.
  void InvalidateLocal();

 private:
  uint64_t vttbr_;
};

// Every task's and the kernel's entries on all CPUs: when all ASIDs were given out.
void InvalidateEveryTask();
// Every VM's entries on all CPUs: when all VMIDs were given out.
void InvalidateEveryGuest();

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_TLB_H_
