// How tasks die, and what becomes of the calls that they made or took.
#include <array>
#include <cstring>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

inline constexpr uint32_t kCallSlot = 1;
inline constexpr uint32_t kSignalSlot = 2;

// ---- faults -------------------------------------------------------------------------------------
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

void EchoServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) call = abi::ReplyWait(call.call.token, call.message);
}

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

// ---- ends ---------------------------------------------------------------------------------------
TEST(an_exit_tells_its_code) {
  const Child child = StartChild([](uint32_t, uint64_t) { Exit(0xabcd'1234); });
  const InspectTaskReply end = Inspect(child);
  EXPECT_EQ(end.state, TaskState::kDead);
  EXPECT_EQ(end.cause, DeathCause::kExit);
  EXPECT_EQ(end.esr, 0xabcd'1234ull);
  EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
}

TEST(a_root_that_kills_itself_is_refused) {
  EXPECT_EQ(kernel::KillTask(kSelf), Status::kFailedPrecondition);
  EXPECT_EQ(kernel::KillTask(kOwnSignal), Status::kInvalidArgument);
  EXPECT_EQ(kernel::KillTask({0}), Status::kNotFound);
}

TEST(a_task_that_never_ran_does_not_die) {
  const Child child = MakeChild(EchoServer);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kNone);
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
}

void Spin(uint32_t argument, uint64_t) {
  for (;;) Shared()[argument] = Shared()[argument] + 1;
}

void OneCall(uint32_t argument, uint64_t) {
  const auto reply =
      abi::Call({kCallSlot}, {.label = argument, .words = {argument, 11, 12, 13, 14, 15}});
  Shared()[100 + argument] = reply.has_value() ? reply->words[0] : 0xbad0 + AsNumber(reply.error());
}

// Takes calls and keeps them; records what it took from word 10 on, 4 words each.
void KeepCalls(uint32_t, uint64_t generation) {
  for (;;) {
    const abi::Received call = abi::ReplyWait(0, {});
    if (call.call.token == 0) continue;
    const uint64_t n = Shared()[0];
    Shared()[10 + 4 * n] = call.message.words[0];
    Shared()[11 + 4 * n] = call.call.token;
    Shared()[12 + 4 * n] = call.call.attempt;
    Shared()[13 + 4 * n] = generation;
    Shared()[0] = n + 1;
  }
}

Child MakeCaller(const Child& server, uint32_t argument, uint32_t priority = 24) {
  Child caller = MakeChild(OneCall, argument, {.rank = 3, .priority = priority});
  Grant(server.endpoint, caller.task, kCallSlot, kSend, argument);
  return caller;
}

void ExpectKilled(const Child& child) {
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(Inspect(child).state, TaskState::kDead);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kKilled);
  EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
  EXPECT_OK(Kill(child));
  EXPECT_EQ(WaitFor(~0ull, 10), 0ull);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kKilled);
}

TEST(a_kill_stops_a_task_whatever_it_does) {
  const Child ready = StartChild(Spin, 50, {.priority = 10});
  ExpectKilled(ready);  // never ran
  Child spinning = StartChild(Spin, 51, {.priority = 10});
  Sleep(3000);
  EXPECT_TRUE(Shared()[51] > 0);
  ExpectKilled(spinning);
  const uint64_t count = Shared()[51];
  Sleep(3000);
  EXPECT_EQ(Shared()[51], count);

  Child server = StartServer(KeepCalls);
  Child served = MakeCaller(server, 1);
  Start(served);
  EXPECT_EQ(Shared()[0], 1ull);
  ExpectKilled(served);
  ExpectKilled(server);  // waiting
  Child queued = MakeCaller(server, 2);
  Start(queued);
  ExpectKilled(queued);
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = queued.task, .slot = kCallSlot}));
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = served.task, .slot = kCallSlot}));
  EXPECT_OK(Destroy(server.endpoint));  // nobody is left in its queue
}

TEST(a_dead_task_runs_again_and_again) {
  Child child = MakeChild(
      [](uint32_t argument, uint64_t generation) {
        Shared()[0] = generation;
        Exit(argument);
      },
      6);
  for (uint64_t generation = 0; generation < 20; ++generation) {
    Start(child);
    EXPECT_EQ(Shared()[0], generation);
    EXPECT_EQ(WaitFor(~0ull, 10), child.death_bit);
  }
}

extern "C" void CaptureStart();

TEST(a_task_starts_with_nothing_in_its_registers) {
  Child child = MakeChild(EchoServer, 9);
  for (uint64_t generation = 0; generation < 2; ++generation) {
    EXPECT_OK(StartAt(child, AddressOf(reinterpret_cast<const void*>(CaptureStart)),
                      abi::kStackTop.value));
    EXPECT_EQ(Inspect(child).esr, 77ull);
    EXPECT_EQ(Shared()[0], AddressOf(reinterpret_cast<const void*>(EchoServer)) | 9ull << 32);
    EXPECT_EQ(Shared()[1], generation);
    for (size_t i = 2; i < 33; ++i) EXPECT_EQ(Shared()[i], 0ull);
    EXPECT_EQ(Shared()[33], abi::kStackTop.value);
  }
}

TEST(bad_starts_are_refused_or_kill_the_task_alone) {
  Child child = MakeChild(EchoServer);
  const auto start = [&](uint32_t ipc) {
    return kernel::StartTask({child.task}, {.pc = 0, .sp = 0, .ipc_memory = ipc});
  };
  EXPECT_EQ(start(0), Status::kNotFound);
  EXPECT_EQ(start(child.task), Status::kInvalidArgument);
  EXPECT_EQ(start(child.stack), Status::kInvalidArgument);  // two pages
  EXPECT_EQ(start(Restricted(child.ipc, kReadWrite)), Status::kPermissionDenied);
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  for (const uint64_t pc : {1ul << 39, 1ul << 40, 1ul << 63, ~0ul, kKernelImage, 0x40'0002ul}) {
    EXPECT_EQ(StartAt(child, pc, abi::kStackTop.value), Status::kInvalidArgument);
  }
  for (const uint64_t sp : {~0ul, 1ul << 40, kKernelImage, abi::kStackTop.value - 8}) {
    EXPECT_EQ(StartAt(child, 0x40'0000, sp), Status::kInvalidArgument);
  }
  EXPECT_EQ(Inspect(child).state, TaskState::kCreated);
  for (const uint64_t pc : {0ul, 0x3f'fffcul, (1ul << 39) - 4, abi::kStackTop.value - 16}) {
    EXPECT_OK(StartAt(child, pc, abi::kStackTop.value));
    EXPECT_EQ(Inspect(child).state, TaskState::kDead);
    EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);
  }
  Start(child);
  EXPECT_EQ(StartAt(child, 0, 0), Status::kFailedPrecondition);
  EXPECT_EQ(Inspect(child).state, TaskState::kRunning);
}

// ---- redelivery ---------------------------------------------------------------------------------
TEST(a_call_survives_the_death_of_its_server) {
  Child server = StartServer(KeepCalls);
  Child caller = MakeCaller(server, 7);
  Start(caller);
  EXPECT_EQ(Shared()[0], 1ull);
  const uint64_t token = Shared()[11];
  EXPECT_OK(Kill(server));
  EXPECT_EQ(Inspect(caller).state, TaskState::kRunning);
  Start(server);
  EXPECT_EQ(Shared()[0], 2ull);
  EXPECT_EQ(Shared()[14], 7ull);
  EXPECT_EQ(Shared()[15], token);
  EXPECT_EQ(Shared()[16], 2ull);  // attempt
  EXPECT_EQ(Shared()[17], 1ull);  // generation
  EXPECT_EQ(Shared()[107], 0ull);
}

TEST(calls_come_again_in_their_order) {
  Child server = StartServer(KeepCalls);
  std::array<Child, 4> callers;
  for (uint32_t i = 0; i < 3; ++i) Start(callers[i] = MakeCaller(server, i + 1));
  EXPECT_EQ(Shared()[0], 3ull);
  EXPECT_OK(Kill(server));
  Start(callers[3] = MakeCaller(server, 4));  // queues behind the three
  Start(server);
  EXPECT_EQ(Shared()[0], 7ull);
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Shared()[10 + 4 * (3 + i)], i + 1);
    EXPECT_EQ(Shared()[12 + 4 * (3 + i)], i < 3 ? 2ull : 1ull);
    if (i < 3) EXPECT_EQ(Shared()[11 + 4 * (3 + i)], Shared()[11 + 4 * i]);
  }
}

TEST(a_call_that_two_servers_died_of_fails) {
  Child server = StartServer(KeepCalls);
  Child caller = MakeCaller(server, 3);
  Start(caller);
  EXPECT_OK(Kill(server));
  Start(server);
  EXPECT_EQ(Shared()[103], 0ull);
  EXPECT_OK(Kill(server));
  Sleep(100);
  EXPECT_EQ(Shared()[103], 0xbad0 + AsNumber(Status::kInternal));
  EXPECT_TRUE(IsDead(caller));
  // The next call of the same caller begins anew.
  Start(server);
  Start(caller);
  EXPECT_EQ(Shared()[0], 3ull);
  EXPECT_EQ(Shared()[20], 1ull);
}

TEST(a_call_that_waited_in_the_queue_is_not_blamed) {
  Child server = MakeChild(KeepCalls, 0, {.endpoint = true});
  Child caller = MakeCaller(server, 3);
  Start(caller);
  for (int i = 0; i < 3; ++i) {
    EXPECT_OK(StartAt(server, 0, 0));  // dies at once
    EXPECT_TRUE(IsDead(server));
  }
  Start(server);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_EQ(Shared()[12], 1ull);
}

void BufferCall(uint32_t, uint64_t) {
  std::memset(abi::IpcPage().data(), 0x77, abi::kIpcBytes);
  static_cast<void>(abi::Call({kCallSlot}, {.label = abi::MakeLabel(0, 4096)}));
}

void BufferKeeper(uint32_t, uint64_t) {
  for (;;) {
    std::memset(abi::IpcPage().data(), 0, abi::kIpcBytes);
    static_cast<void>(abi::ReplyWait(0, {}));
    uint64_t right = 0;
    for (const std::byte byte : abi::IpcPage()) right += byte == std::byte{0x77};
    Shared()[0] = Shared()[0] + 1;
    Shared()[1] = right;
  }
}

TEST(a_buffer_comes_again_whole) {
  Child server = StartServer(BufferKeeper);
  Child caller = MakeChild(BufferCall, 0, {.rank = 3});
  Grant(server.endpoint, caller.task, kCallSlot, kSend);
  Start(caller);
  for (uint64_t attempt = 1; attempt <= 2; ++attempt) {
    EXPECT_EQ(Shared()[0], attempt);
    EXPECT_EQ(Shared()[1], 4096ull);
    Shared()[1] = 0;
    if (attempt == 1) {
      EXPECT_OK(Kill(server));
      Start(server);
    }
  }
}

// Calls on behalf of its caller.
void Middle(uint32_t, uint64_t generation) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received call = abi::ReplyWait(token, {.words = {1000 + generation}});
    token = call.call.token;
    static_cast<void>(abi::Call({kCallSlot}, {.words = {generation}}));
  }
}

// Keeps the first call, answers it when a signal comes, and all later calls at once.
void Bottom(uint32_t, uint64_t) {
  const uint64_t kept = abi::ReplyWait(0, {}).call.token;
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, {});
    token = received.call.token;
    if (token == 0) Shared()[1] = 0x100 + AsNumber(abi::Reply(kept, {}));
  }
}

TEST(a_death_in_the_middle_of_a_chain) {
  Child bottom = StartServer(Bottom, 0, {.rank = 0});
  const uint32_t wake = Restricted(CreateSignal(bottom.task), kSend, 1);
  Child middle = MakeChild(Middle, 0, {.rank = 1, .endpoint = true});
  Grant(bottom.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  Child caller = MakeCaller(middle, 5);
  Start(caller);
  EXPECT_OK(Kill(middle));
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[1], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Shared()[105], 0ull);
  Start(middle);
  Sleep(100);
  EXPECT_EQ(Shared()[105], 1001ull);
}

TEST(a_death_at_the_end_of_a_chain) {
  Child bottom = StartServer(KeepCalls, 0, {.rank = 0});
  Child middle = MakeChild(Middle, 0, {.rank = 1, .endpoint = true});
  Grant(bottom.endpoint, middle.task, kCallSlot, kSend);
  Start(middle);
  Child caller = MakeCaller(middle, 5);
  Start(caller);
  EXPECT_EQ(Shared()[0], 1ull);
  EXPECT_OK(Kill(bottom));
  bottom.entry = EchoServer;
  Start(bottom);
  Sleep(100);
  EXPECT_EQ(Shared()[105], 1000ull);
}

TEST(signals_and_handles_outlive_the_instance) {
  Child child = MakeChild([](uint32_t, uint64_t generation) {
    const abi::Received received = abi::ReplyWait(0, {});
    Shared()[generation] = received.message.words[0];
    static_cast<void>(kernel::SetSignal({kSignalSlot}));
    static_cast<void>(abi::ReplyWait(0, {}));
  });
  const uint32_t signal = CreateSignal(child.task);
  GrantRootSignal(child.task, kSignalSlot, 1ull << 40);
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 5)}));  // before its first life
  Start(child);
  EXPECT_EQ(Shared()[0], 5ull);
  EXPECT_EQ(WaitFor(1ull << 40), 1ull << 40);
  EXPECT_OK(Kill(child));
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 8)}));
  EXPECT_OK(kernel::SetSignal({Restricted(signal, kSend, 2)}));
  Start(child);
  EXPECT_EQ(Shared()[1], 10ull);
  EXPECT_EQ(WaitFor(1ull << 40), 1ull << 40);
}

TEST(a_dead_tasks_timer_does_not_fire) {
  Child child = MakeChild([](uint32_t, uint64_t generation) {
    if (generation == 0) static_cast<void>(kernel::SetTimer({.deadline = Now() + Ticks(1000)}));
    Shared()[generation] = 1;
    Shared()[2 + generation] = abi::ReplyWait(0, {}).message.words[0];
  });
  Start(child);
  EXPECT_OK(Kill(child));
  Sleep(3000);
  Start(child);
  Sleep(3000);
  EXPECT_EQ(Shared()[1], 1ull);
  EXPECT_EQ(Shared()[3], 0ull);
}

}  // namespace
}  // namespace atoll::test
