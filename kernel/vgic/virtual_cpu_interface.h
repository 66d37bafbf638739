// One vCPU's share of the virtual GIC: its SGIs and PPIs, the queue of interrupts for it, and its list
// registers.
//
// List registers are written only by Load and Flush and read only by Sync, Save and Flush, on the CPU that the
// vCPU is loaded on. All else changes memory, marks the vCPU dirty and says so to the caller (a VcpuMask of
// vCPUs that must flush before they run on: a kick if they run elsewhere, a look at HasDeliverable() if they
// wait). So an operation is the same whether the vCPU is loaded here, elsewhere or nowhere.
//
// A vCPU is *at rest* when its guest side has not run since its list registers were read: from Sync, Save or
// creation until Flush. Then what is in memory is the whole truth. Otherwise the guest may acknowledge and end
// interrupts unseen, so changes to a listed interrupt are kept apart (`latch`, not `listed_latch`) and joined
// by Flush.
//
// The caller holds the VM's interrupt lock for every function here.
#ifndef ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_H_
#define ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_H_

#include <array>
#include <bit>
#include <cstdint>

#include "kernel/vgic/interrupt.h"
#include "kernel/vgic/list_register.h"
#include "kernel/vgic/pending_queue.h"

namespace atoll {

class VirtualGic;

using VcpuMask = uint64_t;  // bit n: the VM's vCPU n

class VirtualCpuInterface {
 public:
  VirtualCpuInterface(VirtualGic& gic, uint32_t index, VirtualTypeRegister type);

  // ---- entry, exit and switch (hardware: ListRegisterHardware, or a model of it in tests) -------------

  // Makes this CPU's virtual interface this vCPU's. At rest afterwards; Flush before the guest runs. The
  // caller then sets the physical active state of each mapped PPI to PhysicalActive().
  template <typename Hardware>
  [[gnu::cold, clang::minsize]] void Load(Hardware& hardware);

  // Takes everything back and switches the virtual interface off. The caller then clears the physical active
  // state of the mapped PPIs for the next vCPU, and issues an ISB before it unmasks interrupts.
  template <typename Hardware>
  [[gnu::cold, clang::minsize]] VcpuMask Save(Hardware& hardware);

  // Before the guest runs, if dirty().
  template <typename Hardware>
  VcpuMask Flush(Hardware& hardware);

  // Learns what the guest acknowledged and ended. On a maintenance interrupt, before WFI is served, and
  // before Get and Set of VirtualGic if its MustSync says so. Dirty afterwards; the virtual interface is off
  // until Flush, so that a maintenance interrupt's level falls (ISB before its deactivation).
  template <typename Hardware>
  [[gnu::noinline]] VcpuMask Sync(Hardware& hardware);

  bool dirty() const { return dirty_; }
  bool at_rest() const { return at_rest_; }
  bool loaded() const { return loaded_; }

  // ---- PPIs -------------------------------------------------------------------------------------------

  // PPI `intid` stands for the physical PPI `physical_intid`, whose level nobody needs to emulate while the
  // vCPU is loaded: an end of interrupt in the guest deactivates it. Before the vCPU first runs.
  void MapPhysical(uint32_t intid, uint32_t physical_intid);

  // The physical interrupt of a mapped PPI was acknowledged on the CPU where this vCPU is loaded, and its
  // priority dropped; it stays active until the guest, or Flush, deactivates it.
  VcpuMask PhysicalPending(uint32_t intid);

  // Level of a PPI as computed by the kernel: any time if it is not mapped, else while not loaded.
  VcpuMask SetPrivateLine(uint32_t intid, bool level);

  // Level of a mapped PPI, sampled while the vCPU is loaded and at rest. Needed where the guest can see the
  // difference: before its pending state is read or written, and before HasDeliverable.
  VcpuMask SamplePhysicalLine(uint32_t intid, bool level);

  // Whether the physical interrupt must be in active state while this vCPU is loaded.
  bool PhysicalActive(uint32_t intid) const { return private_[intid].physical_active; }

  // ---- state ------------------------------------------------------------------------------------------

  // True if the CPU interface would signal IRQ or FIQ: ends WFI. At rest only.
  bool HasDeliverable() const;

  // CPU_OFF and CPU_ON: the CPU interface is reset; interrupts keep their state. At rest only.
  [[gnu::cold, clang::minsize]] VcpuMask ResetInterface();

  uint32_t affinity() const { return affinity_; }

 private:
  friend class VirtualGic;

  uint32_t BitOf(uint32_t list_register) const { return 1u << list_register; }

  // Takes over from image_, just read, what the guest did: acknowledge, end.
  void TakeOver(uint32_t index);
  // Makes what image_ holds agree with its interrupt's state, or takes the interrupt out of it.
  VcpuMask Reconcile(uint32_t index) { return Relist(index) ? 0 : ReconcileSlow(index); }
  // The common case: an interrupt that the guest is done with pends again, and nobody else waits.
  bool Relist(uint32_t index);
  bool CanRelist(const VirtualInterrupt& interrupt) const;
  static ListRegister Compose(const VirtualInterrupt& interrupt);
  VcpuMask ReconcileSlow(uint32_t index);
  // Puts an interrupt that is in no list, or in this list register, there as pending.
  void List(uint32_t index, VirtualInterrupt& interrupt);
  // The list register is free again; `write`: the hardware must be told.
  void Free(uint32_t index, bool write);
  // Takes a pending interrupt out; it is in no list then.
  void Unlist(uint32_t index);
  // Takes an active interrupt out. If its priority is still active it goes to the evicted ones: the guest's
  // EOI is to end it. Otherwise it was made active by a write, or waits for DIR only.
  [[gnu::cold, clang::minsize]] void Evict(uint32_t index);
  // Of the evicted ones whose priority is not active any more, deactivates so many.
  [[gnu::cold, clang::minsize]] VcpuMask EndEvicted(uint32_t ended);
  // The interrupt is not active any more. `by_hardware`: nor is the physical one.
  void EndActive(VirtualInterrupt& interrupt, bool by_hardware);
  void SetListedActive(uint32_t index, bool active);

  // Lists queued interrupts while there is room.
  void FillFree();
  // No list register is free and all images are current: the highest priorities get them.
  [[gnu::cold, clang::minsize]] void FillFull();
  [[gnu::cold, clang::minsize]] bool Replace(VirtualInterrupt& top);
  bool MoreToList() const;  // a queued interrupt whose group GICD_CTLR has on
  bool LevelActive(uint32_t level) const {
    return ((active_priorities_[0][level / 32] | active_priorities_[1][level / 32]) >>
            (level % 32)) &
           1;
  }
  // Lower is better: groups that the guest has switched off come after all others.
  uint32_t Rank(uint32_t group, uint32_t priority) const;

  uint64_t PlainControl() const;  // with every interrupt in a list register
  uint64_t Control() const;
  // Flush has more to do than to write list registers.
  bool NeedsCare() const;
  [[gnu::cold, clang::minsize]] void ForgetAll();

  template <typename Hardware>
  [[gnu::noinline]] VcpuMask FlushAll(Hardware& hardware);
  template <typename Hardware>
  bool FlushOne(Hardware& hardware);
  template <typename Hardware>
  void WriteNewer(Hardware& hardware);
  // Reads these list registers and reconciles those that changed on either side.
  template <typename Hardware>
  VcpuMask Refresh(Hardware& hardware, uint32_t list_registers);
  template <typename Hardware>
  [[gnu::noinline]] VcpuMask Fill(Hardware& hardware);
  template <typename Hardware>
  [[gnu::cold, clang::minsize]] void WriteAll(Hardware& hardware);
  template <typename Hardware>
  [[gnu::noinline]] void ReadInterface(Hardware& hardware);

  VirtualGic& gic_;
  const uint32_t index_;
  const uint32_t all_;  // bit n: list register n exists
  const uint32_t list_registers_;
  const uint32_t preemption_bits_;
  uint32_t affinity_ = 0;  // Aff3.Aff2.Aff1.Aff0
  bool attached_ = false;
  bool loaded_ = false;
  bool at_rest_ = true;
  bool dirty_ = false;
  bool overflow_ = false;  // queued interrupts wait for a list register
  bool reload_ = false;    // memory was reset under a loaded vCPU

  uint32_t used_ = 0;        // list registers that an interrupt is in, by what memory knows
  uint32_t newer_ = 0;       // those whose image the hardware does not have yet
  uint32_t marked_ = 0;      // used ones whose interrupt changed while the guest ran
  uint32_t deactivate_ = 0;  // PPIs whose physical interrupt Flush deactivates
  uint64_t control_ = 0;     // ICH_HCR_EL2 as last written
  VirtualMachineControl vmcr_;
  std::array<std::array<uint32_t, kMaxActivePriorityRegisters>, kGroups> active_priorities_ = {};
  std::array<ListRegister, kMaxListRegisters> image_ = {};
  std::array<VirtualInterrupt*, kMaxListRegisters> listed_ = {};
  PendingQueue queue_;
  InterruptList evicted_;
  std::array<VirtualInterrupt, kPrivateIntids> private_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_VIRTUAL_CPU_INTERFACE_H_
