// Tests with all vCPUs of the machine at once, as many as it has. Work on them must not print: what it finds wrong is
// noted by CHECK() and reported by vCPU 0. Nothing here needs exclusives, so the MMU may be off.
#ifndef ATOLL_GUESTS_TESTS_VCPUS_H_
#define ATOLL_GUESTS_TESTS_VCPUS_H_

#include "guests/tests/test.h"

namespace bare {

// Long: the machine may be busy with other things.
inline constexpr uint64_t kPatienceMilliseconds = 20'000;

// How many vCPUs there are, by the redistributors.
uint32_t VcpuCount();

// work() on every vCPU with its GIC interface on and interrupts masked, this one (0) included. Returns when all are
// done and the others off; false, with a report, if one did not start, did not end, or a CHECK did not hold.
bool RunOnAll(void (*work)());
// The same on vCPUs 1, 2 ... only, to be followed by JoinAll.
bool StartOthers(void (*work)());
bool JoinAll();
// One of them. Its line of CHECK is reported by JoinAll.
bool StartOne(uint32_t vcpu, void (*work)());
bool JoinOne(uint32_t vcpu);

// Waits, in work on all vCPUs, until all have come here.
void Meet();

// Notes the first line of this vCPU at which `holds` is false.
bool Check(bool holds, int line);
#define CHECK(condition) ::bare::Check(static_cast<bool>(condition), __LINE__)

template <typename Predicate>
bool Patiently(Predicate done) {
  return WaitUntil(done, kPatienceMilliseconds);
}

// ---- interrupts of each vCPU -------------------------------------------------------------------

// How often each vCPU took each INTID since CountPerVcpu. Only the vCPU itself writes its row.
inline constexpr uint32_t kCountedIntids = 64;
inline constexpr uint32_t kMostVcpus = 8;
extern volatile uint32_t taken[kMostVcpus][kCountedIntids];
void CountPerVcpu(InterruptHandler also = nullptr);
uint32_t TakenByAll(uint32_t intid);

// Lets interrupts in for a moment: those that pend are taken, one after the other.
inline void LetIn() {
  UnmaskInterrupts();
  asm volatile("isb\n\tnop\n\tisb" ::: "memory");
  MaskInterrupts();
}
// Sleeps until `done` holds, woken by interrupts, which it takes.
template <typename Predicate>
void SleepUntil(Predicate done) {
  while (!done()) {
    WaitForInterrupt();
    LetIn();
  }
}

inline uintptr_t BankOf(uint32_t intid, uint32_t vcpu = 0) {
  return intid < 32 ? kRedistributor + vcpu * 0x2'0000 + 0x1'0000 : kDistributor;
}
inline void SetGicBit(uint32_t offset, uint32_t intid, uint32_t vcpu = 0) {
  Store32(BankOf(intid, vcpu) + offset + intid / 32 * 4, 1u << (intid % 32));
}
inline bool GicBit(uint32_t offset, uint32_t intid, uint32_t vcpu = 0) {
  return (Load32(BankOf(intid, vcpu) + offset + intid / 32 * 4) >> (intid % 32) & 1) != 0;
}
// Offsets of the one-bit banks (IHI0069), the same in distributor and redistributor.
inline constexpr uint32_t kSetEnable = 0x100, kClearEnable = 0x180, kSetPending = 0x200,
                          kClearPending = 0x280, kSetActive = 0x300, kClearActive = 0x380;

inline void SetRoute(uint32_t intid, uint64_t route) {
  Store<uint64_t>(kDistributor + 0x6000 + 8 * uintptr_t{intid}, route);
}
inline void SetPriority(uint32_t intid, uint8_t priority, uint32_t vcpu = 0) {
  Store<uint8_t>(BankOf(intid, vcpu) + 0x400 + intid, priority);
}
inline void SendSgiToOthers(uint32_t intid) {
  asm volatile("dsb ishst" ::: "memory");
  BARE_WRITE("icc_sgi1r_el1", uint64_t{1} << 40 | uint64_t{intid} << 24);
}
inline uint32_t Acknowledge() { return static_cast<uint32_t>(BARE_READ("icc_iar1_el1")); }
inline void EndOfInterrupt(uint32_t intid) { BARE_WRITE("icc_eoir1_el1", intid); }

// A little random number, of its own for each caller.
struct Random {
  uint64_t state;
  uint32_t Below(uint32_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>(state >> 20) % limit;
  }
};

}  // namespace bare

#endif  // ATOLL_GUESTS_TESTS_VCPUS_H_
