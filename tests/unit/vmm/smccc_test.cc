#include "services/vmm/smccc.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/machine.h"

namespace atoll {
namespace {

constexpr uint64_t kVersion = 0x80000000, kArchFeatures = 0x80000001;

// Ids that other products or firmware answer.
constexpr uint64_t kForeignIds[] = {
    0x80000002,                                      // SOC_ID
    0x80000003,                                      // FEATURE_AVAILABILITY
    0x80008000, 0x80007fff, 0x80003fff,              // WORKAROUND_1, 2, 3
    0x84000050, 0x84000051, 0x84000052, 0x84000053,  // TRNG
    0xc4000053, 0xc5000020, 0xc5000021,              // paravirtual time
    0x84000060, 0x84000063, 0x840000ef, 0xc4000063,  // FF-A
    0xc4000020, 0xc400003f,                          // SDEI
    0xc4000150, 0xc4000190,                          // RMI, RSI
    0x8600ff01, 0x86000000, 0xc6000001,              // vendor hypervisor
};

TEST(Smccc, SMCCC_01_hvc_and_smc_give_the_same) {
  for (uint64_t id : {kPsciVersion, kVersion, kPsciFeatures, kCpuOn, kAffinityInfo, kMigrate}) {
    Machine by_hvc, by_smc;
    const Registers in{id, kAffinities[1], kEntry.value, 3};
    const auto hvc = by_hvc.CallRegisters(0, in, false);
    const auto smc = by_smc.CallRegisters(0, in, true);
    ASSERT_TRUE(hvc.has_value() && smc.has_value());
    EXPECT_EQ(hvc->x0, smc->x0) << std::hex << id;
  }
}

TEST(Smccc, SMCCC_05_upper_half_of_the_function_id_is_ignored) {
  Machine m;
  EXPECT_EQ(m.Call(0, 0xffff'ffff'0000'0000 | kPsciVersion), 0x10001);
  EXPECT_EQ(m.Call(0, 0x1'0000'0000 | kVersion), 0x10001);
}

TEST(Smccc, SMCCC_06_32_bit_calls_use_low_halves_of_arguments) {
  Machine m;
  EXPECT_EQ(m.Call(0, kArchFeatures, 0xabcd'0000'0000'0000 | kVersion), 0);
  EXPECT_EQ(m.Call(0, kPsciFeatures, 0xabcd'0000'0000'0000 | kCpuOn), 0);
  EXPECT_EQ(m.Call(0, kAffinityInfo, 0xabcd'0000'0000'0000, 0xabcd'0000'0000'0000), 0);
}

TEST(Smccc, SMCCC_08_registers_without_result_are_kept) {
  Machine m;
  for (uint64_t id :
       {kPsciVersion, kVersion, kArchFeatures, kPsciFeatures, kMigrate, 0x8600ff01UL}) {
    const auto out = m.CallRegisters(0, {id, 0x1111'0000'2222, 0x3333, ~0UL});
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(out->x1, 0x1111'0000'2222);
    EXPECT_EQ(out->x2, 0x3333);
    EXPECT_EQ(out->x3, ~0UL);
  }
}

TEST(Smccc, SMCCC_09_not_supported_fills_all_of_x0) {
  Machine m;
  const auto out = m.CallRegisters(0, {0x84000005});
  ASSERT_TRUE(out.has_value());
  EXPECT_EQ(out->x0, 0xffff'ffff'ffff'ffff);
}

TEST(Smccc, SMCCC_10_SMCCC_31_unknown_ids_of_every_owner) {
  Machine m;
  for (uint64_t owner = 0; owner < 64; ++owner) {
    for (uint64_t number : {0x0100, 0x7ffe, 0xfffe, 0xff00, 0xff01, 0xff03}) {
      for (uint64_t type : {0x80000000, 0xc0000000}) {
        const uint64_t id = type | (owner << 24) | number;
        EXPECT_EQ(m.Call(0, id, 0, kEntry.value), kNotSupported) << std::hex << id;
      }
    }
  }
  EXPECT_EQ(m.vm.state, VmState::kRunning);
}

TEST(Smccc, SMCCC_11_SMCCC_12_yielding_calls_and_reserved_bits) {
  Machine m;
  for (uint64_t id : {kPsciVersion, kCpuOn, kSystemOff, kVersion, kArchFeatures}) {
    EXPECT_EQ(m.Call(0, id & ~0x80000000UL), kNotSupported) << std::hex << id;
    for (int bit = 16; bit <= 23; ++bit) {
      EXPECT_EQ(m.Call(0, id | (1UL << bit)), kNotSupported) << std::hex << id << " bit " << bit;
    }
  }
  EXPECT_EQ(m.vm.state, VmState::kRunning);
}

TEST(Smccc, SMCCC_13_64_bit_ids_of_32_bit_functions) {
  Machine m;
  for (uint64_t id : {kPsciVersion, kCpuOff, kMigrateInfoType, kSystemOff, kSystemReset,
                      kPsciFeatures, kVersion, kArchFeatures}) {
    EXPECT_EQ(m.Call(0, id | k64, kVersion), kNotSupported) << std::hex << id;
  }
  EXPECT_EQ(m.vm.state, VmState::kRunning);
}

TEST(Smccc, SMCCC_15_SMCCC_16_version_is_1_1_and_announced_by_psci_features) {
  Machine m;
  EXPECT_EQ(m.Call(0, kPsciFeatures, kVersion), 0);
  EXPECT_EQ(m.Call(0, kVersion), 0x10001);
}

TEST(Smccc, SMCCC_17_SMCCC_20_arch_features_of_what_exists_on_every_vcpu) {
  Machine m;
  for (uint32_t vcpu = 0; vcpu < kAffinities.size(); ++vcpu) {
    EXPECT_EQ(m.Call(vcpu, kArchFeatures, kVersion), 0);
    EXPECT_EQ(m.Call(vcpu, kArchFeatures, kArchFeatures), 0);
    for (uint64_t id : kForeignIds) EXPECT_EQ(m.Call(vcpu, kArchFeatures, id), kNotSupported);
  }
}

TEST(Smccc, SMCCC_18_SMCCC_19_arch_features_and_arch_calls_agree) {
  Machine m;
  for (uint64_t id = 0x80000000; id < 0x80000020; ++id) {
    const bool announced = m.Call(0, kArchFeatures, id) != kNotSupported;
    EXPECT_EQ(announced, m.Call(0, id, kVersion) != kNotSupported) << std::hex << id;
  }
}

TEST(Smccc, SMCCC_21_SMCCC_22_SMCCC_23_workarounds_are_unknown) {
  Machine m;
  for (uint64_t id : {0x80008000, 0x80007fff, 0x80003fff}) {
    EXPECT_EQ(m.Call(0, kArchFeatures, id), kNotSupported) << std::hex << id;
    EXPECT_EQ(m.Call(0, id), kNotSupported) << std::hex << id;
  }
}

TEST(Smccc, SMCCC_26_SMCCC_27_SMCCC_28_SMCCC_29_SMCCC_30_services_that_are_not_here) {
  Machine m;
  for (uint64_t id : kForeignIds) {
    EXPECT_EQ(m.Call(0, id, 192), kNotSupported) << std::hex << id;
    EXPECT_EQ(m.Call(0, kPsciFeatures, id), kNotSupported) << std::hex << id;
  }
}

TEST(Smccc, SMCCC_32_a_caller_that_is_no_vcpu_is_refused) {
  Machine m;
  for (uint64_t badge : {uint64_t{kAffinities.size()}, uint64_t{1} << 32, ~uint64_t{0}}) {
    const CallInfo info{.badge = badge, .token = 1, .attempt = 1};
    const auto reply = m.calls.Smccc(info, {.x0 = kCpuOff});
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error(), Status::kInvalidArgument);
  }
  EXPECT_EQ(m.vm.vcpus[0].state, VcpuState::kOn);
}

TEST(Smccc, requests_that_no_kernel_sends_are_refused) {
  Machine m;
  const abi::Words words{kPsciVersion, 0, 0, 0, 2, 0};  // smc is neither 0 nor 1
  const Message bad_field =
      m.calls.Dispatch({}, {.label = abi::MakeLabel(HypercallInterface::kSmccc), .words = words});
  EXPECT_EQ(ReplyStatus(bad_field), Status::kInvalidArgument);
  const Message bad_label = m.calls.Dispatch({}, {.label = abi::MakeLabel(0xffff), .words = {}});
  EXPECT_EQ(ReplyStatus(bad_label), Status::kUnimplemented);
}

}  // namespace
}  // namespace atoll
