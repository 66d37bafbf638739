// Every kernel call asks for the right handle, right, type and range first; objects are made as described or not at all.
#include <array>
#include <cstring>
#include <span>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

using Words = abi::Words;

uint32_t Bits(ObjectType type) { return 1u << static_cast<uint32_t>(type); }

struct CallRule {
  KernelCall call;
  Right right;
  uint32_t types;  // that it takes
  Words words;     // in range
};

// Calls that need the caller's own task as handle take no other task.
constexpr uint32_t kTask = 1u << static_cast<uint32_t>(ObjectType::kTask);
constexpr uint32_t kVm = 1u << static_cast<uint32_t>(ObjectType::kVm);
constexpr uint32_t kVcpu = 1u << static_cast<uint32_t>(ObjectType::kVcpu);
constexpr uint32_t kMemory = 1u << static_cast<uint32_t>(ObjectType::kMemory);
constexpr uint32_t kAnyType = ~0u;

const CallRule kRules[] = {
    {KernelCall::kSetSignal, Right::kSend, 1u << static_cast<uint32_t>(ObjectType::kSignal), {}},
    {KernelCall::kSetIrqLine, Right::kDrive, 1u << static_cast<uint32_t>(ObjectType::kIrqLine), {}},
    {KernelCall::kAcknowledgeIrq, Right::kDrive, 1u << static_cast<uint32_t>(ObjectType::kIrq), {}},
    {KernelCall::kGetInterrupts, Right::kInterrupts, kVm, {1, 32, 1, 0}},
    {KernelCall::kSetInterrupts, Right::kInterrupts, kVm, {1, 32, 0, 0, 0}},
    {KernelCall::kStartVcpu, Right::kPower, kVcpu, {}},
    {KernelCall::kStopVcpu, Right::kPower, kVcpu, {}},
    {KernelCall::kGetVcpuState, Right::kPower, kVcpu, {}},
    {KernelCall::kStopVm, Right::kPower, kVm, {2}},
    {KernelCall::kGetVmState, Right::kPower, kVm, {}},
    {KernelCall::kSetIdRegister, Right::kPower, kVm, {4, 0, 0}},
    {KernelCall::kGetIdRegister, Right::kRead, kVm, {4, 0}},
    {KernelCall::kSuspendVcpu, Right::kPower, kVcpu, {}},
    {KernelCall::kCreateObject, Right::kManage, kAnyType, {1, 1000, 0, 0, 0, 0}},
    {KernelCall::kDestroyObject, Right::kManage, kAnyType, {}},
    {KernelCall::kGrantHandle, Right::kManage, kAnyType, {1, 1000, 1, 0}},
    {KernelCall::kMapMemory, Right::kManage, kMemory, {1, 0, kScratchAddress, kPageSize, 4}},
    {KernelCall::kUnmapMemory, Right::kManage, kTask | kVm, {kScratchAddress, kPageSize}},
    {KernelCall::kClearMemory, Right::kManage, kMemory, {0, kPageSize}},
    {KernelCall::kStartTask, Right::kManage, kTask, {}},
    {KernelCall::kKillTask, Right::kManage, kTask, {}},
    {KernelCall::kBindMmio, Right::kManage, kVm, {0, kPageSize, 0, 0}},
    {KernelCall::kBindDoorbell, Right::kManage, kVm, {0, 0, 0, 1}},
    {KernelCall::kBindHypercall, Right::kManage, kVm, {0}},
    {KernelCall::kInspectTask, Right::kManage, kTask, {}},
    {KernelCall::kDonateTables, Right::kManage, kTask | kVm, {0}},
    {KernelCall::kResetVm, Right::kManage, kVm, {}},
    {KernelCall::kPowerOff, Right::kManage, kAnyType, {}},
    {KernelCall::kSetSchedule, Right::kManage, kTask | kVcpu, {}},
    {KernelCall::kGetResource, Right::kManage, kAnyType, {}},
    {KernelCall::kReadLog, Right::kManage, kAnyType, {}},
    {KernelCall::kSetLogOutput, Right::kManage, kAnyType, {}},
};

Status RawCall(uint64_t number, uint64_t handle, const Words& words) {
  uint64_t x[31] = {handle, words[0], words[1], words[2], words[3], words[4], words[5], 0, number};
  CallWithRegisters(x);
  return static_cast<Status>(x[0]);
}

void ExpectStatus(const CallRule& rule, const char* what, Status actual, Status expected) {
  if (actual == expected) return;
  char buffer[kLogLineBytes];
  ReportFailure(Format(buffer, "FAILED call ", AsNumber(rule.call), ", ", what, ": ", actual,
                       ", not ", expected));
}

// One object of each type.
struct Zoo {
  std::array<uint32_t, 9> slots = {};
};

Zoo MakeZoo() {
  const Child child = MakeChild(nullptr, 0, {.endpoint = true});
  const uint32_t vm = CreateVm();
  Zoo zoo;
  const auto put = [&](ObjectType type, uint32_t slot) {
    zoo.slots[static_cast<size_t>(type)] = slot;
  };
  put(ObjectType::kMemory, CreateMemory(kPageSize));
  put(ObjectType::kTask, child.task);
  put(ObjectType::kVm, vm);
  put(ObjectType::kVcpu, CreateVcpu(vm, 0));
  put(ObjectType::kEndpoint, child.endpoint);
  put(ObjectType::kSignal, CreateSignal(child.task));
  put(ObjectType::kIrq,
      Create({.type = ObjectType::kIrq, .owner = kOwnSignal.slot, .a = 34, .b = 1}));
  put(ObjectType::kIrqLine, Create({.type = ObjectType::kIrqLine, .owner = vm, .a = 40}));
  return zoo;
}

TEST(empty_handles_are_not_found) {
  const uint32_t empty = NextSlot();
  for (const CallRule& rule : kRules) {
    for (const uint64_t handle :
         {0ul, uint64_t{empty}, uint64_t{kRootHandles}, 1ul << 32 | 1, 1ul << 63, ~0ul}) {
      ExpectStatus(rule, "empty handle", RawCall(AsNumber(rule.call), handle, rule.words),
                   Status::kNotFound);
    }
  }
}

TEST(handles_without_the_right_are_refused) {
  const Zoo zoo = MakeZoo();
  for (const uint32_t object : zoo.slots) {
    if (object == 0) continue;
    for (const CallRule& rule : kRules) {
      const uint32_t handle = Restricted(object, kAllRights & ~Rights(rule.right));
      ExpectStatus(rule, "no right", RawCall(AsNumber(rule.call), handle, rule.words),
                   Status::kPermissionDenied);
      EXPECT_OK(kernel::GrantHandle(kSelf, {.task = kSelf.slot, .slot = handle}));
    }
  }
}

TEST(objects_of_another_type_are_refused) {
  const Zoo zoo = MakeZoo();
  for (size_t type = 1; type < zoo.slots.size(); ++type) {
    for (const CallRule& rule : kRules) {
      if (rule.types == kAnyType || (rule.types & 1u << type) != 0) continue;
      ExpectStatus(rule, "other type", RawCall(AsNumber(rule.call), zoo.slots[type], rule.words),
                   Status::kInvalidArgument);
    }
  }
}

TEST(only_the_own_task_gives_authority) {
  const Zoo zoo = MakeZoo();
  const KernelCall kCalls[] = {KernelCall::kCreateObject, KernelCall::kPowerOff,
                               KernelCall::kGetResource};
  for (const uint32_t object : zoo.slots) {
    if (object == 0) continue;
    for (const KernelCall call : kCalls) {
      EXPECT_EQ(RawCall(AsNumber(call), object, {1, 1000}), Status::kPermissionDenied);
    }
  }
}

TEST(fields_out_of_range_are_refused) {
  const Zoo zoo = MakeZoo();
  const auto check = [&](KernelCall call, ObjectType type, const Words& words) {
    const CallRule rule = {call, Right::kNone, Bits(type), words};
    const uint64_t handle =
        type == ObjectType::kNone ? kSelf.slot : zoo.slots[static_cast<size_t>(type)];
    ExpectStatus(rule, "range", RawCall(AsNumber(call), handle, words), Status::kInvalidArgument);
  };
  check(KernelCall::kSetIrqLine, ObjectType::kIrqLine, {2});
  check(KernelCall::kSetIrqLine, ObjectType::kIrqLine, {~0ul});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {9, 32, 1, 0});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {1ul << 32, 32, 1, 0});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {1, 1024, 1, 0});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {1, 32, 0, 0});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {1, 32, 33, 0});
  check(KernelCall::kGetInterrupts, ObjectType::kVm, {1, 32, 1, 512});
  check(KernelCall::kSetInterrupts, ObjectType::kVm, {9, 32, 0, 0, 0});
  check(KernelCall::kSetInterrupts, ObjectType::kVm, {1, 1024, 0, 0, 0});
  check(KernelCall::kSetInterrupts, ObjectType::kVm, {1, 32, 0, 0, 512});
  check(KernelCall::kStopVm, ObjectType::kVm, {5});
  check(KernelCall::kStopVm, ObjectType::kVm, {0});
  check(KernelCall::kStopVm, ObjectType::kVm, {1});
  check(KernelCall::kSetIdRegister, ObjectType::kVm, {0, 0, 0});
  check(KernelCall::kSetIdRegister, ObjectType::kVm, {8, 0, 0});
  check(KernelCall::kSetIdRegister, ObjectType::kVm, {4, 8, 0});
  check(KernelCall::kGetIdRegister, ObjectType::kVm, {8, 0});
  check(KernelCall::kBindDoorbell, ObjectType::kVm, {0, 1, 64, 1});
  check(KernelCall::kBindDoorbell, ObjectType::kVm, {0, 1, 0, 0});
  check(KernelCall::kBindDoorbell, ObjectType::kVm, {0, 1, 0, 65});
  check(KernelCall::kCreateObject, ObjectType::kNone, {9, 1000});
  check(KernelCall::kCreateObject, ObjectType::kNone, {1, 0});
  check(KernelCall::kCreateObject, ObjectType::kNone, {1, 4096});
  check(KernelCall::kGrantHandle, ObjectType::kMemory, {1, 0, 1, 0});
  check(KernelCall::kGrantHandle, ObjectType::kMemory, {1, 4096, 1, 0});
  check(KernelCall::kGrantHandle, ObjectType::kMemory, {1, 1000, 512, 0});
  check(KernelCall::kGrantHandle, ObjectType::kMemory, {1ul << 32 | 1, 1000, 1, 0});
  check(KernelCall::kMapMemory, ObjectType::kMemory,
        {1ul << 32 | 1, 0, kScratchAddress, kPageSize, 4});
  check(KernelCall::kPowerOff, ObjectType::kNone, {256});
  check(KernelCall::kGetResource, ObjectType::kNone, {4096});
  check(KernelCall::kSetSchedule, ObjectType::kTask, {32});
}

TEST(other_numbers_are_no_calls) {
  constexpr uint64_t kKnown =
      0b111ul << 1 | 0x7ful << 8 | 0b11ul << 16 | 0xfful << 20 | 0x1fff'fffful << 32;  // 32 to 60
  for (uint64_t number = 0; number < 4096; ++number) {
    if (number < 64 && (kKnown >> number & 1) != 0) continue;
    EXPECT_EQ(RawCall(number, 0, {}), Status::kUnimplemented);
    EXPECT_EQ(RawCall(number, kSelf.slot, {}), Status::kUnimplemented);
  }
  for (const uint64_t number :
       {1ul << 32 | 12, 1ul << 63 | 8, 1ul << 32 | 1, 1ul << 32 | 2, ~0ul}) {
    EXPECT_EQ(RawCall(number, kSelf.slot, {}), Status::kUnimplemented);
  }
}

TEST(slots_of_new_objects_are_empty_ones) {
  const auto create = [](uint32_t slot, uint64_t backing) {
    return kernel::CreateObject(
        kSelf, {.type = ObjectType::kTask, .slot = slot, .backing = backing, .a = 32ul << 32});
  };
  const PhysAddr pages = TakePages(16);
  EXPECT_EQ(create(kSelf.slot, Backing(pages, 16)), Status::kAlreadyExists);
  EXPECT_EQ(create(kRootHandles, Backing(pages, 16)), Status::kOutOfRange);
  EXPECT_EQ(create(4095, Backing(pages, 16)), Status::kOutOfRange);
  const uint32_t slot = NextSlot();
  EXPECT_EQ(create(slot, pages.value), Status::kResourceExhausted);  // no pages
  EXPECT_EQ(create(slot, Backing(pages, 1)), Status::kResourceExhausted);
  EXPECT_EQ(create(slot, Backing(pages, 2)), Status::kResourceExhausted);
  EXPECT_EQ(create(slot, 0 | 16), Status::kOutOfRange);
  EXPECT_EQ(create(slot, ~0ul), Status::kOutOfRange);
  EXPECT_EQ(create(slot, (1ul << 52) | 4), Status::kOutOfRange);
  EXPECT_EQ(create(slot, 0x4020'0000 | 4), Status::kFailedPrecondition);  // the kernel's
  EXPECT_OK(create(slot, Backing(pages, 3)));
  EXPECT_OK(kernel::DestroyObject({slot}));
}

TEST(tasks_are_made_within_their_limits) {
  const auto create = [](uint64_t a) {
    const auto slot = TryCreate({.type = ObjectType::kTask, .pages = 8, .a = a});
    if (slot.has_value()) EXPECT_OK(Destroy(*slot));
    return StatusOf(slot);
  };
  constexpr uint64_t kHandles = 32ul << 32;
  EXPECT_EQ(create(kHandles | 4), Status::kOk);
  EXPECT_EQ(create(kHandles | 5), Status::kInvalidArgument);  // rank
  EXPECT_EQ(create(kHandles | 255), Status::kInvalidArgument);
  EXPECT_EQ(create(kHandles | 31ul << 8), Status::kOk);
  EXPECT_EQ(create(kHandles | 32ul << 8), Status::kInvalidArgument);  // priority
  EXPECT_EQ(create(kHandles | 63ul << 16), Status::kOk);
  EXPECT_EQ(create(kHandles | 64ul << 16), Status::kInvalidArgument);  // timer bit
  EXPECT_EQ(create(0), Status::kInvalidArgument);
  EXPECT_EQ(create(1ul << 32), Status::kInvalidArgument);
  EXPECT_EQ(create(2ul << 32), Status::kOk);
  EXPECT_EQ(create(0xfffful << 32), Status::kResourceExhausted);
}

TEST(owners_are_of_the_right_kind) {
  const Zoo zoo = MakeZoo();
  for (const ObjectType type : {ObjectType::kVcpu, ObjectType::kEndpoint, ObjectType::kSignal,
                                ObjectType::kIrq, ObjectType::kIrqLine}) {
    const bool owned_by_vm = type == ObjectType::kVcpu || type == ObjectType::kIrqLine;
    const ObjectType right = owned_by_vm                ? ObjectType::kVm
                             : type == ObjectType::kIrq ? ObjectType::kSignal
                                                        : ObjectType::kTask;
    for (size_t owner = 1; owner < zoo.slots.size(); ++owner) {
      if (owner == static_cast<size_t>(right)) continue;
      EXPECT_EQ(StatusOf(TryCreate(
                    {.type = type, .pages = 4, .owner = zoo.slots[owner], .a = 1, .b = 1})),
                Status::kInvalidArgument);
    }
    EXPECT_EQ(StatusOf(TryCreate({.type = type, .pages = 4, .owner = 0, .a = 1, .b = 1})),
              Status::kNotFound);
    const uint32_t weak =
        Restricted(zoo.slots[static_cast<size_t>(right)], kAllRights & ~Rights(Right::kManage));
    EXPECT_EQ(StatusOf(TryCreate({.type = type, .pages = 4, .owner = weak, .a = 1, .b = 1})),
              Status::kPermissionDenied);
  }
  EXPECT_EQ(StatusOf(TryCreate({.type = ObjectType::kNone})), Status::kInvalidArgument);
}

TEST(rights_only_shrink) {
  const uint32_t memory = CreateMemory(kPageSize);
  const Child child = MakeChild(nullptr);
  constexpr uint32_t kManage = Rights(Right::kManage);
  const uint32_t weaker = Restricted(memory, kManage | kRead);
  const auto grant = [&](uint32_t object, uint32_t slot, uint32_t rights) {
    return kernel::GrantHandle({object}, {.task = child.task, .slot = slot, .rights = rights});
  };
  EXPECT_EQ(grant(weaker, 1, kManage | kRead), Status::kOk);
  EXPECT_EQ(grant(weaker, 1, kReadWrite), Status::kPermissionDenied);
  EXPECT_EQ(grant(weaker, 1, kAllRights), Status::kPermissionDenied);
  EXPECT_EQ(grant(memory, 31, kRead), Status::kOk);
  EXPECT_EQ(grant(memory, 32, kRead), Status::kOutOfRange);
  EXPECT_EQ(grant(memory, 4095, kRead), Status::kOutOfRange);
  EXPECT_EQ(kernel::GrantHandle({memory}, {.task = memory, .slot = 1, .rights = kRead}),
            Status::kInvalidArgument);
  EXPECT_EQ(kernel::GrantHandle({memory}, {.task = 0, .slot = 1, .rights = kRead}),
            Status::kNotFound);
  // Two handles are held by the child: the object stays.
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = kSelf.slot, .slot = weaker}));
  EXPECT_EQ(kernel::DestroyObject({memory}), Status::kFailedPrecondition);
  EXPECT_EQ(grant(kSelf.slot, 1, 0), Status::kOk);
  EXPECT_EQ(grant(kSelf.slot, 1, 0), Status::kOk);  // empty already
  EXPECT_EQ(kernel::DestroyObject({memory}), Status::kFailedPrecondition);
  EXPECT_EQ(grant(child.stack, 31, kRead), Status::kOk);  // replaced
  EXPECT_OK(Destroy(memory));
  EXPECT_EQ(grant(kSelf.slot, 31, 0), Status::kOk);
}

// Tries to get what only the root has.
void Climber(uint32_t, uint64_t) {
  uint64_t got = 0;
  for (uint32_t slot = 0; slot < 32; ++slot) {
    got += IsOk(kernel::CreateObject(
        {slot}, {.type = ObjectType::kMemory, .slot = 20, .backing = Shared()[1], .a = 0, .b = 0}));
    got += IsOk(kernel::GrantHandle({slot}, {.task = 1, .slot = 20, .rights = kRead}));
    got += StatusOf(kernel::MapMemory(
               {slot},
               {.space = 1, .address = kScratchAddress, .bytes = kPageSize, .rights = kRead})) ==
           Status::kOk;
    got += IsOk(kernel::KillTask({slot}));
    got += IsOk(kernel::DestroyObject({slot}));
    got += IsOk(kernel::PowerOff({slot}, {}));
    got += StatusOf(kernel::GetResource({slot}, {})) == Status::kOk;
    got += StatusOf(kernel::InspectTask({slot})) == Status::kOk;
  }
  Shared()[0] = 0x100 + got;
}

TEST(a_task_without_manage_gets_nothing_more) {
  const Zoo zoo = MakeZoo();
  const Child child = MakeChild(Climber);
  uint32_t slot = 1;
  Grant(child.task, child.task, slot++, kAllRights & ~Rights(Right::kManage));
  Grant(kSelf.slot, child.task, slot++, kAllRights & ~Rights(Right::kManage));
  for (const uint32_t object : zoo.slots) {
    // An endpoint of its own rank would not be granted with the right to send.
    if (object != 0)
      Grant(object, child.task, slot++, kAllRights & ~Rights(Right::kManage, Right::kSend));
  }
  Shared()[1] = Backing(FreeBase(), 1);
  Child started = child;
  Start(started);
  EXPECT_EQ(Shared()[0], 0x100ul);
  EXPECT_TRUE(IsDead(started));
}

TEST(the_list_of_resources_makes_sense) {
  uint32_t cpus = 0, ram = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const auto entry = kernel::GetResource(kSelf, {.index = i});
    EXPECT_OK(StatusOf(entry));
    if (entry->kind == ResourceKind::kNone) {
      EXPECT_EQ(entry->base | entry->bytes, 0ul);
      continue;
    }
    if (entry->kind == ResourceKind::kCpus) {
      ++cpus;
      EXPECT_EQ(entry->base, 1ul);
      continue;
    }
    EXPECT_TRUE(entry->bytes > 0);
    if (entry->kind == ResourceKind::kRam) {
      ++ram;
      EXPECT_EQ(entry->base % kPageSize, 0ul);
    } else {
      EXPECT_RANGE(entry->intid, 32, 1019);
    }
  }
  EXPECT_EQ(cpus, 1u);
  EXPECT_TRUE(ram > 0);
}

}  // namespace
}  // namespace atoll::test
