// Memory: who owns which page, and that all of it comes back.
#include <array>
#include <cstring>
#include <span>
#include <tuple>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

Status CreateAt(uint64_t base, uint64_t bytes, MemoryType type = MemoryType::kNormal) {
  const auto slot =
      TryCreate({.type = ObjectType::kMemory, .a = base | static_cast<uint64_t>(type), .b = bytes});
  if (slot.has_value()) EXPECT_OK(Destroy(*slot));
  return StatusOf(slot);
}

TEST(pages_have_one_owner) {
  const PhysAddr first = TakePages(8);
  const uint32_t memory = CreateMemoryAt(first + 2 * kPageSize, 4 * kPageSize);
  for (uint64_t begin = 0; begin < 8; ++begin) {
    for (uint64_t pages = 1; begin + pages <= 8; ++pages) {
      const bool overlaps = begin < 6 && begin + pages > 2;
      EXPECT_EQ(CreateAt((first + begin * kPageSize).value, pages * kPageSize),
                overlaps ? Status::kFailedPrecondition : Status::kOk);
    }
  }
  // Nor may they back an object, or both.
  const auto back = [](PhysAddr base, uint64_t pages, uint64_t a, uint64_t b) {
    const uint32_t slot = NextSlot();
    const Status status = kernel::CreateObject(kSelf, {.type = ObjectType::kMemory,
                                                       .slot = slot,
                                                       .backing = Backing(base, pages),
                                                       .a = a,
                                                       .b = b});
    if (IsOk(status)) EXPECT_OK(kernel::DestroyObject({slot}));
    return status;
  };
  const uint64_t free_page = (first + 7 * kPageSize).value;
  EXPECT_EQ(back(first + 2 * kPageSize, 1, free_page, kPageSize), Status::kFailedPrecondition);
  EXPECT_EQ(back(first + kPageSize, 2, free_page, kPageSize), Status::kFailedPrecondition);
  EXPECT_EQ(back(PhysAddr(free_page), 1, free_page, kPageSize), Status::kFailedPrecondition);
  EXPECT_EQ(back(first, 1, free_page, kPageSize), Status::kOk);
  EXPECT_OK(Destroy(memory));
  EXPECT_EQ(CreateAt(first.value, 8 * kPageSize), Status::kOk);
}

TEST(memory_is_ram_that_was_given_away_or_a_listed_device) {
  const uint64_t free_page = FreeBase().value;
  EXPECT_EQ(CreateAt(free_page, 0), Status::kInvalidArgument);
  EXPECT_EQ(CreateAt(free_page, kPageSize + 1), Status::kInvalidArgument);
  EXPECT_EQ(CreateAt(free_page | 2, kPageSize), Status::kInvalidArgument);  // no such type
  EXPECT_EQ(CreateAt(free_page | 0x800, kPageSize), Status::kInvalidArgument);
  for (const uint64_t base :
       {0ul, 0x1000ul, 0x0800'0000ul, 1ul << 39, 1ul << 47, 1ul << 52, ~0xffful}) {
    EXPECT_EQ(CreateAt(base, kPageSize), Status::kOutOfRange);
  }
  for (const uint64_t bytes : {1ul << 40, 1ul << 63, ~0xffful})
    EXPECT_EQ(CreateAt(free_page, bytes), Status::kOutOfRange);
  // The kernel's own image and tables.
  EXPECT_EQ(CreateAt(0x4020'0000, kPageSize), Status::kFailedPrecondition);

  constexpr auto kDevice = MemoryType::kDevice;
  EXPECT_EQ(CreateAt(free_page, kPageSize, kDevice), Status::kOutOfRange);
  EXPECT_EQ(CreateAt(0x4020'0000, kPageSize, kDevice), Status::kOutOfRange);
  for (uint64_t gic = 0x0800'0000; gic < 0x0900'0000; gic += 0x1'0000) {
    EXPECT_EQ(CreateAt(gic, kPageSize, kDevice), Status::kOutOfRange);
  }
  for (const uint64_t base : {0ul, 0x0902'0000ul /* fw_cfg */, 1ul << 39, 1ul << 47, ~0xffful}) {
    EXPECT_EQ(CreateAt(base, kPageSize, kDevice), Status::kOutOfRange);
  }
  uint32_t devices = 0;
  for (uint32_t i = 0;; ++i) {
    const auto entry = kernel::GetResource(kSelf, {.index = i});
    if (!entry.has_value() || entry->kind == ResourceKind::kNone) break;
    if (entry->kind != ResourceKind::kUart && entry->kind != ResourceKind::kRtc) continue;
    ++devices;
    EXPECT_EQ(CreateAt(entry->base, entry->bytes, kDevice), Status::kOk);
    EXPECT_EQ(CreateAt(entry->base, entry->bytes + kPageSize, kDevice), Status::kOutOfRange);
    EXPECT_EQ(CreateAt(entry->base - kPageSize, 2 * kPageSize, kDevice), Status::kOutOfRange);
    EXPECT_EQ(CreateAt(entry->base, ~0xffful, kDevice), Status::kOutOfRange);
    EXPECT_EQ(CreateAt(entry->base, kPageSize), Status::kOutOfRange);  // as RAM
  }
  EXPECT_EQ(devices, 2u);
}

Status MapStatus(uint32_t memory, const MapMemoryRequest& request) {
  const auto mapped = TryMap(memory, request);
  if (mapped.has_value()) Unmap(request.space, request.address, *mapped);
  return StatusOf(mapped);
}

TEST(destroying_what_is_in_use_is_refused) {
  Child child = MakeChild([](uint32_t, uint64_t) {}, 0, {.endpoint = true});
  EXPECT_EQ(kernel::DestroyObject({child.stack}), Status::kFailedPrecondition);  // mapped
  EXPECT_EQ(kernel::DestroyObject({child.task}), Status::kFailedPrecondition);   // has mappings
  EXPECT_EQ(kernel::DestroyObject(kSelf), Status::kFailedPrecondition);
  EXPECT_EQ(kernel::DestroyObject({0}), Status::kNotFound);
  EXPECT_EQ(kernel::DestroyObject({Restricted(child.stack, kRead)}), Status::kPermissionDenied);
  const uint32_t memory = CreateMemory(kPageSize);
  Grant(memory, child.task, 5, kRead);
  EXPECT_EQ(kernel::DestroyObject({memory}), Status::kFailedPrecondition);  // held
  EXPECT_OK(kernel::GrantHandle(kSelf, {.task = child.task, .slot = 5}));
  EXPECT_OK(Destroy(memory));
  EXPECT_EQ(kernel::DestroyObject({memory}), Status::kNotFound);
  const uint32_t signal = CreateSignal(child.task);
  EXPECT_EQ(kernel::DestroyObject({child.task}), Status::kFailedPrecondition);  // owned
  EXPECT_OK(Destroy(signal));
  // The IPC page of a task that has run, mapped nowhere.
  Start(child);
  EXPECT_TRUE(IsDead(child));
  Unmap(child.task, abi::kIpcPage.value, kPageSize);
  EXPECT_EQ(kernel::DestroyObject({child.ipc}), Status::kFailedPrecondition);
  const uint32_t vm = CreateVm();
  const uint32_t vcpu = CreateVcpu(vm, 0);
  const uint32_t line = Create({.type = ObjectType::kIrqLine, .owner = vm, .a = 40});
  EXPECT_EQ(kernel::DestroyObject({vm}), Status::kFailedPrecondition);
  EXPECT_OK(Destroy(vcpu));
  EXPECT_EQ(kernel::DestroyObject({vm}), Status::kFailedPrecondition);
  EXPECT_OK(Destroy(line));
  EXPECT_OK(
      kernel::BindMmio({vm}, {.address = 0x1000, .bytes = 0x1000, .endpoint = child.endpoint}));
  EXPECT_EQ(kernel::DestroyObject({child.endpoint}), Status::kFailedPrecondition);
  EXPECT_OK(Destroy(vm));
  EXPECT_OK(Destroy(child.endpoint));
}

TEST(pages_come_back_however_often) {
  const PhysAddr base = FreeBase();
  TakePages(64);
  for (int round = 0; round < 1000; ++round) {
    for (const auto& [type, pages, a] :
         {std::tuple{ObjectType::kTask, 16ul, 2ul | 32ul << 32},
          std::tuple{ObjectType::kVm, 32ul, 64ul | 2ul << 32},
          std::tuple{ObjectType::kMemory, 1ul, (base + 63 * kPageSize).value}}) {
      const Status created = kernel::CreateObject(
          kSelf,
          {.type = type, .slot = 2000, .backing = Backing(base, pages), .a = a, .b = kPageSize});
      const Status destroyed = kernel::DestroyObject({2000});
      if (IsOk(created) && IsOk(destroyed)) continue;
      EXPECT_OK(created);
      EXPECT_OK(destroyed);
      return;
    }
  }
}

TEST(many_tasks_at_a_time) {
  constexpr uint32_t kTasks = 400;
  const uint32_t first = 1000;
  const PhysAddr base = TakePages(kTasks * 4);
  for (uint32_t i = 0; i < kTasks; ++i) {
    EXPECT_OK(kernel::CreateObject(kSelf, {.type = ObjectType::kTask,
                                           .slot = first + i,
                                           .backing = Backing(base + i * 4 * kPageSize, 4),
                                           .a = 2 | 32ul << 32}));
  }
  for (uint32_t i = 0; i < kTasks; ++i) EXPECT_OK(kernel::DestroyObject({first + i}));
}

TEST(donated_tables_come_back_with_their_space) {
  const uint32_t vm = CreateVm();
  const PhysAddr pages = TakePages(8);
  EXPECT_OK(kernel::DonateTables({vm}, {.backing = Backing(pages, 8)}));
  EXPECT_EQ(kernel::DonateTables({vm}, {.backing = Backing(pages, 1)}),
            Status::kFailedPrecondition);
  EXPECT_EQ(kernel::DonateTables({vm}, {.backing = pages.value}), Status::kInvalidArgument);
  EXPECT_EQ(kernel::DonateTables({vm}, {.backing = 1}), Status::kOutOfRange);
  EXPECT_EQ(kernel::DonateTables({vm}, {.backing = ~0ul}), Status::kOutOfRange);
  EXPECT_EQ(kernel::DonateTables(kOwnSignal, {.backing = Backing(TakePages(1), 1)}),
            Status::kInvalidArgument);
  EXPECT_OK(Destroy(vm));
  EXPECT_EQ(CreateAt(pages.value, 8 * kPageSize), Status::kOk);
}

TEST(a_space_without_tables_says_so) {
  const uint32_t task = Create({.type = ObjectType::kTask, .pages = 3, .a = 2 | 32ul << 32});
  const uint32_t memory = CreateMemory(kPageSize);
  const MapMemoryRequest request = {
      .space = task, .address = 0x7000'0000, .bytes = kPageSize, .rights = kRead};
  EXPECT_EQ(MapStatus(memory, request), Status::kResourceExhausted);
  EXPECT_OK(kernel::DonateTables({task}, {.backing = Backing(TakePages(2), 2)}));
  EXPECT_EQ(MapStatus(memory, request), Status::kOk);
}

uint64_t CountNonZero(std::span<const std::byte> bytes) {
  uint64_t count = 0;
  for (const std::byte byte : bytes) count += byte != std::byte{0};
  return count;
}

TEST(cleared_memory_is_zero) {
  constexpr uint64_t kBytes = 64 * kPageSize;
  const uint32_t memory = CreateMemory(kBytes);
  std::memset(Open(memory, kBytes), 0x99, kBytes);
  const auto clear = [&](uint64_t offset, uint64_t bytes) {
    return StatusOf(kernel::ClearMemory({memory}, {.offset = offset, .bytes = bytes}));
  };
  EXPECT_OK(clear(kPageSize, 2 * kPageSize));
  const std::span<const std::byte> all(Open(memory, kBytes), kBytes);
  EXPECT_EQ(CountNonZero(all), kBytes - 2 * kPageSize);
  EXPECT_EQ(CountNonZero(all.subspan(kPageSize, 2 * kPageSize)), 0ul);
  for (const uint64_t bytes : {0ul, 1ul, kPageSize + 8})
    EXPECT_EQ(clear(0, bytes), Status::kInvalidArgument);
  EXPECT_EQ(clear(8, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(clear(kBytes, kPageSize), Status::kOutOfRange);
  EXPECT_EQ(clear(0, kBytes + kPageSize), Status::kOutOfRange);
  EXPECT_EQ(clear(~0xffful, kPageSize), Status::kOutOfRange);
  EXPECT_EQ(CountNonZero(all), kBytes - 2 * kPageSize);
  const auto cleared = kernel::ClearMemory({memory}, {.offset = 0, .bytes = kBytes});
  EXPECT_EQ(cleared.has_value() ? cleared->bytes : 0, kBytes);
  EXPECT_EQ(CountNonZero(all), 0ul);
  EXPECT_EQ(StatusOf(kernel::ClearMemory({Restricted(memory, Rights(Right::kManage, Right::kRead))},
                                         {.bytes = kPageSize})),
            Status::kPermissionDenied);
  const uint32_t device = CreateMemoryAt(PhysAddr(0x0901'0000), kPageSize, MemoryType::kDevice);
  EXPECT_EQ(StatusOf(kernel::ClearMemory({device}, {.bytes = kPageSize})),
            Status::kPermissionDenied);
}

TEST(objects_begin_clean_in_dirty_pages) {
  constexpr uint64_t kPages = 32;
  const PhysAddr base = TakePages(kPages);
  const uint32_t dirt = CreateMemoryAt(base, kPages * kPageSize);
  std::memset(Open(dirt, kPages * kPageSize), 0xff, kPages * kPageSize);
  Close();
  EXPECT_OK(Destroy(dirt));
  const uint32_t task = NextSlot();
  EXPECT_OK(kernel::CreateObject(kSelf, {.type = ObjectType::kTask,
                                         .slot = task,
                                         .backing = Backing(base, kPages),
                                         .a = 2 | 127ul << 32}));
  const auto state = kernel::InspectTask({task});
  EXPECT_OK(StatusOf(state));
  EXPECT_EQ(state->state, TaskState::kCreated);
  EXPECT_EQ(state->cause, DeathCause::kNone);
  EXPECT_EQ(state->pc | state->esr | state->far | state->ticks, 0ul);
  const uint32_t memory = CreateMemory(kPageSize);
  for (const uint64_t address :
       {0ul, 0x40'0000ul, 0x1000'0000ul, 1ul << 38, (1ul << 39) - kPageSize}) {
    EXPECT_EQ(
        MapStatus(memory, {.space = task, .address = address, .bytes = kPageSize, .rights = kRead}),
        Status::kOk);
    EXPECT_EQ(StatusOf(kernel::UnmapMemory({task}, {.address = address, .bytes = kPageSize})),
              Status::kNotFound);
  }
  EXPECT_OK(kernel::DestroyObject({task}));  // no handle in its table refers to anything
}

}  // namespace
}  // namespace atoll::test
