// Each kind of fault ends the task that makes it, and nobody else.
#include "tests/kernel/servers.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kAnyClass = 64;
inline constexpr uint32_t kUndefined = 0x00;
inline constexpr uint32_t kFloatingPoint = 0x07;
inline constexpr uint32_t kSystemRegister = 0x18;
inline constexpr uint32_t kInstructionAbort = 0x20;
inline constexpr uint32_t kPcAlignment = 0x22;
inline constexpr uint32_t kDataAbort = 0x24;
inline constexpr uint32_t kBreakpoint = 0x3c;
inline constexpr uint64_t kNoAddress = ~uint64_t{0};

uint32_t ExceptionClass(uint64_t esr) { return static_cast<uint32_t>(esr >> 26) & 63; }

struct Fault {
  const char* name;
  Entry run;
  uint32_t exception_class;
  uint64_t address;  // kNoAddress: not said
};

// The instruction's address goes to the shared page first. x10 = shared page, x11 = `operand`.
#define FAULT(operand, instruction)                                                            \
  [](uint32_t, uint64_t) {                                                                     \
    asm volatile(                                                                              \
        "mov x10, #0x20000000\n\tmov x11, %0\n\tadr x9, 1f\n\tstr x9, [x10]\n1:\t" instruction \
        :                                                                                      \
        : "r"(static_cast<uint64_t>(operand))                                                  \
        : "x9", "x10", "x11", "x12", "memory");                                                \
  }

extern "C" const char rodata_start[], data_start[], image_start[];
uint64_t AddressOf(const void* p) { return reinterpret_cast<uint64_t>(p); }

inline constexpr uint64_t kKernelImage = 0xffff'ffc0'0000'0000;
inline constexpr uint64_t kDirectMap = 0xffff'ff80'4000'0000;
inline constexpr uint64_t kStackGuard = abi::kStackTop.value - kChildStackBytes - 8;

void Recurse(volatile uint64_t* above) {
  volatile uint64_t here[8] = {};
  here[0] = above == nullptr ? 0 : above[0] + 1;
  if (here[0] < 1'000'000) Recurse(here);
  here[1] = here[0];
}

const Fault kFaults[] = {
    {"null_read", FAULT(0, "ldr w12, [x11]"), kDataAbort, 0},
    {"null_read_pair", FAULT(0, "ldp x12, x9, [x11]"), kDataAbort, 0},
    {"null_write", FAULT(0, "str w12, [x11]"), kDataAbort, 0},
    {"null_atomic", FAULT(0, "ldadd x12, x9, [x11]"), kDataAbort, 0},
    {"null_page_byte", FAULT(0xfff, "ldrb w12, [x11]"), kDataAbort, 0xfff},
    {"null_execute", FAULT(0, "br x11"), kAnyClass, kNoAddress},
    {"read_above_the_space", FAULT(1ull << 39, "ldr x12, [x11]"), kDataAbort, 1ull << 39},
    {"read_hole", FAULT(1ull << 48, "ldr x12, [x11]"), kDataAbort, 1ull << 48},
    {"read_kernel", FAULT(kKernelImage, "ldr w12, [x11]"), kDataAbort, kKernelImage},
    {"write_kernel", FAULT(kKernelImage, "str w12, [x11]"), kDataAbort, kKernelImage},
    {"read_direct_map", FAULT(kDirectMap, "ldr w12, [x11]"), kDataAbort, kDirectMap},
    {"write_direct_map", FAULT(kDirectMap, "str x12, [x11]"), kDataAbort, kDirectMap},
    {"execute_kernel", FAULT(kKernelImage, "br x11"), kAnyClass, kNoAddress},
    {"write_text", FAULT(AddressOf(image_start), "str w12, [x11]"), kDataAbort, kNoAddress},
    {"write_constants", FAULT(AddressOf(rodata_start), "str w12, [x11]"), kDataAbort, kNoAddress},
    {"execute_constants", FAULT(AddressOf(rodata_start), "br x11"), kInstructionAbort, kNoAddress},
    {"execute_data", FAULT(AddressOf(data_start), "br x11"), kInstructionAbort, kNoAddress},
    {"execute_stack", FAULT(0, "mov x12, sp\n\tbr x12"), kAnyClass, kNoAddress},
    {"execute_unaligned", FAULT(AddressOf(image_start) + 2, "br x11"), kPcAlignment, kNoAddress},
    {"below_the_stack", FAULT(kStackGuard, "str x12, [x11]"), kDataAbort, kStackGuard},
    {"stack_overflow", [](uint32_t, uint64_t) { Recurse(nullptr); }, kDataAbort, kNoAddress},
    {"above_the_ipc_page", FAULT(abi::kIpcPage.value + kPageSize, "ldr x12, [x11]"), kDataAbort,
     abi::kIpcPage.value + kPageSize},
    {"udf", FAULT(0, "udf #0"), kUndefined, kNoAddress},
    {"brk", FAULT(0, "brk #7"), kBreakpoint, kNoAddress},
    {"hlt", FAULT(0x18, "mov x0, x11\n\thlt #0xf000"), kUndefined, kNoAddress},
    {"hvc", FAULT(0, "hvc #0"), kUndefined, kNoAddress},
    {"smc", FAULT(0, "smc #0"), kUndefined, kNoAddress},
    {"eret", FAULT(0, "eret"), kAnyClass, kNoAddress},
    {"floating_point", FAULT(0, ".inst 0x9e67016b" /* fmov d11, x11 */), kFloatingPoint,
     kNoAddress},
    {"vector", FAULT(0, ".inst 0x4ea01c00" /* mov v0.16b, v0.16b */), kFloatingPoint, kNoAddress},
    {"read_fpcr", FAULT(0, ".inst 0xd53b4409" /* mrs x9, fpcr */), kFloatingPoint, kNoAddress},
    {"read_sctlr_el1", FAULT(0, "mrs x12, sctlr_el1"), kAnyClass, kNoAddress},
    {"write_ttbr0_el1", FAULT(0, "msr ttbr0_el1, x11"), kAnyClass, kNoAddress},
    {"read_hcr_el2", FAULT(0, "mrs x12, hcr_el2"), kAnyClass, kNoAddress},
    {"write_vbar_el2", FAULT(0, "msr vbar_el2, x11"), kAnyClass, kNoAddress},
    {"read_current_el", FAULT(0, "mrs x12, currentel"), kAnyClass, kNoAddress},
    {"mask_interrupts", FAULT(0, "msr daifset, #0xf"), kSystemRegister, kNoAddress},
    {"read_daif", FAULT(0, "mrs x12, daif"), kSystemRegister, kNoAddress},
    {"read_id_register", FAULT(0, "mrs x12, id_aa64pfr0_el1"), kAnyClass, kNoAddress},
    {"read_physical_timer", FAULT(0, "mrs x12, cntp_ctl_el0"), kSystemRegister, kNoAddress},
    {"write_physical_timer", FAULT(0, "msr cntp_ctl_el0, x11"), kSystemRegister, kNoAddress},
    {"write_physical_compare", FAULT(0, "msr cntp_cval_el0, x11"), kSystemRegister, kNoAddress},
    {"write_virtual_timer", FAULT(0, "msr cntv_ctl_el0, x11"), kSystemRegister, kNoAddress},
    {"read_cycle_counter", FAULT(0, "mrs x12, pmccntr_el0"), kSystemRegister, kNoAddress},
    {"write_pmu_enable", FAULT(0, "msr pmuserenr_el0, x11"), kAnyClass, kNoAddress},
    {"write_tpidrro", FAULT(0, "msr tpidrro_el0, x11"), kAnyClass, kNoAddress},
    {"invalidate_tlb", FAULT(0, "tlbi vmalle1"), kAnyClass, kNoAddress},
    {"invalidate_by_set", FAULT(0, "dc isw, x11"), kAnyClass, kNoAddress},
    {"invalidate_line", FAULT(0, "dc ivac, x11"), kAnyClass, kNoAddress},
    {"translate", FAULT(0, "at s1e1r, x11"), kAnyClass, kNoAddress},
    {"read_gic", FAULT(0, "mrs x12, icc_iar1_el1"), kAnyClass, kNoAddress},
    {"send_sgi", FAULT(0, "msr icc_sgi1r_el1, x11"), kAnyClass, kNoAddress},
    {"write_mdscr", FAULT(0, "msr mdscr_el1, x11"), kAnyClass, kNoAddress},
    {"select_sp", FAULT(0, "msr spsel, #1"), kAnyClass, kNoAddress},
    {"set_pan", FAULT(0, ".inst 0xd500409f" /* msr pan, #0 */), kAnyClass, kNoAddress},
    {"implementation_defined", FAULT(0, "mrs x12, s3_3_c15_c0_0"), kAnyClass, kNoAddress},
};

TEST(each_kind_of_fault_ends_its_task_alone) {
  const Child neighbour = StartServer(EchoServer);
  for (const Fault& fault : kFaults) {
    Shared()[0] = 0;
    Child child = MakeChild(fault.run);
    Start(child);
    const InspectTaskReply end = Inspect(child);
    EXPECT_EQ(end.state, TaskState::kDead);
    const uint32_t exception_class = ExceptionClass(end.esr);
    const bool is_right =
        end.cause == DeathCause::kFault &&
        (fault.exception_class == kAnyClass || exception_class == fault.exception_class) &&
        (fault.address == kNoAddress || end.far == fault.address);
    // An instruction that faults itself, rather than what it branches to, is where the task died.
    const bool branches = exception_class == kInstructionAbort || exception_class == kPcAlignment;
    const bool has_pc =
        Shared()[0] == 0 || branches || (end.pc >= Shared()[0] && end.pc <= Shared()[0] + 12);
    if (!is_right || !has_pc) {
      char buffer[kLogLineBytes];
      ReportFailure(Format(buffer, "FAILED fault ", fault.name, ": cause ", AsNumber(end.cause),
                           ", esr ", Hex{end.esr}, ", far ", Hex{end.far}, ", pc ", Hex{end.pc},
                           ", instruction at ", Hex{Shared()[0]}));
    }
    EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
    const auto echo = abi::Call({neighbour.endpoint}, {.words = {5}});
    EXPECT_EQ(echo.has_value() ? echo->words[0] : 0, 5ull);
    Discard(child);
  }
}

TEST(what_a_task_may_do_by_itself_works) {
  const Child child = StartChild([](uint32_t, uint64_t) {
    uint64_t value = 0;
    asm volatile("mrs %0, cntpct_el0" : "=r"(value));
    asm volatile("mrs %0, cntvct_el0" : "=r"(value));
    asm volatile("mrs %0, cntfrq_el0" : "=r"(value));
    asm volatile("mrs %0, dczid_el0" : "=r"(value));
    asm volatile("msr tpidr_el0, %0\n\tmrs %0, tpidr_el0" : "+r"(value));
    asm volatile("dsb sy\n\tisb\n\tyield\n\tsev" ::: "memory");
    volatile uint64_t* const line = Shared();
    asm volatile("dc cvac, %0\n\tdc civac, %0" ::"r"(line) : "memory");
    Exit(44);
  });
  EXPECT_EQ(Inspect(child).cause, DeathCause::kExit);
  EXPECT_EQ(Inspect(child).esr, 44ull);
}

}  // namespace
}  // namespace atoll::test
