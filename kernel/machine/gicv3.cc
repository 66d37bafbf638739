// Setting up: runs at boot only. What runs later is inline in the header.
#include "kernel/machine/gicv3.h"

namespace atoll {
namespace {

// EnableGrp1 or EnableGrp1A: both with one Security state, and as the Non-secure one of two sees it.
constexpr uint32_t kCtlrEnableGrp1 = 1u << 1;
constexpr uint32_t kCtlrAre = 1u << 4;  // ARE or ARE_NS

constexpr uint64_t kTyperVlpis = 1u << 1;
constexpr uint64_t kTyperLast = 1u << 4;
constexpr unsigned kTyperAffinityShift = 32;
constexpr uint32_t kWakerProcessorSleep = 1u << 1;
constexpr uint32_t kWakerChildrenAsleep = 1u << 2;
constexpr uint64_t kFrameBytes = 0x10000;
constexpr uint64_t kSgiBase = kFrameBytes;  // of a redistributor: RD_base, then SGI_base
constexpr uint64_t kStride = 2 * kFrameBytes;
constexpr uint64_t kStrideVlpis = 4 * kFrameBytes;  // GICv4: VLPI_base and a reserved frame

// Aff3 moves from bits [39:32] of MPIDR_EL1 to bits [31:24] of GICR_TYPER's affinity.
constexpr uint64_t PackedAffinity(uint64_t mpidr) {
  return ((mpidr >> 32 & 0xff) << 24) | (mpidr & 0xff'ffff);
}

}  // namespace

void GicInterruptRegisters::Reset(uint32_t first) const {
  const uint32_t offset = first / 32 * 4;
  constexpr uint32_t kAll = ~0u;
  Word(kIcenabler + offset) = kAll;
  Word(kIgroupr + offset) = kAll;
  Word(kIcpendr + offset) = kAll;
  Word(kIcactiver + offset) = kAll;
  for (uint32_t i = 0; i < 32; i += 4) {
    Word(kIpriorityr + first + i) = kGicDefaultPriority * 0x0101'0101u;
  }
}

void GicDistributor::Initialize() const {
  // ARE may be changed only while the groups are disabled.
  gic::Register<uint32_t>(base_, gic::Gicd::kCtlr) = 0;
  WaitForWrites();
  gic::Register<uint32_t>(base_, gic::Gicd::kCtlr) = kCtlrAre;
  WaitForWrites();
  for (uint32_t first = kGicFirstSpi; first < SpiEnd(); first += 32) interrupts_.Reset(first);
  WaitForWrites();
  gic::Register<uint32_t>(base_, gic::Gicd::kCtlr) = kCtlrAre | kCtlrEnableGrp1;
  WaitForWrites();
}

GicRedistributor::GicRedistributor(uintptr_t base) : base_(base), interrupts_(base + kSgiBase) {}

Result<GicRedistributor> GicRedistributor::Find(VirtAddr region, uint64_t bytes,
                                                uint64_t affinity) {
  for (uint64_t offset = 0; InBounds(offset, kStride, bytes);) {
    const uintptr_t base = region.value + offset;
    const uint64_t typer = gic::Register<uint64_t>(base, gic::Gicr::kTyper);
    if (typer >> kTyperAffinityShift == PackedAffinity(affinity)) return GicRedistributor(base);
    if ((typer & kTyperLast) != 0) break;
    offset += (typer & kTyperVlpis) != 0 ? kStrideVlpis : kStride;
  }
  return std::unexpected(Status::kNotFound);
}

Status GicRedistributor::Initialize() const {
  volatile uint32_t& waker = gic::Register<uint32_t>(base_, gic::Gicr::kWaker);
  waker = waker & ~kWakerProcessorSleep;
  uint32_t spin = 0;
  while ((waker & kWakerChildrenAsleep) != 0) {
    if (++spin == gic::kMaxSpins) return Status::kDeadlineExceeded;
  }
  interrupts_.Reset(0);
  WaitForWrites();
  return Status::kOk;
}

}  // namespace atoll
