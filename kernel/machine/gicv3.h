// The machine's GICv3: distributor, redistributors, and the CPU interface's system registers.
// Arm GICv3 and GICv4 architecture specification, IHI0069; chapter 12 has the registers.
#ifndef ATOLL_KERNEL_MACHINE_GICV3_H_
#define ATOLL_KERNEL_MACHINE_GICV3_H_

#include <algorithm>
#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll {

inline constexpr uint32_t kGicFirstSpi = 32;
inline constexpr uint32_t kGicSpiEnd = 1020;  // INTIDs 1020-1023 are special
inline constexpr uint8_t kGicDefaultPriority = 0xa0;

namespace gic {

enum class Gicd : uint32_t { kCtlr = 0x0000, kTyper = 0x0004, kIrouter = 0x6000 };
enum class Gicr : uint32_t { kCtlr = 0x0000, kTyper = 0x0008, kWaker = 0x0014 };
inline constexpr uint32_t kGicdCtlrRwp = 1u << 31;
inline constexpr uint32_t kGicrCtlrRwp = 1u << 3;
inline constexpr uint32_t kTyperItLinesMask = 0x1f;  // ITLinesNumber: 32 * (N + 1) INTIDs
inline constexpr uint64_t kIrouterAffinity = 0xff'00ff'ffff;
inline constexpr uint32_t kMaxSpins = 1'000'000;

template <typename Value, typename Offset>
volatile Value& Register(uintptr_t base, Offset offset) {
  return *reinterpret_cast<volatile Value*>(base + static_cast<uint32_t>(offset));
}

// Until bit `busy` of a control register is clear, bounded.
inline void WaitForClear(const volatile uint32_t& control, uint32_t busy) {
  for (uint32_t spin = 0; spin < kMaxSpins && (control & busy) != 0; ++spin) {
  }
}

}  // namespace gic

// Register frames with one bit, byte or two bits per interrupt; the same layout in GICD and in
// GICR's SGI_base.
class GicInterruptRegisters {
 public:
  constexpr GicInterruptRegisters() = default;
  constexpr explicit GicInterruptRegisters(uintptr_t frame) : frame_(frame) {}

  // All take effect when the call returns, except disabling: see WaitForWrites of the owner.
  void Enable(uint32_t intid) const { WriteBit(kIsenabler, intid); }
  void Disable(uint32_t intid) const { WriteBit(kIcenabler, intid); }
  void SetPending(uint32_t intid) const { WriteBit(kIspendr, intid); }
  void ClearPending(uint32_t intid) const { WriteBit(kIcpendr, intid); }
  void SetActive(uint32_t intid) const { WriteBit(kIsactiver, intid); }
  void ClearActive(uint32_t intid) const { WriteBit(kIcactiver, intid); }
  bool IsActive(uint32_t intid) const { return ReadBit(kIsactiver, intid); }
  bool IsPending(uint32_t intid) const { return ReadBit(kIspendr, intid); }
  bool IsEnabled(uint32_t intid) const { return ReadBit(kIsenabler, intid); }
  void SetPriority(uint32_t intid, uint8_t priority) const {
    *reinterpret_cast<volatile uint8_t*>(frame_ + kIpriorityr + intid) = priority;
  }
  // While it is disabled.
  void SetEdge(uint32_t intid, bool edge) const {
    const uint32_t bit = 2u << (intid % 16 * 2);  // two bits each, the upper one: edge
    volatile uint32_t& word = Word(kIcfgr + intid / 16 * 4);
    word = edge ? word | bit : word & ~bit;
  }

  // Interrupts first..first + 31: Group 1, disabled, neither pending nor active, default priority.
  void Reset(uint32_t first) const;

 private:
  static constexpr uint32_t kIgroupr = 0x0080;
  static constexpr uint32_t kIsenabler = 0x0100;
  static constexpr uint32_t kIcenabler = 0x0180;
  static constexpr uint32_t kIspendr = 0x0200;
  static constexpr uint32_t kIcpendr = 0x0280;
  static constexpr uint32_t kIsactiver = 0x0300;
  static constexpr uint32_t kIcactiver = 0x0380;
  static constexpr uint32_t kIpriorityr = 0x0400;
  static constexpr uint32_t kIcfgr = 0x0c00;

  volatile uint32_t& Word(uint32_t offset) const {
    return *reinterpret_cast<volatile uint32_t*>(frame_ + offset);
  }
  void WriteBit(uint32_t bank, uint32_t intid) const {
    Word(bank + intid / 32 * 4) = 1u << (intid % 32);
  }
  bool ReadBit(uint32_t bank, uint32_t intid) const {
    return ((Word(bank + intid / 32 * 4) >> (intid % 32)) & 1) != 0;
  }

  uintptr_t frame_ = 0;
};

// The distributor: SPIs. One for the machine; registers are written with single stores, so that
// CPUs may call it for different interrupts at the same time, except SetEdge (read-modify-write:
// hold a lock).
class GicDistributor {
 public:
  constexpr GicDistributor() = default;
  constexpr explicit GicDistributor(VirtAddr registers)
      : base_(registers.value), interrupts_(registers.value) {}

  // Everything disabled and in Group 1, then affinity routing and Group 1 on. Once, on the boot
  // CPU.
  void Initialize() const;

  const GicInterruptRegisters& interrupts() const { return interrupts_; }

  // One above the highest INTID of an SPI: 32 to 1020.
  uint32_t SpiEnd() const {
    const uint32_t lines =
        gic::Register<uint32_t>(base_, gic::Gicd::kTyper) & gic::kTyperItLinesMask;
    return std::min(32 * (lines + 1), kGicSpiEnd);
  }
  bool HasSpi(uint32_t intid) const { return intid >= kGicFirstSpi && intid < SpiEnd(); }

  // Sends an SPI to the CPU with this MPIDR_EL1 affinity.
  void Route(uint32_t intid, uint64_t affinity) const {
    gic::Register<uint64_t>(base_ + intid * sizeof(uint64_t), gic::Gicd::kIrouter) =
        affinity & gic::kIrouterAffinity;
  }

  // Until a Disable has reached all CPUs (GICD_CTLR.RWP), bounded.
  void WaitForWrites() const {
    gic::WaitForClear(gic::Register<uint32_t>(base_, gic::Gicd::kCtlr), gic::kGicdCtlrRwp);
  }

 private:
  uintptr_t base_ = 0;
  GicInterruptRegisters interrupts_;
};

// One CPU's redistributor: SGIs and PPIs (INTIDs below 32).
class GicRedistributor {
 public:
  constexpr GicRedistributor() = default;

  // Finds the frame of the CPU with this affinity in a region of `bytes`. NOT_FOUND if it is not
  // there.
  static Result<GicRedistributor> Find(VirtAddr region, uint64_t bytes, uint64_t affinity);

  // Wakes it, and resets its interrupts. On its own CPU. DEADLINE_EXCEEDED if it does not wake.
  Status Initialize() const;

  const GicInterruptRegisters& interrupts() const { return interrupts_; }

  // As GicDistributor::WaitForWrites.
  void WaitForWrites() const {
    gic::WaitForClear(gic::Register<uint32_t>(base_, gic::Gicr::kCtlr), gic::kGicrCtlrRwp);
  }

 private:
  explicit GicRedistributor(uintptr_t base);

  uintptr_t base_ = 0;
  GicInterruptRegisters interrupts_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_GICV3_H_
