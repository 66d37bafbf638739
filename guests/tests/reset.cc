// SYSTEM_RESET: the guest boots twice and looks for what is left of its first life (checklist: psci-smccc).
#include "guests/tests/test.h"

namespace bare {
namespace {

inline constexpr uintptr_t kOldData = kRam + 32 * 1024 * 1024;

// Virtual time goes on over a reset, and nothing else does: it tells the second life from the first.
bool IsSecondLife() { return Counter() > 10 * BARE_READ("cntfrq_el0"); }

TEST(PSCI_46_MEM_05_GIC_097_PL011_69_PL031_42_MMIO_20_everything_is_as_new) {
  if (!IsSecondLife()) {
    for (uint64_t i = 0; i < 1024; ++i) Store<uint64_t>(kOldData + i * 4096, ~i);
    Store32(kRtc + 4, 0x1234'5678);
    Store32(kRtc + 0x10, 1);
    Store32(kUart + 0x24, 0x55);
    Store32(kVirtio + 0x70, 3);
    Store32(kDistributor + 0x104, ~0u);
    Store<uint8_t>(kDistributor + 0x400 + 60, 0x20);
    EnableInterrupt(kVirtualTimerIntid);
    BARE_WRITE("cntv_cval_el0", 11 * BARE_READ("cntfrq_el0"));
    BARE_WRITE("cntv_ctl_el0", 1);
    WaitForInterrupt();
    // The other vCPU is in the middle of an access.
    EXPECT(StartSecondary([] {
      for (;;) (void)Load32(kRtc);
    }));
    Spin(3000);
    Print("\n");
    (void)Psci(0x8400'0009);
    Print("FAIL unexpected return of SYSTEM_RESET\n");
    PowerOff();
  }
  EXPECT(IsOff(1));
  EXPECT_EQ(Load32(kRtc + 4), 0);
  EXPECT_EQ(Load32(kRtc + 0x10), 0);
  EXPECT_EQ(Load32(kUart + 0x24), 0);
  EXPECT_EQ(Load32(kVirtio + 0x70), 0);
  EXPECT_EQ(Load32(kDistributor + 0x104), 0);
  EXPECT_EQ(Load<uint8_t>(kDistributor + 0x400 + 60), 0xa0);  // InitializeGic, which ran again
  for (uint64_t i = 0; i < 1024; ++i) {
    const uint64_t found = Load<uint64_t>(kOldData + i * 4096);
    EXPECT(found == 0 || found == ~i);
  }
}

}  // namespace
}  // namespace bare
