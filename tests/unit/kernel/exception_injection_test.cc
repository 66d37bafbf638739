#include "kernel/vcpu/exception_injection.h"

#include <gtest/gtest.h>

#include "kernel/system_register.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/pstate.h"

namespace atoll {
namespace {

using namespace pstate;

constexpr uint64_t kVbar = 0xffff'8000'0801'1800;
constexpr uint64_t kFlags = uint64_t{0xa} << 28;

class InjectionTest : public ::testing::Test {
 protected:
  InjectionTest() {
    VbarEl12::value = kVbar;
    SctlrEl12::value = 1u << 23;  // SPAN
    FarEl12::value = 0x1111;
  }
  GuestProgress Guest() { return {pc, state}; }

  // ESR_EL2 of a Stage-2 data or instruction abort.
  static uint64_t DataAbort(uint64_t iss) { return uint64_t{0x24} << 26 | 1u << 25 | iss; }
  static uint64_t InstructionAbort(uint64_t iss) { return uint64_t{0x20} << 26 | 1u << 25 | iss; }

  uint64_t pc = 0x4008'0004;
  uint64_t state = kEl1h | kFlags;
  ExceptionInjector injector{true};
};

TEST_F(InjectionTest, TRAP_09_vector_by_source) {
  struct Source {
    uint64_t state;
    uint64_t offset;
  };
  for (const Source& source : {Source{kEl1t, 0x000}, Source{kEl1h, 0x200}, Source{kEl0t, 0x400},
                               Source{kAarch32User, 0x600}}) {
    pc = 0x1000;
    state = source.state;
    injector.InjectUndefined(Guest());
    EXPECT_EQ(pc, kVbar + source.offset);
    EXPECT_EQ(state & kModeMask, kEl1h);
    EXPECT_EQ(ElrEl12::value, 0x1000u);
    EXPECT_EQ(SpsrEl12::value, source.state);
  }
}

TEST_F(InjectionTest, TRAP_09_undefined_has_class_0_and_il) {
  injector.InjectUndefined(Guest());
  EXPECT_EQ(EsrEl12::value, 0x0200'0000u);
  EXPECT_EQ(FarEl12::value, 0x1111u);  // not defined for it: kept
}

TEST_F(InjectionTest, TRAP_09_CPU_07_spsr_is_the_state_before_and_the_new_one_is_masked) {
  const uint64_t before = kEl1h | kFlags | kDit | kUao | kSs | kIl | kBtype | kSsbs | kI;
  state = before;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(SpsrEl12::value, before);
  EXPECT_EQ(state, kEl1h | kFlags | kDit | kDaif);
}

TEST_F(InjectionTest, TRAP_09_CPU_08_pan_is_set_unless_span) {
  state = kEl0t;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(state & kPan, 0u);
  state = kEl1h | kPan;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(state & kPan, kPan);  // kept
  SctlrEl12::value = 0;
  state = kEl0t;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(state & kPan, kPan);
}

TEST_F(InjectionTest, TRAP_09_ssbs_by_dssbs) {
  SctlrEl12::value |= uint64_t{1} << 44;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(state & kSsbs, kSsbs);
  state = kEl1h;
  ExceptionInjector(false).InjectUndefined(Guest());  // no FEAT_SSBS: the bit is reserved
  EXPECT_EQ(state & kSsbs, 0u);
}

TEST_F(InjectionTest, TRAP_09_aarch32_state_does_not_leak_into_aarch64) {
  state = kAarch32User | kFlags | kT | kE | kGe | kItHigh | kItLow | kQ | kAarch32Ssbs;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(state, kEl1h | kFlags | kDaif);
}

TEST_F(InjectionTest, reserved_bits_of_vbar_do_not_move_the_vector) {
  VbarEl12::value = kVbar | 0x7ff;
  injector.InjectUndefined(Guest());
  EXPECT_EQ(pc, kVbar + 0x200);
}

TEST_F(InjectionTest, TRAP_10_data_abort_from_el1_and_el0) {
  injector.InjectExternalAbort(Guest(), DataAbort(0x0180'0006 | esr::kWrite), 0xdead'0008);
  EXPECT_EQ(EsrEl12::value, uint64_t{0x25} << 26 | 1u << 25 | 1u << 6 | 0x10);
  EXPECT_EQ(FarEl12::value, 0xdead'0008u);
  state = kEl0t;
  injector.InjectExternalAbort(Guest(), DataAbort(0x0180'0006), 0xdead'0000);
  EXPECT_EQ(EsrEl12::value, uint64_t{0x24} << 26 | 1u << 25 | 0x10);
  state = kAarch32User;
  injector.InjectExternalAbort(Guest(), DataAbort(0x6), 0xdead'0000);
  EXPECT_EQ(EsrEl12::value >> 26, 0x24u);
}

TEST_F(InjectionTest, TRAP_11_instruction_abort_from_el1_and_el0) {
  injector.InjectExternalAbort(Guest(), InstructionAbort(0x7), 0x0900'0000);
  EXPECT_EQ(EsrEl12::value, uint64_t{0x21} << 26 | 1u << 25 | 0x10);
  EXPECT_EQ(FarEl12::value, 0x0900'0000u);
  state = kEl0t;
  injector.InjectExternalAbort(Guest(), InstructionAbort(0x7), 0x0900'0000);
  EXPECT_EQ(EsrEl12::value, uint64_t{0x20} << 26 | 1u << 25 | 0x10);
}

TEST_F(InjectionTest, TRAP_12_MEM_10_abort_on_a_table_walk_says_so) {
  injector.InjectExternalAbort(Guest(), DataAbort(0x6 | esr::kTableWalk), 0x8000);
  const uint64_t status = EsrEl12::value & 0x3f;
  EXPECT_GE(status, 0x14u);
  EXPECT_LE(status, 0x17u);
  injector.InjectExternalAbort(Guest(), InstructionAbort(0x6 | esr::kTableWalk), 0x8000);
  EXPECT_EQ(EsrEl12::value & 0x3c, 0x14u);
}

TEST_F(InjectionTest, TRAP_15_cache_maintenance_abort_keeps_cm) {
  injector.InjectExternalAbort(Guest(), DataAbort(0x6 | esr::kCacheMaintenance | esr::kWrite),
                               0x8000);
  EXPECT_EQ(EsrEl12::value & esr::kIssMask, esr::kCacheMaintenance | esr::kWrite | 0x10);
}

TEST_F(InjectionTest, TRAP_08_DEBUG_03_skipping_ends_a_step_and_clears_btype) {
  state = kEl1h | kFlags | kSs | kBtype | kI;
  SkipInstruction(Guest(), esr::kIl);
  EXPECT_EQ(pc, 0x4008'0008u);
  EXPECT_EQ(state, kEl1h | kFlags | kI);
}

TEST_F(InjectionTest, TRAP_08_CPU_11_aarch32_skips_by_the_instructions_size) {
  state = kAarch32User | kT | kSs;
  SkipInstruction(Guest(), 0);
  EXPECT_EQ(pc, 0x4008'0006u);
  EXPECT_EQ(state, kAarch32User | kT);
  SkipInstruction(Guest(), esr::kIl);
  EXPECT_EQ(pc, 0x4008'000au);
}

// IT[7:0] scattered as in SPSR: IT[7:2] in [15:10], IT[1:0] in [26:25].
uint64_t It(uint64_t it) { return (it >> 2) << 10 | (it & 3) << 25; }

TEST_F(InjectionTest, TRAP_08_CPU_11_an_it_block_advances) {
  struct Step {
    uint64_t from;
    uint64_t to;
  };
  // ITTTT EQ: 0x01 -> 0x02 -> 0x04 -> 0x08 -> 0; ITE NE: 0x1c (mask x100) -> 0x18 -> 0.
  for (const Step& step : {Step{0x01, 0x02}, Step{0x02, 0x04}, Step{0x04, 0x08}, Step{0x08, 0},
                           Step{0x1c, 0x18}, Step{0x18, 0}, Step{0xa1, 0xa2}, Step{0, 0}}) {
    state = kAarch32User | kT | kFlags | It(step.from);
    SkipInstruction(Guest(), 0);
    EXPECT_EQ(state, kAarch32User | kT | kFlags | It(step.to)) << std::hex << step.from;
  }
}

}  // namespace
}  // namespace atoll
