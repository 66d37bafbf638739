// A virtual machine with one vCPU that takes interrupts, and an SPI, for tests of what comes to it.
#ifndef ATOLL_TESTS_UNIT_VGIC_DELIVERY_H_
#define ATOLL_TESTS_UNIT_VGIC_DELIVERY_H_

#include <gtest/gtest.h>

#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {

inline constexpr uint32_t kSpi = 40;
inline constexpr uint64_t kIsenabler = 0x100, kIcenabler = 0x180, kIspendr = 0x200,
                          kIcpendr = 0x280, kIsactiver = 0x300, kIcactiver = 0x380;
inline constexpr uint32_t kSpurious = VirtualMachine::kSpurious;
inline constexpr uint32_t kTimer = VirtualMachine::kTimer;

class VgicDelivery : public testing::Test {
 protected:
  VgicDelivery() {
    vm.TurnOn();
    vm.Configure(kSpi, 0x80);
  }
  ~VgicDelivery() override { EXPECT_EQ(vm.Violation(), ""); }
  void MakeEdge() { vm.SetEdge(kSpi, true); }
  void ExpectTakenOnce() {
    EXPECT_TRUE(vm.Irq());
    EXPECT_EQ(vm.Acknowledge(), kSpi);
    vm.End(kSpi);
    EXPECT_FALSE(vm.Irq());
    EXPECT_EQ(vm.Acknowledge(), kSpurious);
  }

  VirtualMachine vm;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VGIC_DELIVERY_H_
