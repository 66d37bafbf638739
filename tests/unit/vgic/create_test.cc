// The kernel's virtual GIC against wrong arguments.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "kernel/vgic/virtual_gic.h"
#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

const VirtualTypeRegister kType = FakeVirtualInterface(4).ReadType();

class VgicCreate : public testing::Test {
 protected:
  std::span<std::byte> Memory(size_t bytes) {
    memory_.resize(bytes + 64);
    const size_t skip = -reinterpret_cast<uintptr_t>(memory_.data()) % 64;
    return {memory_.data() + skip, bytes};
  }

 private:
  std::vector<std::byte> memory_;
};

TEST_F(VgicCreate, takes_exactly_what_it_says_it_needs) {
  for (const auto& [intids, vcpus] : {std::pair{64u, 1u}, {256u, 8u}, {1024u, 64u}}) {
    const size_t needed = VirtualGic::BytesNeeded(intids, vcpus);
    EXPECT_TRUE(VirtualGic::Create(Memory(needed), intids, vcpus, kType).has_value());
    EXPECT_EQ(VirtualGic::Create(Memory(needed - 1), intids, vcpus, kType).error(),
              Status::kResourceExhausted);
  }
  EXPECT_LE(VirtualGic::BytesNeeded(256, 4), 4 * 4096u);
}

TEST_F(VgicCreate, refuses_shapes_that_do_not_exist) {
  const std::span<std::byte> memory = Memory(1 << 20);
  for (const auto& [intids, vcpus] : {std::pair{0u, 1u},
                                      {32u, 1u},
                                      {65u, 1u},
                                      {1056u, 1u},
                                      {~0u, 1u},
                                      {64u, 0u},
                                      {64u, 65u},
                                      {64u, ~0u}}) {
    EXPECT_EQ(VirtualGic::Create(memory, intids, vcpus, kType).error(), Status::kInvalidArgument);
  }
  EXPECT_EQ(VirtualGic::Create(memory.subspan(8), 64, 1, kType).error(), Status::kInvalidArgument);
  EXPECT_EQ(VirtualGic::Create(memory, 64, 1, {31}).error(), Status::kInvalidArgument);
}

TEST_F(VgicCreate, refuses_to_attach_twice) {
  VirtualGic& gic = **VirtualGic::Create(Memory(1 << 20), 64, 2, kType);
  VcpuMask kicks = 0;
  EXPECT_EQ(gic.Attach(2, 0, kicks), Status::kOutOfRange);
  EXPECT_EQ(gic.Attach(0, 0, kicks), Status::kOk);
  EXPECT_EQ(gic.Attach(0, 1, kicks), Status::kAlreadyExists);
  EXPECT_EQ(gic.Attach(1, 0, kicks), Status::kAlreadyExists);
  EXPECT_EQ(gic.Attach(1, 1, kicks), Status::kOk);
}

TEST_F(VgicCreate, a_vcpu_attached_late_gets_what_waits_for_it) {
  VirtualGic& gic = **VirtualGic::Create(Memory(1 << 20), 64, 2, kType);
  VcpuMask kicks = 0;
  ASSERT_EQ(gic.Attach(0, 0, kicks), Status::kOk);
  EXPECT_EQ(gic.Set(InterruptField::kControl, 0, 3, 3, 0).value(), 0u);
  EXPECT_EQ(gic.Set(InterruptField::kRoute, 40, ~uint64_t{0}, 1, 0).value(), 0u);
  EXPECT_EQ(gic.Set(InterruptField::kEnabled, 32, 0x100, 0x100, 0).value(), 0u);
  EXPECT_EQ(gic.SetLine(40, true), 0u);
  ASSERT_EQ(gic.Attach(1, 1, kicks), Status::kOk);
  EXPECT_EQ(kicks, 2u);
}

TEST_F(VgicCreate, refuses_fields_beyond_their_shape) {
  VirtualGic& gic = **VirtualGic::Create(Memory(1 << 20), 64, 2, kType);
  VcpuMask kicks = 0;
  ASSERT_EQ(gic.Attach(0, 0, kicks), Status::kOk);
  for (const InterruptField field :
       {InterruptField::kGroup, InterruptField::kEnabled, InterruptField::kPending,
        InterruptField::kActive, InterruptField::kEdge}) {
    EXPECT_EQ(gic.Get(field, 32, 0, 0).error(), Status::kInvalidArgument);
    EXPECT_EQ(gic.Get(field, 32, 33, 0).error(), Status::kInvalidArgument);
    EXPECT_EQ(gic.Set(field, 32, uint64_t{1} << 32, 0, 0).error(), Status::kInvalidArgument);
    // vCPU 1 is allowed but not attached, vCPU 2 and all others are neither.
    for (uint32_t vcpu : {1u, 2u, 63u, 64u, ~0u}) {
      EXPECT_EQ(gic.Get(field, 0, 32, vcpu).error(), Status::kOutOfRange);
      EXPECT_EQ(gic.Set(field, 0, 1, 1, vcpu).error(), Status::kOutOfRange);
      EXPECT_EQ(gic.MustSync(field, 0, 32, vcpu), 0u);
    }
    for (uint32_t first : {64u, 1019u, 1024u, ~0u}) {
      EXPECT_EQ(gic.Get(field, first, 32, 0).value(), 0u);
      EXPECT_EQ(gic.Set(field, first, 0xffff'ffff, 0xffff'ffff, 0).value(), 0u);
      EXPECT_EQ(gic.MustSync(field, first, 32, 0), 0u);
    }
  }
  EXPECT_EQ(gic.Get(InterruptField::kPriority, 32, 9, 0).error(), Status::kInvalidArgument);
  EXPECT_EQ(gic.Get(InterruptField::kRoute, 32, 2, 0).error(), Status::kInvalidArgument);
  EXPECT_EQ(gic.Get(InterruptField::kLines, 0, 1, 0).value(), 64u);
  EXPECT_EQ(gic.Set(InterruptField::kLines, 0, 1, 1, 0).error(), Status::kPermissionDenied);
  const auto no_field = static_cast<InterruptField>(99);
  EXPECT_EQ(gic.Get(no_field, 32, 1, 0).error(), Status::kInvalidArgument);
  EXPECT_EQ(gic.Set(no_field, 32, 1, 1, 0).error(), Status::kInvalidArgument);
}

TEST_F(VgicCreate, a_range_may_cross_from_private_to_shared_interrupts) {
  VirtualGic& gic = **VirtualGic::Create(Memory(1 << 20), 64, 1, kType);
  VcpuMask kicks = 0;
  ASSERT_EQ(gic.Attach(0, 0, kicks), Status::kOk);
  ASSERT_TRUE(gic.Set(InterruptField::kPriority, 30, 0xff'ff'ff'ff, 0x10'20'30'40, 0).has_value());
  EXPECT_EQ(gic.Get(InterruptField::kPriority, 30, 4, 0).value(), 0x10'20'30'40u);
  EXPECT_EQ(gic.Get(InterruptField::kPriority, 32, 1, 0).value(), 0x20u);
}

}  // namespace
}  // namespace atoll
