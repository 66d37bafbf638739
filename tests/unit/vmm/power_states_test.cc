// What a vmm that lost its mind did to its vCPUs is found, and what one did that died is not taken for that.
#include "services/vmm/power_states.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/vmm/machine.h"

namespace atoll {
namespace {

using Powers = VmmJournal::Powers;

std::string TextOf(const std::optional<ErrorText>& error) {
  return error.has_value() ? std::string(error->text()) : "";
}

Powers Noted(Machine& m) {
  Powers powers;
  EXPECT_EQ(m.journal.Load(powers), VmmJournal::Found::kGood);
  return powers;
}

TEST(PowerStates, what_the_guest_asked_for_is_as_it_should_be) {
  Machine m;
  EXPECT_EQ(TextOf(m.powers.Compare()), "");
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
  ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[2], kEntry.value), kSuccess);
  EXPECT_EQ(TextOf(m.powers.Compare()), "");
  ASSERT_EQ(m.Call(0, kCpuOff), std::nullopt);
  ASSERT_EQ(m.Call(2, kCpuOff), std::nullopt);
  EXPECT_EQ(TextOf(m.powers.Compare()), "");
  EXPECT_EQ(Noted(m).on, 2u);
  EXPECT_EQ(Noted(m).changing, 0u);
}

TEST(PowerStates, a_vcpu_that_nobody_asked_to_stop_or_start_is_found) {
  for (uint32_t vcpu = 0; vcpu < kAffinities.size(); ++vcpu) {
    Machine m;
    ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
    const bool on = m.vm.vcpus[vcpu].state == VcpuState::kOn;
    (void)(on ? m.vm.StopVcpu(vcpu) : m.vm.StartVcpu(vcpu, kEntry, 0));
    EXPECT_EQ(TextOf(m.powers.Compare()), "the VM has to end: vCPU " + std::to_string(vcpu) +
                                              (on ? " is off" : " is on") +
                                              ", and its guest did not ask for that");
  }
  Machine m;
  (void)m.vm.StopVcpu(0);
  EXPECT_NE(TextOf(m.powers.Compare()), "");
}

TEST(PowerStates, a_start_that_fails_changes_nothing) {
  Machine m;
  for (const Status error : {Status::kInternal, Status::kOutOfRange}) {
    m.vm.start_error = error;
    EXPECT_EQ(m.powers.TurnOn(1, kEntry, 0), error);
    EXPECT_EQ(TextOf(m.powers.Compare()), "");
    EXPECT_EQ(Noted(m).on, 1u);
  }
  m.vm.start_error = Status::kOk;
  EXPECT_EQ(m.powers.TurnOn(0, kEntry, 0), Status::kAlreadyExists);
  EXPECT_EQ(Noted(m).on, 1u);
}

// Of a layout without a number, or damaged: the kernel knows as well, and from then on it is noted.
TEST(PowerStates, a_journal_that_knows_nothing_takes_it_from_the_kernel) {
  for (const int filler : {0x00, 0xa5}) {
    for (const bool looked_at : {true, false}) {
      Machine m;
      ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
      std::memset(static_cast<void*>(&m.journal), filler, sizeof(m.journal));
      if (looked_at) {
        EXPECT_EQ(TextOf(m.powers.Compare()), "");
        EXPECT_EQ(Noted(m).on, 3u);
      }
      ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[0], kEntry.value), kAlreadyOn);
      ASSERT_EQ(m.Call(1, kCpuOff), std::nullopt);
      EXPECT_EQ(Noted(m).on, 1u);
      (void)m.vm.StartVcpu(2, kEntry, 0);
      EXPECT_NE(TextOf(m.powers.Compare()), "");
    }
  }
  Machine m;
  (void)m.vm.StopVcpu(0);
  std::memset(static_cast<void*>(&m.journal), 0, sizeof(m.journal));
  EXPECT_NE(TextOf(m.powers.Compare()), "");  // a VM that can never run again
}

// Whatever the store at which vmm dies: its successor finds nothing amiss, and the call that comes again has its effect once.
TEST(PowerStates, a_change_is_whole_after_every_store) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  struct Case {
    uint64_t function, x1, x2;
    uint32_t caller;
  };
  constexpr Case kCases[] = {
      {kCpuOn, kAffinities[2], kEntry.value, 0},
      {kCpuOn, kAffinities[1], kEntry.value, 0},  // is on
      {kCpuOff, 0, 0, 1},
  };
  constexpr size_t kNoteBytes = 48;
  for (const Case& c : kCases) {
    Machine m;
    ASSERT_EQ(m.Call(0, kCpuOn, kAffinities[1], kEntry.value), kSuccess);
    const auto journal = std::as_writable_bytes(std::span(&m.journal, 1));
    MemoryStates states({journal.first(kNoteBytes),
                         journal.subspan(kNoteBytes + sizeof(KeptDevices)),
                         std::as_writable_bytes(std::span(m.vm.vcpus))});
    std::optional<int64_t> wanted;
    ASSERT_TRUE(states.Run([&] { wanted = m.Call(c.caller, c.function, c.x1, c.x2); }));
    const std::vector<FakeVm::Vcpu> after = m.vm.vcpus;
    const bool changes = c.x1 != kAffinities[1];
    EXPECT_GE(states.size(), changes ? 14u : 1u);  // two changes of the record, and the kernel's
    for (size_t state = 0; state < states.size(); ++state) {
      states.Restore(state);
      ASSERT_EQ(TextOf(m.powers.Compare()), "") << c.function << " " << state;
      if (m.vm.vcpus[c.caller].state == VcpuState::kOn) {
        ASSERT_EQ(m.Redeliver(c.caller, c.function, c.x1, c.x2), wanted);
      }
      for (size_t i = 0; i < after.size(); ++i) {
        ASSERT_EQ(m.vm.vcpus[i].state, after[i].state) << c.function << " " << state;
        ASSERT_EQ(m.vm.vcpus[i].starts, after[i].starts) << c.function << " " << state;
      }
      ASSERT_EQ(TextOf(m.powers.Compare()), "");
      ASSERT_EQ(Noted(m).changing, 0u);
      (void)m.vm.StopVcpu(3);  // was off
      (void)m.vm.StartVcpu(3, kEntry, 0);
      ASSERT_NE(TextOf(m.powers.Compare()), "");
    }
  }
}

}  // namespace
}  // namespace atoll
