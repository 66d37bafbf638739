#include "tests/kernel/harness.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "services/runtime/service.h"
#include "tests/kernel/inventory.h"

extern "C" const std::byte image_start[], rodata_start[], data_start[], data_end[];
extern "C" const atoll::test::TestCase test_cases_start[], test_cases_end[];

namespace atoll::test {
namespace {

inline constexpr uint32_t kFirstSlot = 16;
inline constexpr uint64_t kWindow = 0x4000'0000;  // where Open maps
inline constexpr uint32_t kLogBackOffMicros = 100'000;
inline constexpr uint32_t kDeathBits = 32;  // bits of the root's signal that tell of deaths

struct Root {
  PhysAddr next;   // pages from here on are free
  PhysAddr first;  // what `next` is at the start of a test
  PhysAddr end;
  uint32_t next_slot = kFirstSlot;
  uint32_t first_slot = kFirstSlot;
  uint32_t code = 0;  // memory object with text and constants
  uint32_t shared = 0;
  uint32_t open = 0;  // memory object in the window
  uint64_t open_bytes = 0;
  uint64_t pending = 0;  // signal bits that nobody asked for yet
  uint32_t children = 0;
};
constinit Root root;

volatile uint64_t& Failures() { return Shared()[kSharedWords]; }

void Must(Status status, std::string_view what) {
  if (IsOk(status)) return;
  char buffer[kLogLineBytes];
  GiveUp(Format(buffer, what, ": ", status));
}

uint64_t DataBytes() { return AlignUp(static_cast<uint64_t>(data_end - data_start), kPageSize); }
uint64_t CodeBytes() { return static_cast<uint64_t>(data_start - image_start); }

// All memory is free: the kernel lets it become one object.
void CheckAllCameBack() {
  const auto slot = TryCreate({.type = ObjectType::kMemory,
                               .a = root.first.value + kPageSize,
                               .b = root.end - root.first - kPageSize});
  if (!slot.has_value()) {
    char buffer[kLogLineBytes];
    ReportFailure(Format(buffer, "FAILED harness: not all memory came back: ", slot.error()));
    return;
  }
  EXPECT_OK(Destroy(*slot));
}

void EndTest() {
  DiscardEverything();
  static_cast<void>(kernel::SetTimer({.deadline = ~uint64_t{0}}));
  while (WaitFor(~kTimerBit, 1) != 0) {
  }  // no signal of this test reaches the next one
  root.pending = 0;
}

// Makes code and shared page, which stay.
void SetUp() {
  for (uint32_t index = 0;; ++index) {
    const auto entry = kernel::GetResource(kSelf, {.index = index});
    if (!entry.has_value() || entry->kind == ResourceKind::kNone) break;
    if (entry->kind != ResourceKind::kRam || entry->bytes <= root.end - root.next) continue;
    root.next = PhysAddr(AlignUp(entry->base, kPageSize));
    root.end = PhysAddr(AlignDown(entry->base + entry->bytes, kPageSize));
  }
  if (root.end == root.next) GiveUp("harness: the machine has no RAM");
  root.shared = CreateMemory(kPageSize);
  Map(root.shared, kSelf.slot, kSharedAddress, kPageSize, kReadWrite);
  root.code = CreateMemory(CodeBytes());
  std::memcpy(Open(root.code, CodeBytes()), image_start, CodeBytes());
  Close();
  inventory::Forget();
  root.first = root.next;
  root.first_slot = root.next_slot;
}

// Where a child begins: x0 = entry | argument << 32.
[[noreturn]] void ChildStart(uint64_t packed, uint64_t generation) {
  const auto entry = reinterpret_cast<Entry>(packed & 0xffff'ffff);
  entry(static_cast<uint32_t>(packed >> 32), generation);
  Exit(0);
}

void RunTests() {
  SetUp();
  char buffer[kLogLineBytes];
  const std::span<const TestCase> tests(test_cases_start, test_cases_end);
  Print(Format(buffer, "TESTS ", tests.size()));
  uint64_t failed = 0;
  for (const TestCase& test : tests) {
    std::memset(reinterpret_cast<void*>(kSharedAddress), 0, kPageSize);
    test.run();
    EndTest();
    failed += Failures() != 0;
    Print(Format(buffer, Failures() == 0 ? "PASS " : "FAIL ", test.name));
  }
  Print("DONE");
  static_cast<void>(kernel::PowerOff(kSelf, {.status = failed == 0 ? 0u : 1u}));
}

}  // namespace

void DiscardEverything() {
  if (root.open != 0) Close();
  inventory::TakeBack();
  root.next = root.first;
  root.next_slot = root.first_slot;
  CheckAllCameBack();
  inventory::Forget();
  root.next = root.first;
  root.next_slot = root.first_slot;
  root.children = 0;
}

void ReportFailure(std::string_view text) {
  Failures() = Failures() + 1;
  Log(text);
}

void CheckRange(const char* file, int line, const char* what, uint64_t actual, uint64_t low,
                uint64_t high) {
  if (actual >= low && actual <= high) return;
  char buffer[kLogLineBytes];
  ReportFailure(Format(buffer, "FAILED ", file, ":", line, ": ", what, ": ", actual, ", not ", low,
                       "..", high));
}

void GiveUp(std::string_view why) {
  Log("FAILED ", why);
  static_cast<void>(kernel::PowerOff(kSelf, {.status = 2}));
  Exit(2);  // a child
}

void Print(std::string_view text) {
  const size_t bytes = std::min(text.size(), kLogLineBytes);
  for (;;) {
    std::memcpy(abi::IpcPage().data(), text.data(), bytes);
    if (kernel::Log({.bytes = static_cast<uint32_t>(bytes)}) != Status::kResourceExhausted) return;
    Sleep(kLogBackOffMicros);
  }
}

PhysAddr TakePages(uint64_t pages) {
  if (root.end - root.next < pages * kPageSize) GiveUp("harness: out of memory");
  const PhysAddr base = root.next;
  root.next = root.next + pages * kPageSize;
  return base;
}

PhysAddr FreeBase() { return root.next; }
uint64_t FreeBytes() { return root.end - root.next; }

uint32_t NextSlot() {
  if (root.next_slot == kRootHandles) GiveUp("harness: out of slots");
  return root.next_slot++;
}

Result<uint32_t> TryCreate(const NewObject& object) {
  const uint32_t slot = NextSlot();
  const Status status =
      kernel::CreateObject(kSelf, {.type = object.type,
                                   .slot = slot,
                                   .backing = Backing(TakePages(object.pages), object.pages),
                                   .owner = object.owner,
                                   .a = object.a,
                                   .b = object.b});
  if (!IsOk(status)) return std::unexpected(status);
  inventory::AddObject(slot, object.type);
  return slot;
}

uint32_t Create(const NewObject& object) {
  const auto slot = TryCreate(object);
  if (!slot.has_value()) Must(slot.error(), "harness: create");
  return *slot;
}

Status Destroy(uint32_t slot) {
  const Status status = kernel::DestroyObject({slot});
  if (!IsOk(status)) return status;
  inventory::ForgetObject(slot);
  return status;
}

uint32_t CreateMemoryAt(PhysAddr base, uint64_t bytes, MemoryType type) {
  return Create(
      {.type = ObjectType::kMemory, .a = base.value | static_cast<uint64_t>(type), .b = bytes});
}

uint32_t CreateMemory(uint64_t bytes) {
  return CreateMemoryAt(TakePages(bytes / kPageSize), bytes);
}
uint32_t CreateSignal(uint32_t task) {
  return Create({.type = ObjectType::kSignal, .owner = task});
}

uint32_t CreateVm(uint32_t vcpus, uint64_t watcher_bits) {
  return Create(
      {.type = ObjectType::kVm, .pages = 32, .a = 64 | uint64_t{vcpus} << 32, .b = watcher_bits});
}

uint32_t CreateVcpu(uint32_t vm, uint32_t index, uint32_t priority) {
  return Create(
      {.type = ObjectType::kVcpu, .pages = 2, .owner = vm, .a = index | priority << 8, .b = index});
}

Result<uint64_t> TryMap(uint32_t memory, const MapMemoryRequest& request) {
  const auto reply = kernel::MapMemory({memory}, request);
  if (!reply.has_value()) return std::unexpected(reply.error());
  inventory::AddMapping(request.space, request.address, reply->bytes);
  return reply->bytes;
}

void Map(uint32_t memory, uint32_t space, uint64_t address, uint64_t bytes, uint32_t rights,
         uint64_t offset) {
  inventory::AddMapping(space, address, bytes);
  for (uint64_t done = 0; done < bytes;) {
    const auto reply = kernel::MapMemory({memory}, {.space = space,
                                                    .offset = offset + done,
                                                    .address = address + done,
                                                    .bytes = bytes - done,
                                                    .rights = rights});
    if (!reply.has_value()) Must(reply.error(), "harness: map");
    done += reply->bytes;
  }
}

void Unmap(uint32_t space, uint64_t address, uint64_t bytes) {
  Must(inventory::UnmapAll(space, address, bytes), "harness: unmap");
  inventory::ForgetMapping(space, address);
}

std::byte* Open(uint32_t memory, uint64_t bytes) {
  if (root.open != 0) Close();
  root.open = memory;
  root.open_bytes = bytes;
  Map(memory, kSelf.slot, kWindow, bytes, kReadWrite);
  return reinterpret_cast<std::byte*>(kWindow);
}

void Close() {
  Unmap(kSelf.slot, kWindow, root.open_bytes);
  root.open = 0;
}

void Grant(uint32_t object, uint32_t task, uint32_t slot, uint32_t rights, uint64_t badge) {
  Must(
      kernel::GrantHandle({object}, {.task = task, .slot = slot, .rights = rights, .badge = badge}),
      "harness: grant");
  inventory::AddGrant(task, slot);
}

uint32_t Restricted(uint32_t object, uint32_t rights, uint64_t badge) {
  const uint32_t slot = NextSlot();
  Grant(object, kSelf.slot, slot, rights, badge);
  return slot;
}

void GrantRootSignal(uint32_t task, uint32_t slot, uint64_t bits) {
  Grant(kOwnSignal.slot, task, slot, kSend, bits);
}

Child MakeChild(Entry entry, uint32_t argument, const ChildOptions& options) {
  Child child = {.entry = entry, .argument = argument};
  child.death_bit = uint64_t{1} << (root.children++ % kDeathBits);
  child.task = Create({.type = ObjectType::kTask,
                       .pages = 16,
                       .a = options.rank | options.priority << 8 | uint64_t{63} << 16 |
                            uint64_t{options.handles} << 32,
                       .b = child.death_bit});
  const uint64_t text = static_cast<uint64_t>(rodata_start - image_start);
  Map(root.code, child.task, abi::kImageBase.value, text, kReadExecute);
  Map(root.code, child.task, abi::kImageBase.value + text, CodeBytes() - text, kRead, text);
  child.data = CreateMemory(DataBytes());
  Map(child.data, child.task, abi::kImageBase.value + CodeBytes(), DataBytes(), kReadWrite);
  child.stack = CreateMemory(kChildStackBytes);
  Map(child.stack, child.task, abi::kStackTop.value - kChildStackBytes, kChildStackBytes,
      kReadWrite);
  child.ipc = CreateMemory(kPageSize);
  static_cast<void>(kernel::ClearMemory({child.ipc}, {.bytes = kPageSize}));
  Map(child.ipc, child.task, abi::kIpcPage.value, kPageSize, kReadWrite);
  Map(root.shared, child.task, kSharedAddress, kPageSize, kReadWrite);
  if (options.endpoint) {
    child.endpoint =
        Create({.type = ObjectType::kEndpoint, .owner = child.task, .a = options.rank});
  }
  return child;
}

Status StartAt(Child& child, uint64_t pc, uint64_t sp) {
  std::memcpy(Open(child.data, DataBytes()), data_start,
              static_cast<size_t>(data_end - data_start));
  Close();
  const uint64_t argument = reinterpret_cast<uint64_t>(child.entry) | uint64_t{child.argument}
                                                                          << 32;
  return kernel::StartTask({child.task}, {.pc = pc,
                                          .sp = sp,
                                          .argument = argument,
                                          .generation = child.generation++,
                                          .ipc_memory = child.ipc});
}

void Start(Child& child) {
  Must(StartAt(child, reinterpret_cast<uint64_t>(ChildStart), abi::kStackTop.value),
       "harness: start");
}

Child StartChild(Entry entry, uint32_t argument, const ChildOptions& options) {
  Child child = MakeChild(entry, argument, options);
  Start(child);
  return child;
}

Child StartServer(Entry entry, uint32_t argument, ChildOptions options) {
  options.endpoint = true;
  return StartChild(entry, argument, options);
}

void Discard(const Child& child) {
  Must(Kill(child), "harness: kill");
  inventory::UnmapSpace(child.task);
  for (const uint32_t slot : {child.endpoint, child.task, child.data, child.stack, child.ipc}) {
    if (slot != 0) Must(Destroy(slot), "harness: destroy");
  }
}

InspectTaskReply Inspect(const Child& child) {
  const auto reply = kernel::InspectTask({child.task});
  if (!reply.has_value()) Must(reply.error(), "harness: inspect");
  return *reply;
}

bool IsDead(const Child& child) { return Inspect(child).state == TaskState::kDead; }
Status Kill(const Child& child) { return kernel::KillTask({child.task}); }

uint64_t Now() {
  uint64_t ticks;
  asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks));
  return ticks;
}

uint64_t Ticks(uint64_t micros) {
  uint64_t frequency;
  asm("mrs %0, cntfrq_el0" : "=r"(frequency));
  return micros * frequency / 1'000'000;
}

uint64_t WaitFor(uint64_t mask, uint64_t timeout_micros) {
  const uint64_t deadline = Now() + Ticks(timeout_micros);
  static_cast<void>(kernel::SetTimer({.deadline = deadline}));
  for (;;) {
    if (const uint64_t bits = root.pending & mask; bits != 0) {
      root.pending &= ~bits;
      static_cast<void>(kernel::SetTimer({.deadline = ~uint64_t{0}}));
      return bits;
    }
    const abi::Received received = abi::ReplyWait(0, {});
    root.pending |= received.message.words[0] & ~kTimerBit;
    // The timer's bit may be an earlier one's.
    if ((root.pending & mask) == 0 && Now() >= deadline) return 0;
  }
}

void Sleep(uint64_t micros) {
  const uint64_t end = Now() + Ticks(micros);
  while (Now() < end) {
    static_cast<void>(kernel::SetTimer({.deadline = end}));
    root.pending |= abi::ReplyWait(0, {}).message.words[0] & ~kTimerBit;
  }
}

}  // namespace atoll::test

void atoll::ServiceMain(const StartInfo&) { test::RunTests(); }
