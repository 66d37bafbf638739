// Saving and loading a vCPU against fake registers: nothing forgotten, nothing left behind.
#include "kernel/vcpu/el1_context.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernel/system_register.h"
#include "kernel/vcpu/sanitize.h"

namespace {
atoll::FpContext fake_fp;
}  // namespace

extern "C" void SaveFpContext(atoll::FpContext* context) { *context = fake_fp; }
extern "C" void LoadFpContext(const atoll::FpContext* context) { fake_fp = *context; }

namespace atoll {
namespace {

// Every register of a guest that an exit leaves in the hardware (conformance rows CPU-05, CPU-06,
// PAUTH-01), named here once more, independently of the list under test.
uint64_t* const kRegisters[] = {
    &SctlrEl12::value,      &CpacrEl12::value,    &Ttbr0El12::value,    &Ttbr1El12::value,
    &TcrEl12::value,        &MairEl12::value,     &AmairEl12::value,    &VbarEl12::value,
    &EsrEl12::value,        &FarEl12::value,      &Afsr0El12::value,    &Afsr1El12::value,
    &ElrEl12::value,        &SpsrEl12::value,     &SpEl1::value,        &TpidrEl1::value,
    &ContextidrEl12::value, &CsselrEl1::value,    &CntkctlEl12::value,  &ParEl1::value,
    &VmpidrEl2::value,      &VpidrEl2::value,     &VsesrEl2::value,     &VdisrEl2::value,
    &ApiaKeyLoEl1::value,   &ApiaKeyHiEl1::value, &ApibKeyLoEl1::value, &ApibKeyHiEl1::value,
    &ApdaKeyLoEl1::value,   &ApdaKeyHiEl1::value, &ApdbKeyLoEl1::value, &ApdbKeyHiEl1::value,
    &ApgaKeyLoEl1::value,   &ApgaKeyHiEl1::value, &CntvCtlEl02::value,  &CntvCvalEl02::value,
    &CntpCtlEl02::value,    &CntpCvalEl02::value,
};

void Fill(uint64_t seed) {
  for (uint64_t* value : kRegisters) *value = seed++ * 0x0101'0101'0101'0101;
  for (uint64_t& value : fake_fp.v) value = seed++;
  fake_fp.fpcr = seed++;
  fake_fp.fpsr = seed++;
}

void ExpectFilled(uint64_t seed) {
  size_t i = 0;
  for (uint64_t* value : kRegisters)
    EXPECT_EQ(*value, seed++ * 0x0101'0101'0101'0101) << "register " << i++;
  for (uint64_t value : fake_fp.v) EXPECT_EQ(value, seed++);
  EXPECT_EQ(fake_fp.fpcr, seed++);
  EXPECT_EQ(fake_fp.fpsr, seed++);
}

CpuFeatures FullCpu() {
  CpuFeatures cpu;
  cpu.ras = true;
  cpu.pointer_auth = true;
  cpu.breakpoints = 16;
  cpu.watchpoints = 16;
  return cpu;
}

TEST(El1Context, CPU_05_CPU_06_FP_01_PAUTH_01_TIMER_14_two_vcpus_keep_their_registers) {
  const CpuFeatures cpu = FullCpu();
  El1Context a;
  El1Context b;
  Fill(1);
  a.Save(cpu);
  Fill(500);
  b.Save(cpu);
  a.Load(cpu);
  ExpectFilled(1);
  a.Save(cpu);
  b.Load(cpu);
  ExpectFilled(500);
  b.Save(cpu);
  a.Load(cpu);
  ExpectFilled(1);
}

TEST(El1Context, registers_that_the_cpu_lacks_are_not_touched) {
  El1Context context;
  Fill(1);
  VdisrEl2::value = 0x1234;
  ApgaKeyHiEl1::value = 0x5678;
  context.Save(CpuFeatures{});
  EXPECT_EQ(context.vdisr, 0u);
  EXPECT_EQ(context.keys[9], 0u);
  context.Load(CpuFeatures{});
  EXPECT_EQ(VdisrEl2::value, 0x1234u);
  EXPECT_EQ(ApgaKeyHiEl1::value, 0x5678u);
}

TEST(El1Context, TIMER_13_a_saved_vcpus_timers_are_off_in_the_hardware_and_kept_in_memory) {
  El1Context context;
  CntvCtlEl02::value = 1;
  CntpCtlEl02::value = 3;
  CntvCvalEl02::value = 1000;
  CntpCvalEl02::value = ~uint64_t{0};
  context.Save(FullCpu());
  EXPECT_EQ(CntvCtlEl02::value, 0u);
  EXPECT_EQ(CntpCtlEl02::value, 0u);
  EXPECT_EQ(context.timers.virtual_control, 1u);
  EXPECT_EQ(context.timers.virtual_compare, 1000u);
  EXPECT_EQ(context.timers.physical_control, 3u);
  EXPECT_EQ(context.timers.physical_compare, ~uint64_t{0});
}

TEST(El1Context, CPU_04_CPU_01_FP_03_TIMER_15_reset_leaves_no_foreign_value) {
  const CpuFeatures cpu = FullCpu();
  El1Context context;
  Fill(77);
  context.Save(cpu);
  context.debug.SetMdscr(0x8000);
  context.debug.Set(DebugRow::kBreakpointControl, 2, 1);
  context.Reset(SaneMpidr(0x0102), 0x413f'd0c1);
  context.Load(cpu);
  for (uint64_t* value : kRegisters) {
    if (value == &SctlrEl12::value) {
      EXPECT_EQ(*value, 0x30d0'0800u);  // RES1; M, C, I, A, WXN, EE clear
    } else if (value == &VmpidrEl2::value) {
      EXPECT_EQ(*value, 0x8000'0102u);
    } else if (value == &VpidrEl2::value) {
      EXPECT_EQ(*value, 0x413f'd0c1u);
    } else {
      EXPECT_EQ(*value, 0u);
    }
  }
  const FpContext zero;
  EXPECT_EQ(std::memcmp(&fake_fp, &zero, sizeof(zero)), 0);
  EXPECT_FALSE(context.debug.IsActive());
  EXPECT_EQ(MdscrEl1::value, 0u);
}

TEST(El1Context, DEBUG_07_DEBUG_08_breakpoints_are_in_force_only_for_the_vcpu_that_uses_them) {
  const CpuFeatures cpu = FullCpu();
  El1Context debugging;
  El1Context other;
  debugging.debug.Set(DebugRow::kBreakpointValue, 0, 0x4000);
  debugging.debug.Set(DebugRow::kBreakpointControl, 0, 0x1e7);
  debugging.debug.Set(DebugRow::kWatchpointControl, 15, 0x1ff7);
  debugging.debug.SetMdscr(0xa000);
  debugging.Load(cpu);
  EXPECT_EQ(MdscrEl1::value, 0xa000u);
  using Breakpoint0Value = EncodedRegister<2, 0, 0, 0, 4>;
  using Breakpoint0Control = EncodedRegister<2, 0, 0, 0, 5>;
  using Watchpoint15Control = EncodedRegister<2, 0, 0, 15, 7>;
  EXPECT_EQ(Breakpoint0Value::value, 0x4000u);
  EXPECT_EQ(Breakpoint0Control::value, 0x1e7u);
  EXPECT_EQ(Watchpoint15Control::value, 0x1ff7u);
  debugging.Save(cpu);
  EXPECT_EQ(MdscrEl1::value, 0u);
  other.Load(cpu);
  EXPECT_EQ(MdscrEl1::value, 0u);
  EXPECT_EQ(other.debug.Get(DebugRow::kBreakpointValue, 0), 0u);
  other.Save(cpu);
  debugging.Load(cpu);
  EXPECT_EQ(MdscrEl1::value, 0xa000u);
}

TEST(DebugRegisters, DEBUG_08_a_newly_active_vcpu_overwrites_everything_of_the_last_one) {
  DebugRegisters first;
  first.SetMdscr(0x8000);
  for (size_t n = 0; n < 16; ++n) first.Set(DebugRow::kBreakpointControl, n, 0x1e7);
  first.Load(16, 16);
  DebugRegisters second;
  second.SetMdscr(0x8000);
  second.Load(16, 16);
  using Breakpoint15Control = EncodedRegister<2, 0, 0, 15, 5>;
  EXPECT_EQ(Breakpoint15Control::value, 0u);
}

TEST(DebugRegisters, only_registers_that_exist_are_written) {
  using Breakpoint6Control = EncodedRegister<2, 0, 0, 6, 5>;
  using Watchpoint4Control = EncodedRegister<2, 0, 0, 4, 7>;
  Breakpoint6Control::value = 0x77;
  Watchpoint4Control::value = 0x77;
  DebugRegisters debug;
  debug.SetMdscr(0x8000);
  debug.Load(6, 4);
  EXPECT_EQ(Breakpoint6Control::value, 0x77u);
  EXPECT_EQ(Watchpoint4Control::value, 0x77u);
}

TEST(DebugRegisters, DEBUG_03_a_step_alone_makes_it_active) {
  DebugRegisters debug;
  EXPECT_FALSE(debug.IsActive());
  debug.SetMdscr(0x1000);  // TDCC, as Linux sets at boot
  EXPECT_FALSE(debug.IsActive());
  debug.SetMdscr(0x1001);
  EXPECT_TRUE(debug.IsActive());
}

}  // namespace
}  // namespace atoll
