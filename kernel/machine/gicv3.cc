#include "kernel/machine/gicv3.h"

#include <algorithm>

namespace atoll {
namespace {

enum class Gicd : uint32_t { kCtlr = 0x0000, kTyper = 0x0004, kIrouter = 0x6000 };
constexpr uint32_t kCtlrEnableGrp1 = 1u << 1;  // EnableGrp1 or EnableGrp1A: both with one Security state, and
                                               // as seen by the Non-secure one of two
constexpr uint32_t kCtlrAre = 1u << 4;         // ARE or ARE_NS
constexpr uint32_t kCtlrRwp = 1u << 31;
constexpr uint32_t kTyperItLinesMask = 0x1f;   // ITLinesNumber: 32 * (N + 1) INTIDs

enum class Gicr : uint32_t { kCtlr = 0x0000, kTyper = 0x0008, kWaker = 0x0014 };
constexpr uint32_t kGicrCtlrRwp = 1u << 3;
constexpr uint64_t kTyperVlpis = 1u << 1;
constexpr uint64_t kTyperLast = 1u << 4;
constexpr unsigned kTyperAffinityShift = 32;
constexpr uint32_t kWakerProcessorSleep = 1u << 1;
constexpr uint32_t kWakerChildrenAsleep = 1u << 2;
constexpr uint64_t kFrameBytes = 0x10000;
constexpr uint64_t kSgiBase = kFrameBytes;  // of a redistributor: RD_base, then SGI_base
constexpr uint64_t kStride = 2 * kFrameBytes;
constexpr uint64_t kStrideVlpis = 4 * kFrameBytes;  // GICv4: VLPI_base and a reserved frame

constexpr uint32_t kMaxSpins = 1'000'000;

template <typename Value, typename Offset>
volatile Value& Register(uintptr_t base, Offset offset) {
  return *reinterpret_cast<volatile Value*>(base + static_cast<uint32_t>(offset));
}

// Aff3 moves from bits [39:32] of MPIDR_EL1 to bits [31:24] of GICR_TYPER's affinity.
constexpr uint64_t PackedAffinity(uint64_t mpidr) {
  return ((mpidr >> 32 & 0xff) << 24) | (mpidr & 0xff'ffff);
}

}  // namespace

void GicInterruptRegisters::SetPriority(uint32_t intid, uint8_t priority) const {
  *reinterpret_cast<volatile uint8_t*>(frame_ + kIpriorityr + intid) = priority;
}

void GicInterruptRegisters::SetEdge(uint32_t intid, bool edge) const {
  const uint32_t bit = 2u << (intid % 16 * 2);  // two bits each, the upper one: edge
  volatile uint32_t& word = Word(kIcfgr + intid / 16 * 4);
  word = edge ? word | bit : word & ~bit;
}

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

uint32_t GicDistributor::SpiEnd() const {
  const uint32_t lines = Register<uint32_t>(base_, Gicd::kTyper) & kTyperItLinesMask;
  return std::min(32 * (lines + 1), kGicSpiEnd);
}

void GicDistributor::WaitForWrites() const {
  for (uint32_t spin = 0; spin < kMaxSpins; ++spin) {
    if ((Register<uint32_t>(base_, Gicd::kCtlr) & kCtlrRwp) == 0) return;
  }
}

void GicDistributor::Initialize() const {
  // ARE may be changed only while the groups are disabled.
  Register<uint32_t>(base_, Gicd::kCtlr) = 0;
  WaitForWrites();
  Register<uint32_t>(base_, Gicd::kCtlr) = kCtlrAre;
  WaitForWrites();
  for (uint32_t first = kGicFirstSpi; first < SpiEnd(); first += 32) interrupts_.Reset(first);
  WaitForWrites();
  Register<uint32_t>(base_, Gicd::kCtlr) = kCtlrAre | kCtlrEnableGrp1;
  WaitForWrites();
}

void GicDistributor::Route(uint32_t intid, uint64_t affinity) const {
  constexpr uint64_t kAffinity = 0xff'00ff'ffff;
  Register<uint64_t>(base_, static_cast<uint32_t>(Gicd::kIrouter) + intid * 8) = affinity & kAffinity;
}

GicRedistributor::GicRedistributor(uintptr_t base) : base_(base), interrupts_(base + kSgiBase) {}

Result<GicRedistributor> GicRedistributor::Find(VirtAddr region, uint64_t bytes, uint64_t affinity) {
  for (uint64_t offset = 0; InBounds(offset, kStride, bytes);) {
    const uintptr_t base = region.value + offset;
    const uint64_t typer = Register<uint64_t>(base, Gicr::kTyper);
    if (typer >> kTyperAffinityShift == PackedAffinity(affinity)) return GicRedistributor(base);
    if ((typer & kTyperLast) != 0) break;
    offset += (typer & kTyperVlpis) != 0 ? kStrideVlpis : kStride;
  }
  return std::unexpected(Status::kNotFound);
}

Status GicRedistributor::Initialize() const {
  volatile uint32_t& waker = Register<uint32_t>(base_, Gicr::kWaker);
  waker = waker & ~kWakerProcessorSleep;
  uint32_t spin = 0;
  while ((waker & kWakerChildrenAsleep) != 0) {
    if (++spin == kMaxSpins) return Status::kDeadlineExceeded;
  }
  interrupts_.Reset(0);
  WaitForWrites();
  return Status::kOk;
}

void GicRedistributor::WaitForWrites() const {
  for (uint32_t spin = 0; spin < kMaxSpins; ++spin) {
    if ((Register<uint32_t>(base_, Gicr::kCtlr) & kGicrCtlrRwp) == 0) return;
  }
}

}  // namespace atoll
