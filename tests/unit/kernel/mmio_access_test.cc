#include "kernel/vcpu/mmio_access.h"

#include <gtest/gtest.h>

namespace atoll {
namespace {

// ISS of a data abort with a valid syndrome.
constexpr uint64_t Iss(unsigned size_log2, bool sign, unsigned reg, bool sixty_four, bool write) {
  return uint64_t{1} << 24 | size_log2 << 22 | (sign ? 1u << 21 : 0) | reg << 16 |
         (sixty_four ? 1u << 15 : 0) | (write ? 1u << 6 : 0) | 0x07;
}

TEST(MmioAccess, TRAP_13_decodes_every_size_and_register) {
  for (unsigned log2 = 0; log2 < 4; ++log2) {
    for (unsigned reg = 0; reg < 32; ++reg) {
      const auto access = MmioAccess::Decode(Iss(log2, false, reg, false, (reg & 1) != 0));
      ASSERT_TRUE(access);
      EXPECT_EQ(access->size, 1u << log2);
      EXPECT_EQ(access->register_number, reg);
      EXPECT_EQ(access->write, (reg & 1) != 0);
    }
  }
}

TEST(MmioAccess, TRAP_13_loads_zero_extend) {
  constexpr uint64_t kAll = 0xfedc'ba98'8765'4321;
  EXPECT_EQ(MmioAccess::Decode(Iss(0, false, 1, false, false))->Complete(kAll), 0x21u);
  EXPECT_EQ(MmioAccess::Decode(Iss(1, false, 1, false, false))->Complete(kAll), 0x4321u);
  EXPECT_EQ(MmioAccess::Decode(Iss(2, false, 1, false, false))->Complete(kAll), 0x8765'4321u);
  EXPECT_EQ(MmioAccess::Decode(Iss(3, false, 1, true, false))->Complete(kAll), kAll);
}

TEST(MmioAccess, TRAP_13_loads_sign_extend_to_32_or_64_bits) {
  EXPECT_EQ(MmioAccess::Decode(Iss(0, true, 1, false, false))->Complete(0x80), 0xffff'ff80u);
  EXPECT_EQ(MmioAccess::Decode(Iss(0, true, 1, true, false))->Complete(0x80),
            0xffff'ffff'ffff'ff80u);
  EXPECT_EQ(MmioAccess::Decode(Iss(0, true, 1, true, false))->Complete(0x17f), 0x7fu);
  EXPECT_EQ(MmioAccess::Decode(Iss(1, true, 1, false, false))->Complete(0x8000), 0xffff'8000u);
  EXPECT_EQ(MmioAccess::Decode(Iss(2, true, 1, true, false))->Complete(0x8000'0000),
            0xffff'ffff'8000'0000u);
}

TEST(MmioAccess, TRAP_13_stores_send_the_low_bytes_only) {
  constexpr uint64_t kAll = 0xfedc'ba98'8765'4321;
  EXPECT_EQ(MmioAccess::Decode(Iss(0, false, 1, false, true))->Outgoing(kAll), 0x21u);
  EXPECT_EQ(MmioAccess::Decode(Iss(1, false, 1, false, true))->Outgoing(kAll), 0x4321u);
  EXPECT_EQ(MmioAccess::Decode(Iss(2, false, 1, false, true))->Outgoing(kAll), 0x8765'4321u);
  EXPECT_EQ(MmioAccess::Decode(Iss(3, false, 1, true, true))->Outgoing(kAll), kAll);
}

TEST(MmioAccess, TRAP_14_TRAP_15_nothing_is_decoded_without_a_valid_syndrome) {
  const uint64_t good = Iss(2, false, 1, false, true);
  EXPECT_FALSE(
      MmioAccess::Decode(good & ~(uint64_t{1} << 24)));  // LDP, STP, SIMD, writeback, exclusives
  EXPECT_FALSE(MmioAccess::Decode(good | 1u << 8));      // cache maintenance
  EXPECT_FALSE(MmioAccess::Decode(good | 1u << 7));      // the guest's table walk
}

TEST(MmioAccess, CPU_10_big_endian_guests_see_values_as_a_little_endian_device_means_them) {
  const auto word = MmioAccess::Decode(Iss(2, false, 1, false, false), true);
  EXPECT_EQ(word->Complete(0x1122'3344), 0x4433'2211u);
  EXPECT_EQ(word->Outgoing(0xffff'ffff'4433'2211), 0x1122'3344u);
  const auto half = MmioAccess::Decode(Iss(1, true, 1, true, false), true);
  EXPECT_EQ(half->Complete(0x1280), 0xffff'ffff'ffff'8012u);
  EXPECT_EQ(MmioAccess::Decode(Iss(0, false, 1, false, false), true)->Complete(0x12), 0x12u);
  EXPECT_EQ(
      MmioAccess::Decode(Iss(3, false, 1, true, false), true)->Complete(0x0102'0304'0506'0708),
      0x0807'0605'0403'0201u);
}

TEST(MmioAccess, CPU_10_endianness_is_that_of_the_level) {
  constexpr uint64_t kEe = 1u << 25;
  constexpr uint64_t kE0e = 1u << 24;
  EXPECT_TRUE(IsBigEndian(pstate::kEl1h, kEe));
  EXPECT_FALSE(IsBigEndian(pstate::kEl1h, kE0e));
  EXPECT_TRUE(IsBigEndian(pstate::kEl0t, kE0e));
  EXPECT_FALSE(IsBigEndian(pstate::kEl0t, kEe));
  EXPECT_TRUE(IsBigEndian(pstate::kAarch32User | pstate::kE, 0));
  EXPECT_FALSE(IsBigEndian(pstate::kAarch32User, kEe | kE0e));
}

TEST(FaultAddress, joins_page_and_offset) {
  EXPECT_EQ(FaultAddress(0x0009'0000, 0xffff'0000'dead'b018), GuestPhys(0x0900'0018));
  EXPECT_EQ(FaultAddress(~uint64_t{0}, 0), GuestPhys(0x000f'ffff'ffff'f000));
}

TEST(FaultAddress, is_unknown_for_permission_faults_but_on_walks) {
  EXPECT_TRUE(IsFaultAddressValid(0x07));
  EXPECT_TRUE(IsFaultAddressValid(0x0b));
  EXPECT_FALSE(IsFaultAddressValid(0x0f));
  EXPECT_TRUE(IsFaultAddressValid(0x0f | 1u << 7));
}

}  // namespace
}  // namespace atoll
