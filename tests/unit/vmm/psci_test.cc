#include "services/vmm/psci.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/machine.h"

namespace atoll {
namespace {

constexpr uint64_t kOutsideRam[] = {0, kRamBase.value - 4, kRamBase.value + kRamBytes,
                                    ~uint64_t{0} - 3, uint64_t{1} << 40};

bool Exists(uint64_t id) {
  switch (id) {
    case kPsciVersion:
    case kCpuOff:
    case kMigrateInfoType:
    case kSystemOff:
    case kSystemReset:
    case kPsciFeatures:
    case kCpuSuspend:
    case kCpuOn:
    case kAffinityInfo:
    case kSystemReset2:
    case kSystemReset2 | k64:
    case kCpuSuspend | k64:
    case kCpuOn | k64:
    case kAffinityInfo | k64: return true;
    default: return false;
  }
}

// ---- which functions exist

TEST(Psci, PSCI_01_PSCI_04_features_of_every_mandatory_function) {
  Machine m;
  for (uint64_t id :
       {kPsciVersion, kCpuSuspend, kCpuSuspend | k64, kCpuOff, kCpuOn, kCpuOn | k64, kAffinityInfo,
        kAffinityInfo | k64, kSystemOff, kSystemReset, kPsciFeatures}) {
    EXPECT_EQ(m.Call(0, kPsciFeatures, id), 0) << std::hex << id;
  }
}

TEST(Psci, PSCI_02_version_is_1_1_and_has_no_64_bit_form) {
  Machine m;
  EXPECT_EQ(m.Call(0, kPsciVersion), 0x10001);
  EXPECT_EQ(m.Call(3, kPsciVersion), 0x10001);
  EXPECT_EQ(m.Call(0, kPsciVersion | k64), kNotSupported);
}

TEST(Psci, PSCI_05_features_of_features) {
  Machine m;
  EXPECT_EQ(m.Call(0, kPsciFeatures, kPsciFeatures), 0);
}

TEST(Psci, PSCI_06_features_of_foreign_ids_are_not_supported) {
  Machine m;
  for (uint64_t id : {0x0UL, 0x80000001UL, 0x80008000UL, 0xc4000000UL, 0x84000020UL, 0x8400ff01UL,
                      0x85000003UL, 0x04000003UL, 0x84010003UL, 0xffffffffUL}) {
    EXPECT_EQ(m.Call(0, kPsciFeatures, id), kNotSupported) << std::hex << id;
  }
}

TEST(Psci, PSCI_07_suspend_has_original_format_and_no_os_initiated_mode) {
  Machine m;
  EXPECT_EQ(m.Call(0, kPsciFeatures, kCpuSuspend), 0);
  EXPECT_EQ(m.Call(0, kPsciFeatures, kCpuSuspend | k64), 0);
}

TEST(Psci, PSCI_08_PSCI_09_features_and_calls_agree_for_every_id) {
  for (uint64_t number = 0; number < 0x20; ++number) {
    for (uint64_t id : {0x84000000 + number, 0xc4000000 + number}) {
      Machine m;
      const bool supported = m.Call(0, kPsciFeatures, id) != kNotSupported;
      EXPECT_EQ(supported, Exists(id)) << std::hex << id;
      EXPECT_EQ(m.Call(0, id, kPsciVersion) != kNotSupported, supported) << std::hex << id;
    }
  }
}

TEST(Psci, PSCI_10_PSCI_50_PSCI_51_PSCI_54_PSCI_55_optional_functions_are_not_supported) {
  Machine m;
  for (uint64_t number : {0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x13, 0x14, 0x15, 0x1f}) {
    for (uint64_t id : {0x84000000 + number, 0xc4000000 + number}) {
      EXPECT_EQ(m.Call(0, id, 0, kEntry.value), kNotSupported) << std::hex << id;
      EXPECT_EQ(m.Call(0, kPsciFeatures, id), kNotSupported) << std::hex << id;
    }
  }
  EXPECT_EQ(m.vm.state, VmState::kRunning);
}

TEST(Psci, PSCI_52_PSCI_53_no_trusted_os_to_migrate) {
  Machine m;
  EXPECT_EQ(m.Call(0, kMigrateInfoType), 2);
  for (uint64_t id : {kMigrate, kMigrate | k64, kMigrateInfoUpCpu, kMigrateInfoUpCpu | k64}) {
    EXPECT_EQ(m.Call(0, id), kNotSupported) << std::hex << id;
  }
}

// ---- CPU_ON

TEST(Psci, PSCI_11_cpu_on_starts_each_vcpu_at_entry_with_context) {
  Machine m;
  for (uint32_t i = 1; i < kAffinities.size(); ++i) {
    const GuestPhys entry = kEntry + 0x1000 * i;
    EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[i], entry.value, 0xfeed'0000'0000'0000 + i),
              kSuccess);
    EXPECT_EQ(m.vm.vcpus[i].state, VcpuState::kOn);
    EXPECT_EQ(m.vm.vcpus[i].entry, entry);
    EXPECT_EQ(m.vm.vcpus[i].context, 0xfeed'0000'0000'0000 + i);
    EXPECT_EQ(m.vm.vcpus[i].starts, 1);
  }
}

TEST(Psci, PSCI_16_PSCI_17_cpu_on_of_no_vcpu_starts_nothing) {
  Machine m;
  for (uint64_t target : {0x2UL, 0x100UL, 0x1'0201UL, 0x4'0000'0000UL, 0x0100'0000UL, 0x8000'0001UL,
                          0x100'0000'0001UL, 0x8000'0000'0000'0001UL, ~0UL}) {
    EXPECT_EQ(m.Call(0, kCpuOn | k64, target, kEntry.value), kInvalidParameters)
        << std::hex << target;
  }
  EXPECT_EQ(m.Call(0, kCpuOn, 0x8000'0001, kEntry.value), kInvalidParameters);
  for (const auto& vcpu : std::span(m.vm.vcpus).subspan(1)) EXPECT_EQ(vcpu.starts, 0);
}

TEST(Psci, PSCI_18_PSCI_19_PSCI_20_of_several_callers_one_succeeds) {
  Machine m;
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[0], kEntry.value), kAlreadyOn);  // itself
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value, 1), kSuccess);
  EXPECT_EQ(m.Call(1, kCpuOn, kAffinities[1], kEntry.value, 2), kAlreadyOn);
  EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[1], kEntry.value, 3), kAlreadyOn);
  EXPECT_EQ(m.vm.vcpus[1].starts, 1);
  EXPECT_EQ(m.vm.vcpus[1].context, 1);
}

TEST(Psci, PSCI_21_entry_outside_ram_is_refused_and_the_target_stays_off) {
  Machine m;
  for (uint64_t entry : kOutsideRam) {
    EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[1], entry), kInvalidAddress) << std::hex << entry;
  }
  EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[1], kRamBase.value + kRamBytes - 2),
            kInvalidAddress);
  EXPECT_EQ(m.vm.vcpus[1].starts, 0);
  m.vm.start_error = Status::kOutOfRange;  // the kernel knows better
  EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[1], kEntry.value), kInvalidAddress);
  m.vm.start_error = Status::kOk;
  EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[1], kRamBase.value + kRamBytes - 4), kSuccess);
  EXPECT_EQ(m.Call(0, kCpuOn | k64, kAffinities[2], kRamBase.value), kSuccess);
}

TEST(Psci, PSCI_22_misaligned_entry_is_an_invalid_address) {
  Machine m;
  for (uint64_t bytes : {1, 2, 3}) {
    EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value + bytes), kInvalidAddress);
  }
  EXPECT_EQ(m.vm.vcpus[1].starts, 0);
}

TEST(Psci, PSCI_23_32_bit_cpu_on_ignores_upper_halves) {
  Machine m;
  constexpr uint64_t kJunk = 0xdead'beef'0000'0000;
  EXPECT_EQ(m.Call(0, kJunk | kCpuOn, kJunk | kAffinities[1], kJunk | kEntry.value, kJunk | 0x55),
            kSuccess);
  EXPECT_EQ(m.vm.vcpus[1].entry, kEntry);
  EXPECT_EQ(m.vm.vcpus[1].context, 0x55);
  // Not an alias: Aff3 of the fourth vCPU lies in the upper half.
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[3], kEntry.value), kAlreadyOn);
  EXPECT_EQ(m.vm.vcpus[3].starts, 0);
}

TEST(Psci, PSCI_24_failed_start_can_be_tried_again) {
  Machine m;
  for (Status error :
       {Status::kResourceExhausted, Status::kFailedPrecondition, Status::kInternal}) {
    m.vm.start_error = error;
    EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kInternalFailure);
    EXPECT_EQ(m.Call(0, kAffinityInfo, kAffinities[1]), 1);
  }
  m.vm.start_error = Status::kOk;
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
}

TEST(Psci, PSCI_26_on_and_off_in_a_loop) {
  Machine m;
  for (int i = 1; i <= 100; ++i) {
    ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
    ASSERT_EQ(m.Call(1, kCpuOff), std::nullopt);
    ASSERT_EQ(m.Call(0, kAffinityInfo, kAffinities[1]), 1);
    ASSERT_EQ(m.vm.vcpus[1].starts, i);
  }
}

// ---- CPU_OFF, CPU_SUSPEND

TEST(Psci, PSCI_27_PSCI_28_cpu_off_is_not_answered_and_ignores_arguments) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
  EXPECT_EQ(m.Call(1, kCpuOff, ~0UL, ~0UL, ~0UL), std::nullopt);
  EXPECT_EQ(m.vm.vcpus[1].state, VcpuState::kOff);
  EXPECT_EQ(m.vm.vcpus[0].state, VcpuState::kOn);
  EXPECT_EQ(m.vm.state, VmState::kRunning);
}

TEST(Psci, PSCI_30_last_cpu_off_stops_the_vm) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn | k64, kAffinities[3], kEntry.value), kSuccess);
  EXPECT_EQ(m.Call(0, kCpuOff), std::nullopt);
  EXPECT_EQ(m.vm.state, VmState::kRunning);
  EXPECT_EQ(m.Call(3, kCpuOff), std::nullopt);
  EXPECT_EQ(m.vm.state, VmState::kOff);
}

TEST(Psci, PSCI_31_PSCI_32_PSCI_35_every_valid_state_is_a_standby) {
  Machine m;
  const uint64_t states[] = {0, 0xffff, 1 << 16, 1 << 24, 3 << 24, 0x0301'ffff};
  int suspends = 0;
  for (uint64_t id : {kCpuSuspend, kCpuSuspend | k64}) {
    for (uint64_t state : states) {
      EXPECT_EQ(m.Call(0, id, state, kOutsideRam[0], 7), kSuccess) << std::hex << state;
      EXPECT_EQ(m.vm.vcpus[0].suspends, ++suspends);
    }
  }
  EXPECT_EQ(m.vm.vcpus[0].starts, 1);
  EXPECT_EQ(m.vm.vcpus[1].suspends, 0);
}

TEST(Psci, PSCI_34_reserved_bits_of_power_state) {
  Machine m;
  for (int bit : {17, 20, 23, 26, 30, 31}) {
    EXPECT_EQ(m.Call(0, kCpuSuspend, uint64_t{1} << bit), kInvalidParameters) << bit;
    EXPECT_EQ(m.Call(0, kCpuSuspend | k64, uint64_t{1} << bit), kInvalidParameters) << bit;
  }
  EXPECT_EQ(m.vm.vcpus[0].suspends, 0);
}

TEST(Psci, PSCI_37_no_os_initiated_mode) {
  Machine m;
  EXPECT_EQ(m.Call(0, kSetSuspendMode, 1), kNotSupported);
  EXPECT_EQ(m.Call(0, kSetSuspendMode, 0), kNotSupported);
  EXPECT_EQ(m.Call(0, kCpuSuspend), kSuccess);
}

// ---- AFFINITY_INFO

TEST(Psci, PSCI_38_PSCI_43_affinity_info_follows_the_power_state) {
  Machine m;
  for (uint32_t i = 1; i < kAffinities.size(); ++i) {
    EXPECT_EQ(m.Call(0, kAffinityInfo | k64, kAffinities[i]), 1);
    ASSERT_EQ(m.Call(0, kCpuOn | k64, kAffinities[i], kEntry.value), kSuccess);
    EXPECT_EQ(m.Call(0, kAffinityInfo | k64, kAffinities[i]), 0);
  }
  EXPECT_EQ(m.Call(0, kAffinityInfo, kAffinities[0]), 0);
}

TEST(Psci, PSCI_39_PSCI_40_affinity_info_of_no_vcpu) {
  Machine m;
  for (uint64_t target : {0x2UL, 0x100UL, 0x0100'0000UL, 0x8000'0000UL, 0x100'0000'0000UL, ~0UL}) {
    EXPECT_EQ(m.Call(0, kAffinityInfo | k64, target), kInvalidParameters) << std::hex << target;
  }
}

TEST(Psci, PSCI_41_PSCI_42_other_affinity_levels_are_invalid) {
  Machine m;
  for (uint64_t level : {1UL, 2UL, 3UL, 4UL, 0xffUL, 0x8000'0000UL, 1UL << 32, 1UL << 63, ~0UL}) {
    EXPECT_EQ(m.Call(0, kAffinityInfo | k64, 0, level), kInvalidParameters) << std::hex << level;
  }
  EXPECT_EQ(m.Call(0, kAffinityInfo, 0, 1UL << 32), 0);  // 32-bit call: upper half ignored
}

// ---- system

TEST(Psci, PSCI_45_PSCI_46_system_off_and_reset_are_not_answered) {
  for (const auto& [id, state] :
       {std::pair(kSystemOff, VmState::kOff), std::pair(kSystemReset, VmState::kReset)}) {
    Machine m;
    ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
    EXPECT_EQ(m.Call(1, id, ~0UL, ~0UL, ~0UL), std::nullopt);
    EXPECT_EQ(m.vm.state, state);
    for (const auto& vcpu : m.vm.vcpus) EXPECT_EQ(vcpu.state, VcpuState::kOff);
  }
}

TEST(Psci, PSCI_49_system_reset2_resets_or_names_the_mistake) {
  for (const uint64_t id : {kSystemReset2, kSystemReset2 | k64}) {
    Machine m;
    for (const uint64_t type :
         {1UL, 2UL, 0x7fff'ffffUL, 0x100UL, 0x8000'0000UL, 0x8000'0001UL, ~0UL}) {
      EXPECT_EQ(m.Call(0, id, type), kInvalidParameters) << std::hex << type;
    }
    EXPECT_EQ(m.vm.state, VmState::kRunning);
    // The type has 32 bits in either form; the cookie is the vendor's.
    EXPECT_EQ(m.Call(0, id, 0x5'0000'0000UL, ~0UL), std::nullopt);
    EXPECT_EQ(m.vm.state, VmState::kReset);
  }
}

TEST(Psci, PSCI_47_several_ends_at_once_are_one) {
  Machine m;
  EXPECT_EQ(m.Call(0, kSystemReset), std::nullopt);
  EXPECT_EQ(m.Call(1, kSystemOff), std::nullopt);
  EXPECT_EQ(m.Call(2, kCpuOff), std::nullopt);
  EXPECT_EQ(m.vm.state, VmState::kReset);
  EXPECT_EQ(m.vm.stops, 1);
}

// ---- restart

TEST(Psci, PSCI_56_PSCI_58_cpu_on_redelivered_after_its_effect_succeeds_once) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value, 9), kSuccess);  // the reply was lost
  EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value, 9), kSuccess);
  EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value, 9), kSuccess);
  EXPECT_EQ(m.vm.vcpus[1].starts, 1);
  EXPECT_EQ(m.vm.vcpus[0].starts, 1);
}

TEST(Psci, PSCI_56_cpu_on_redelivered_before_its_effect_starts_the_target) {
  Machine m;
  m.vm.start_error = Status::kInternal;  // stands for the death between note and kernel call
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value, 9), kInternalFailure);
  m.vm.start_error = Status::kOk;
  EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value, 9), kSuccess);
  EXPECT_EQ(m.vm.vcpus[1].starts, 1);
}

TEST(Psci, PSCI_56_cpu_on_of_a_running_target_stays_already_on_when_redelivered) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kAlreadyOn);
  EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value), kAlreadyOn);
  EXPECT_EQ(m.vm.vcpus[1].starts, 1);
}

TEST(Psci, PSCI_20_target_found_on_only_by_the_kernel_is_already_on) {
  Machine m;
  m.vm.start_error = Status::kAlreadyExists;
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kAlreadyOn);
}

TEST(Psci, PSCI_56_token_seen_before_counts_only_for_a_redelivered_call) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
  --m.call_id;  // as after a reset that began to count anew
  EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kAlreadyOn);
}

TEST(Psci, PSCI_56_scribbled_journal_starts_nothing_twice) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
  m.journal.NoteCpuOn(0xdead'beef);
  EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value), kAlreadyOn);
  EXPECT_EQ(m.vm.vcpus[1].starts, 1);
}

TEST(Psci, PSCI_56_a_damaged_note_of_cpu_on_is_mended_or_says_that_nobody_knows) {
  constexpr size_t kCopyBytes = 24;
  for (size_t byte = 0; byte < 2 * kCopyBytes; ++byte) {
    Machine m;
    ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
    auto* const journal = reinterpret_cast<uint8_t*>(&m.journal);
    journal[byte] ^= 0x10;
    EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess) << byte;
    journal[byte] ^= 0x10;
    journal[(byte + kCopyBytes) % (2 * kCopyBytes)] ^= 0x21;
    EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[1], kEntry.value), kInternalFailure) << byte;
    EXPECT_EQ(m.vm.vcpus[1].starts, 1);
    // Another vCPU's is noted as ever.
    EXPECT_EQ(m.Call(0, kCpuOn, kAffinities[2], kEntry.value), kSuccess);
    EXPECT_EQ(m.Redeliver(0, kCpuOn, kAffinities[2], kEntry.value), kSuccess);
  }
}

TEST(Psci, PSCI_56_suspend_redelivered_is_answered) {
  Machine m;
  ASSERT_EQ(m.Call(0, kCpuSuspend), kSuccess);
  EXPECT_EQ(m.Redeliver(0, kCpuSuspend), kSuccess);
}

TEST(Psci, PSCI_57_system_off_redelivered_ends_as_asked) {
  for (const auto& [id, state] :
       {std::pair(kSystemOff, VmState::kOff), std::pair(kSystemReset, VmState::kReset)}) {
    Machine m;
    ASSERT_EQ(m.Call(0, id), std::nullopt);
    EXPECT_EQ(m.Redeliver(0, id), std::nullopt);
    EXPECT_EQ(m.vm.state, state);
    EXPECT_EQ(m.vm.stops, 1);
  }
}

// Whatever the call of the kernel at which vmm dies, before its effect or after it.
TEST(Psci, PSCI_56_PSCI_57_PSCI_58_every_function_takes_effect_once_wherever_vmm_died) {
  struct Case {
    uint64_t function, x1, x2, x3;
    uint32_t vcpus_on;  // before
  };
  constexpr Case kCases[] = {
      {kCpuOn, kAffinities[2], kEntry.value, 9, 1},
      {kCpuOn | k64, kAffinities[3], kEntry.value, 9, 2},
      {kCpuOn, kAffinities[1], kEntry.value, 9, 2},  // is on
      {kCpuOff, 0, 0, 0, 2},
      {kCpuOff, 0, 0, 0, 1},  // the last one
      {kCpuSuspend, 0, 0, 0, 1},
      {kAffinityInfo, kAffinities[1], 0, 0, 2},
      {kSystemOff, 0, 0, 0, 2},
      {kSystemReset, 0, 0, 0, 2},
      {kSystemReset2, 0, 0, 0, 2},
  };
  for (const Case& c : kCases) {
    Machine reference;
    if (c.vcpus_on == 2) (void)reference.vm.StartVcpu(1, kEntry, 0);
    const auto wanted = reference.Call(0, c.function, c.x1, c.x2, c.x3);
    for (const bool after : {false, true}) {
      for (int call = 0;; ++call) {
        Machine m;
        if (c.vcpus_on == 2) (void)m.powers.TurnOn(1, kEntry, 0);
        m.vm.die_at = call;
        m.vm.die_after_effect = after;
        bool died = false;
        try {
          (void)m.Call(0, c.function, c.x1, c.x2, c.x3);
        } catch (const FakeVm::Death&) {
          died = true;
        }
        if (!died) break;
        if (m.vm.state == VmState::kRunning) {
          const auto error = m.powers.Compare();
          EXPECT_FALSE(error.has_value()) << error->text() << c.function << " " << call;
        }
        // The call of a vCPU that is off has been cancelled.
        if (m.vm.vcpus[0].state == VcpuState::kOn) {
          EXPECT_EQ(m.Redeliver(0, c.function, c.x1, c.x2, c.x3), wanted)
              << c.function << " " << call;
        }
        EXPECT_EQ(m.vm.state, reference.vm.state) << c.function << " " << call;
        EXPECT_EQ(m.vm.stops, reference.vm.stops);
        for (size_t i = 0; i < kAffinities.size(); ++i) {
          EXPECT_EQ(m.vm.vcpus[i].state, reference.vm.vcpus[i].state) << c.function << " " << call;
          EXPECT_EQ(m.vm.vcpus[i].starts, reference.vm.vcpus[i].starts);
          EXPECT_EQ(m.vm.vcpus[i].suspends != 0, reference.vm.vcpus[i].suspends != 0);
        }
        ASSERT_LT(call, 20);
      }
    }
  }
}

}  // namespace
}  // namespace atoll
