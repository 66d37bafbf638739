// Hostile tasks: every call number with every kind of argument. Whatever the answers, kernel and neighbours go on, and
// afterwards all that was made can be destroyed and all memory comes back.
#include <array>
#include <cstring>

#include "tests/kernel/harness.h"

extern "C" const char image_start[], rodata_start[];

namespace atoll::test {
namespace {

inline constexpr uint32_t kCalls = 100'000;
inline constexpr uint32_t kHandles = 64;
inline constexpr uint32_t kVictimHandles = 32;
inline constexpr uint32_t kFuzzerPriority = 10;
inline constexpr uint64_t kExit = 13;

// Where random mappings go: these bases and kPlaces pages from there.
inline constexpr std::array<uint64_t, 4> kBases = {0x0, 0x4000'0000, 0x8000'0000,
                                                   (1ul << 39) - 0x10'0000};
inline constexpr uint64_t kPlaces = 16;

struct Random {
  uint64_t state;
  uint64_t Next() {  // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545'f491'4f6c'dd1d;
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }
};

uint64_t Place(Random& random) {
  return kBases[random.Below(kBases.size())] + random.Below(kPlaces) * kPageSize;
}

// Values that mean something somewhere, and some that mean nothing.
uint64_t Argument(Random& random) {
  switch (random.Below(16)) {
    case 0: return 0;
    case 1: return random.Below(4);
    case 2:
    case 3:
    case 4:
    case 5: return random.Below(kHandles);
    case 6: return random.Below(8) * kPageSize;
    case 7: return kPageSize;
    case 8:
    case 9: return Place(random);
    case 10: return random.Below(512);
    case 11: return 1ul << random.Below(64);
    case 12: return ~0ul << random.Below(64);
    case 13: return random.Below(1 << 13);
    case 14:
      return Shared()[1] + random.Below(64) * kPageSize + random.Below(16);  // free RAM as backing
    default: return random.Next();
  }
}

uint64_t Number(Random& random) {
  switch (random.Below(4)) {
    case 0: return random.Below(256);
    case 1: return random.Next();
    default: return random.Below(64);
  }
}

// What the fuzzer with many handles holds, by slot.
enum Slot : uint32_t {
  kEcho = 1,
  kSignal,
  kVm,
  kVcpu0,
  kVcpu1,
  kLine,
  kIrq,
  kVictim,
  kVictimEndpoint,
  kVictimSignal,
  kMemory,
  kPage,
  kDevice,
  kSelfWithoutManage,
  kRootSignal,
  kSlots,
};

// A call that could succeed, but for what is changed in it afterwards.
void MakePlausible(Random& random, uint64_t* x) {
  const uint64_t space = random.Below(2) != 0 ? kVm : kVictim;
  const uint64_t pages = (1 + random.Below(4)) * kPageSize;
  const auto call = [&](KernelCall number, const std::array<uint64_t, 7>& arguments) {
    std::memcpy(x, arguments.data(), sizeof(arguments));
    x[8] = AsNumber(number);
  };
  switch (random.Below(22)) {
    case 15: return call(KernelCall::kDivert, {kVictim, Place(random)});
    case 16: return call(KernelCall::kStepTask, {kVictim, random.Below(100)});
    case 17: return call(KernelCall::kSetLimits, {kVictim, random.Below(10), random.Below(10)});
    case 18: return call(KernelCall::kPauseVm, {kVm, random.Below(2)});
    case 19: return call(KernelCall::kRaiseTask, {kVictim, x[4]});
    case 20: return call(KernelCall::kReadCall, {kVictim, random.Below(3)});
    case 0:
    case 1:
      return call(KernelCall::kMapMemory,
                  {kMemory + random.Below(3), space, random.Below(3) * kPageSize, Place(random),
                   pages, kRead | random.Below(4) * Rights(Right::kWrite)});
    case 2: return call(KernelCall::kUnmapMemory, {space, Place(random), pages});
    case 3:
      return call(KernelCall::kGrantHandle,
                  {1 + random.Below(kSlots), kVictim, random.Below(40), random.Below(512), x[4]});
    case 4:
      return call(KernelCall::kGrantHandle,
                  {1 + random.Below(kSlots), kVictim, random.Below(40), 0});
    case 5:
      return call(KernelCall::kStartTask, {kVictim, Place(random), Place(random), 1, 2, kPage});
    case 6:
      return call(KernelCall::kStartVcpu,
                  {kVcpu0 + random.Below(2), 0x8000'0000 + random.Below(4096) * 4});
    case 7:
      return call(random.Below(2) != 0 ? KernelCall::kStopVm : KernelCall::kResetVm,
                  {kVm, 2 + random.Below(3)});
    case 8:
      return call(KernelCall::kBindMmio,
                  {kVm, Place(random) + 0x100'0000, pages, kVictimEndpoint, x[4]});
    case 9:
      return call(KernelCall::kBindDoorbell,
                  {kVm, Place(random) + 0x100'0000, kVictimSignal, random.Below(64), 1});
    case 10:
      return call(KernelCall::kSetInterrupts,
                  {kVm, random.Below(8), random.Below(80), x[3] & 0xffff'ffff, x[4], 0});
    case 11:
      return call(KernelCall::kGetInterrupts,
                  {kVm, random.Below(9), random.Below(80), 1 + random.Below(32), 0});
    case 12:
      return call(KernelCall::kSetIdRegister, {kVm, 1 + random.Below(7), random.Below(8), 0});
    case 13: return call(KernelCall::kSetIrqLine, {kLine, random.Below(2)});
    case 14:
      return call(KernelCall::kSetSchedule,
                  {kVictim, random.Below(32), random.Below(3), random.Below(9), 0});
    default: return call(KernelCall::kKillTask, {kVictim});
  }
}

// Word 0 counts the calls, words 16.. those that succeeded by number.
void Fuzzer(uint32_t seed, uint64_t) {
  Random random = {0x9e37'79b9'7f4a'7c15 * (seed + 1)};
  for (uint32_t i = 0; i < kCalls; ++i) {
    uint64_t x[31];
    for (uint64_t& word : x) word = Argument(random);
    x[8] = Number(random);
    if (random.Below(2) != 0) {
      MakePlausible(random, x);
      if (random.Below(4) == 0) x[random.Below(7)] = Argument(random);
    } else if (random.Below(4) != 0) {
      x[0] = random.Below(kHandles);
    }
    if (x[8] == kExit) x[8] = 0;
    if (x[8] == AsNumber(KernelCall::kClearMemory)) x[8] = 0;  // keeps the loops that others run
    // Nobody but the root may run for ever above the fuzzer.
    if (x[8] == AsNumber(KernelCall::kSetSchedule) && x[1] > kFuzzerPriority)
      x[1] = kFuzzerPriority;
    // What waits, waits for the timer at most; a reply to nobody is mostly what a token is not.
    if (x[8] == abi::kReplyWait) static_cast<void>(kernel::SetTimer({.deadline = Now() + 100}));
    const uint64_t number = x[8];
    CallWithRegisters(x);
    if (number < 64 && x[0] == 0) Shared()[16 + number] = Shared()[16 + number] + 1;
    Shared()[0] = i + 1;
  }
}

void EchoServer(uint32_t, uint64_t) {
  abi::Received call = abi::ReplyWait(0, {});
  for (;;) call = abi::ReplyWait(call.call.token, {.label = 0, .words = call.message.words});
}

void ExpectEcho(const Child& echo) {
  const auto reply = abi::Call({echo.endpoint}, {.words = {1, 2, 3, 4, 5, 6}});
  EXPECT_TRUE(reply.has_value());
  for (size_t i = 0; i < abi::kMessageWords; ++i) EXPECT_EQ(reply->words[i], i + 1);
}

void Run(Child& fuzzer, const Child& echo) {
  Start(fuzzer);
  for (int i = 0; i < 10'000 && !IsDead(fuzzer); ++i) {
    Sleep(10'000);
    ExpectEcho(echo);
  }
  EXPECT_EQ(Inspect(fuzzer).cause, DeathCause::kExit);
  EXPECT_EQ(Shared()[0], kCalls);
}

TEST(a_task_with_few_handles_makes_any_calls) {
  const Child echo = StartServer(EchoServer, 0, {.rank = 1});
  Child fuzzer =
      MakeChild(Fuzzer, 1, {.rank = 2, .priority = kFuzzerPriority, .handles = kHandles});
  Grant(echo.endpoint, fuzzer.task, 1, kSend);
  Grant(CreateSignal(fuzzer.task), fuzzer.task, 2, kSend, 1);
  Run(fuzzer, echo);
  for (size_t number = 0; number < 64; ++number) {
    const bool may_succeed = number == abi::kCall || number == abi::kReplyWait ||
                             (number >= 8 && number < 13) ||
                             number == AsNumber(KernelCall::kSetCommitWindow);
    if (!may_succeed) EXPECT_EQ(Shared()[16 + number], 0ul);
  }
  EXPECT_TRUE(Shared()[16 + abi::kCall] > 0);
}

void UnmapFrom(uint32_t space, uint64_t base, uint64_t pages) {
  for (uint64_t page = 0; page < pages; ++page) {
    static_cast<void>(
        kernel::UnmapMemory({space}, {.address = base + page * kPageSize, .bytes = kPageSize}));
  }
}

// Takes away what was mapped at any page-aligned address that Argument makes.
void UnmapVictim(uint32_t space) {
  constexpr uint64_t kMost = 4;  // pages of one mapping
  for (const uint64_t base : kBases) UnmapFrom(space, base, kPlaces + kMost);
  for (uint32_t bit = 12; bit < 40; ++bit) UnmapFrom(space, 1ul << bit, kMost);
  UnmapFrom(space, FreeBase().value, 64 + kMost);
}

// Pages of instructions that do nothing and go on for ever, wherever they are mapped. (Under -icount no time passes in a
// guest whose exception vector faults itself.)
void FillWithLoops(uint32_t memory, uint64_t pages) {
  constexpr uint32_t kNop = 0xd503'201f;
  constexpr uint32_t kBranchToPageStart = 0x1400'0000 | (0x3ff'ffff & (0 - (kPageSize / 4 - 1)));
  auto* const words = reinterpret_cast<uint32_t*>(Open(memory, pages * kPageSize));
  for (size_t i = 0; i < pages * kPageSize / 4; ++i)
    words[i] = (i + 1) % (kPageSize / 4) == 0 ? kBranchToPageStart : kNop;
  Close();
}

void RunWithManyHandles(uint32_t seed) {
  const Child echo = StartServer(EchoServer, 0, {.rank = 0});
  const Child victim = MakeChild(
      nullptr, 0, {.rank = 1, .priority = 1, .handles = kVictimHandles, .endpoint = true});
  // Nothing of the program is left in it.
  Unmap(victim.task, kSharedAddress, kPageSize);
  Unmap(victim.task, abi::kIpcPage.value, kPageSize);
  Unmap(victim.task, abi::kImageBase.value, static_cast<uint64_t>(rodata_start - image_start));
  const uint32_t vm = CreateVm(2, 1ul << 45);
  const uint32_t memory = CreateMemory(4 * kPageSize);
  const uint32_t page = CreateMemory(kPageSize);
  const uint32_t device = CreateMemoryAt(PhysAddr(0x0901'0000), kPageSize, MemoryType::kDevice);
  FillWithLoops(memory, 4);
  FillWithLoops(page, 1);
  // Guests run loops, in turns with the fuzzer, which may unmap them.
  EXPECT_OK(
      StatusOf(kernel::MapMemory({memory}, {.space = vm,
                                            .address = 0x8000'0000,
                                            .bytes = 4 * kPageSize,
                                            .rights = kReadWrite | Rights(Right::kExecute)})));

  Child fuzzer =
      MakeChild(Fuzzer, seed, {.rank = 2, .priority = kFuzzerPriority, .handles = kHandles});
  constexpr uint32_t kNoManage = kAllRights & ~Rights(Right::kManage);
  const auto give = [&](Slot slot, uint32_t object, uint32_t rights) {
    Grant(object, fuzzer.task, slot, rights, slot);
  };
  give(kEcho, echo.endpoint, kSend);
  give(kSignal, CreateSignal(fuzzer.task), kNoManage);
  give(kVm, vm, kAllRights);
  give(kVcpu0, CreateVcpu(vm, 0, kFuzzerPriority), kNoManage);
  give(kVcpu1, CreateVcpu(vm, 1, kFuzzerPriority), kNoManage);
  give(kLine, Create({.type = ObjectType::kIrqLine, .owner = vm, .a = 40}), kAllRights);
  give(kIrq, Create({.type = ObjectType::kIrq, .owner = kOwnSignal.slot, .a = 34, .b = 1ul << 46}),
       kAllRights);
  give(kVictim, victim.task, kAllRights);
  give(kVictimEndpoint, victim.endpoint, Rights(Right::kManage));
  give(kVictimSignal, CreateSignal(victim.task), kAllRights);
  give(kMemory, memory, kAllRights);
  give(kPage, page, kAllRights);
  give(kDevice, device, kAllRights);
  give(kSelfWithoutManage, fuzzer.task, kNoManage);
  give(kRootSignal, kOwnSignal.slot, kSend);
  Shared()[1] = FreeBase().value;
  Run(fuzzer, echo);
  for (const KernelCall call :
       {KernelCall::kMapMemory, KernelCall::kUnmapMemory, KernelCall::kGrantHandle,
        KernelCall::kStartTask, KernelCall::kStartVcpu, KernelCall::kStopVm, KernelCall::kBindMmio,
        KernelCall::kBindDoorbell, KernelCall::kSetInterrupts, KernelCall::kKillTask}) {
    EXPECT_TRUE(Shared()[16 + static_cast<size_t>(call)] > 0);
  }
  EXPECT_EQ(Shared()[16 + static_cast<size_t>(KernelCall::kCreateObject)], 0ul);
  EXPECT_EQ(Shared()[16 + static_cast<size_t>(KernelCall::kGetResource)], 0ul);

  EXPECT_OK(Kill(victim));
  for (uint32_t i = 1; i < kVictimHandles; ++i) {
    EXPECT_OK(kernel::GrantHandle(kSelf, {.task = victim.task, .slot = i}));
  }
  UnmapVictim(victim.task);
  UnmapVictim(vm);
}

TEST(a_task_with_many_handles_makes_any_calls) { RunWithManyHandles(2); }
TEST(and_others) { RunWithManyHandles(3); }

}  // namespace
}  // namespace atoll::test
