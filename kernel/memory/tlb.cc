#include "kernel/memory/tlb.h"

#include "kernel/system_register.h"
#include "kernel/vcpu/traps_configuration.h"

namespace atoll {
namespace {

// Above this the whole address space is cheaper to invalidate than its pages one by one.
inline constexpr uint64_t kMaxPages = 64;

inline constexpr unsigned kAsidShift = 48;
inline constexpr uint64_t kTlbiAddressMask = (uint64_t{1} << 44) - 1;  // VA[55:12] in [43:0]
inline constexpr uint64_t kTlbiIpaMask = (uint64_t{1} << 40) - 1;      // IPA[51:12] in [39:0]

// The guest's regime for the life of this object: TGE = 0, its VTTBR_EL2, interrupts masked (an
// interrupt taken with TGE = 0 would run the kernel's handler with a guest's configuration).
class GuestRegime {
 public:
  explicit GuestRegime(uint64_t vttbr) : hcr_(HcrEl2::Read()), vttbr_(VttbrEl2::Read()) {
    asm volatile("mrs %0, daif\n msr daifset, #0xf" : "=r"(daif_)::"memory");
    VttbrEl2::Write(vttbr);
    HcrEl2::Write(hcr_ & ~hcr::kTge);
    Isb();  // the TLBI below is executed in the new context
  }
  ~GuestRegime() {
    VttbrEl2::Write(vttbr_);
    HcrEl2::Write(hcr_);
    Isb();
    asm volatile("msr daif, %0" ::"r"(daif_) : "memory");
  }
  GuestRegime(const GuestRegime&) = delete;
  GuestRegime& operator=(const GuestRegime&) = delete;

 private:
  uint64_t hcr_;
  uint64_t vttbr_;
  uint64_t daif_;
};

// Ends an invalidation: complete on every CPU, and nothing fetched before it is executed after it.
void Complete() {
  DsbIsh();
  Isb();
}

}  // namespace

void TaskTlb::Invalidate(uint64_t address, uint64_t bytes) {
  if (bytes > kMaxPages * kPageSize) return InvalidateAll();
  DsbIshst();
  for (uint64_t done = 0; done < bytes; done += kPageSize) {
    const uint64_t operand =
        asid_ << kAsidShift | (((address + done) / kPageSize) & kTlbiAddressMask);
    // Not the last-level form: tables may have been freed.
    asm volatile("tlbi vae1is, %0" ::"r"(operand) : "memory");
  }
  Complete();
}

void TaskTlb::InvalidateAll() {
  DsbIshst();
  asm volatile("tlbi aside1is, %0" ::"r"(asid_ << kAsidShift) : "memory");
  Complete();
}

void KernelTlb::Invalidate(uint64_t address, uint64_t bytes) {
  DsbIshst();
  if (bytes > kMaxPages * kPageSize) {
    asm volatile("tlbi vmalle1is" ::: "memory");
  } else {
    for (uint64_t done = 0; done < bytes; done += kPageSize) {
      // Kernel entries are global: of every ASID.
      asm volatile("tlbi vaae1is, %0" ::"r"(((address + done) / kPageSize) & kTlbiAddressMask)
                   : "memory");
    }
  }
  Complete();
}

void Stage2Tlb::Invalidate(uint64_t address, uint64_t bytes) {
  if (bytes > kMaxPages * kPageSize) return InvalidateAll();
  DsbIshst();
  GuestRegime regime(vttbr_);
  for (uint64_t done = 0; done < bytes; done += kPageSize) {
    asm volatile("tlbi ipas2e1is, %0" ::"r"(((address + done) / kPageSize) & kTlbiIpaMask)
                 : "memory");
  }
  // IPAS2E1IS does not reach entries that combine both stages: they are tagged by virtual address
  // only. Once the Stage-2 entries are gone everywhere, drop all Stage-1 and combined entries of
  // the VM.
  DsbIsh();
  asm volatile("tlbi vmalle1is" ::: "memory");
  Complete();
}

void Stage2Tlb::InvalidateAll() {
  DsbIshst();
  GuestRegime regime(vttbr_);
  asm volatile("tlbi vmalls12e1is" ::: "memory");
  Complete();
}

void Stage2Tlb::InvalidateLocal() {
  GuestRegime regime(vttbr_);
  asm volatile(
      "tlbi vmalle1\n"
      "ic iallu\n"
      "dsb nsh" ::
          : "memory");
  Isb();
}

void InvalidateEveryTask() {
  DsbIshst();
  asm volatile("tlbi alle2is" ::: "memory");  // with E2H = 1: all of EL2&0, whatever TGE is
  Complete();
}

void InvalidateEveryGuest() {
  DsbIshst();
  asm volatile(
      "tlbi alle1is\n"
      "ic ialluis" ::  // VPIPT instruction caches are tagged with the VMID
      : "memory");
  Complete();
}

}  // namespace atoll
