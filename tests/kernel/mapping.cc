// What may be mapped where and how, and that what is unmapped is gone.
#include <cstring>

#include "tests/kernel/harness.h"

namespace atoll::test {
namespace {

Status MapStatus(uint32_t memory, const MapMemoryRequest& request) {
  const auto mapped = TryMap(memory, request);
  if (mapped.has_value()) Unmap(request.space, request.address, *mapped);
  return StatusOf(mapped);
}

TEST(mappings_stay_inside_the_object_and_the_space) {
  const uint32_t memory = CreateMemory(4 * kPageSize);
  const Child child = MakeChild(nullptr);
  const auto map = [&](uint64_t offset, uint64_t address, uint64_t bytes) {
    return MapStatus(memory, {.space = child.task,
                              .offset = offset,
                              .address = address,
                              .bytes = bytes,
                              .rights = kRead});
  };
  constexpr uint64_t kHere = 0x7000'0000;
  EXPECT_EQ(map(0, kHere, 4 * kPageSize), Status::kOk);
  EXPECT_EQ(map(3 * kPageSize, kHere, kPageSize), Status::kOk);
  EXPECT_EQ(map(0, kHere, 5 * kPageSize), Status::kOutOfRange);
  EXPECT_EQ(map(kPageSize, kHere, 4 * kPageSize), Status::kOutOfRange);
  EXPECT_EQ(map(4 * kPageSize, kHere, kPageSize), Status::kOutOfRange);
  EXPECT_EQ(map(~0xffful, kHere, 2 * kPageSize), Status::kOutOfRange);
  EXPECT_EQ(map(kPageSize, kHere, ~0xffful), Status::kOutOfRange);
  EXPECT_EQ(map(1, kHere, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(map(0, kHere + 8, kPageSize), Status::kInvalidArgument);
  EXPECT_EQ(map(0, kHere, 100), Status::kInvalidArgument);
  EXPECT_EQ(map(0, kHere, 0), Status::kInvalidArgument);
  EXPECT_EQ(map(0, (1ul << 39) - kPageSize, kPageSize), Status::kOk);
  EXPECT_EQ(map(0, (1ul << 39) - kPageSize, 2 * kPageSize), Status::kOutOfRange);
  for (const uint64_t address :
       {1ul << 39, 1ul << 63, 0xffff'ff80'4000'0000ul, 0xffff'ffc0'0000'0000ul, ~0xffful}) {
    EXPECT_EQ(map(0, address, kPageSize), Status::kOutOfRange);
  }
  EXPECT_EQ(map(0, abi::kImageBase.value, kPageSize), Status::kAlreadyExists);
  EXPECT_EQ(map(0, abi::kIpcPage.value, kPageSize), Status::kAlreadyExists);
  const uint32_t vm = CreateVm();
  const auto map_guest = [&](uint64_t address) {
    return MapStatus(memory,
                     {.space = vm, .address = address, .bytes = kPageSize, .rights = kRead});
  };
  EXPECT_EQ(map_guest((1ul << 40) - kPageSize), Status::kOk);
  EXPECT_EQ(map_guest(1ul << 40), Status::kOutOfRange);
  EXPECT_EQ(map_guest(~0xffful), Status::kOutOfRange);
}

TEST(a_mapping_allows_no_more_than_the_handle) {
  const uint32_t memory = CreateMemory(kPageSize);
  const Child child = MakeChild(nullptr);
  const auto map = [&](uint32_t handle, uint32_t rights) {
    return MapStatus(
        handle,
        {.space = child.task, .address = 0x7000'0000, .bytes = kPageSize, .rights = rights});
  };
  constexpr uint32_t kManage = Rights(Right::kManage);
  constexpr uint32_t kWrite = Rights(Right::kWrite), kExecute = Rights(Right::kExecute);
  const uint32_t read_only = Restricted(memory, kManage | kRead);
  EXPECT_EQ(map(read_only, kRead), Status::kOk);
  EXPECT_EQ(map(read_only, kReadWrite), Status::kPermissionDenied);
  EXPECT_EQ(map(read_only, kReadExecute), Status::kPermissionDenied);
  EXPECT_EQ(map(Restricted(memory, kReadWrite), kRead),
            Status::kPermissionDenied);  // not to be managed
  EXPECT_EQ(map(memory, kReadWrite), Status::kOk);
  EXPECT_EQ(map(memory, kReadExecute), Status::kOk);
  EXPECT_EQ(map(memory, kReadWrite | kExecute), Status::kInvalidArgument);
  EXPECT_EQ(map(memory, kWrite | kExecute), Status::kInvalidArgument);
  EXPECT_EQ(map(memory, kWrite), Status::kInvalidArgument);  // every mapping reads
  EXPECT_EQ(map(memory, 0), Status::kInvalidArgument);
  EXPECT_EQ(map(memory, kRead | 1u << 9), Status::kPermissionDenied);
  EXPECT_EQ(map(memory, ~0u), Status::kPermissionDenied);
  const uint32_t device = CreateMemoryAt(PhysAddr(0x0901'0000), kPageSize, MemoryType::kDevice);
  EXPECT_EQ(map(device, kReadWrite), Status::kOk);
  EXPECT_EQ(map(device, kReadExecute), Status::kInvalidArgument);

  const auto map_to = [&](uint32_t space) {
    return MapStatus(memory,
                     {.space = space, .address = 0x7000'0000, .bytes = kPageSize, .rights = kRead});
  };
  EXPECT_EQ(map_to(0), Status::kNotFound);
  EXPECT_EQ(map_to(memory), Status::kInvalidArgument);
  EXPECT_EQ(map_to(kOwnSignal.slot), Status::kInvalidArgument);
  EXPECT_EQ(map_to(Restricted(child.task, kAllRights & ~kManage)), Status::kPermissionDenied);
  EXPECT_EQ(map(child.task, kRead), Status::kInvalidArgument);
}

// Tells in word 1 what it finds at the address in word 0, after it wrote word 2 there if that is not 0.
void Toucher(uint32_t, uint64_t) {
  auto* const address = reinterpret_cast<volatile uint64_t*>(Shared()[0]);
  if (Shared()[2] != 0) *address = Shared()[2];
  Shared()[1] = *address;
}

TEST(rights_hold_in_the_task) {
  const uint32_t memory = CreateMemory(kPageSize);
  std::memset(Open(memory, kPageSize), 0x11, kPageSize);
  Close();
  Child child = MakeChild(Toucher);
  constexpr uint64_t kHere = 0x7000'0000;
  Shared()[0] = kHere;
  Start(child);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);  // nothing there yet
  EXPECT_EQ(Inspect(child).far, kHere);
  Map(memory, child.task, kHere, kPageSize, kRead);
  Start(child);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kExit);
  EXPECT_EQ(Shared()[1], 0x1111'1111'1111'1111ul);
  Shared()[2] = 0x2222;
  Start(child);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);
  Unmap(child.task, kHere, kPageSize);
  Map(memory, child.task, kHere, kPageSize, kReadWrite);
  Start(child);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kExit);
  EXPECT_EQ(Shared()[1], 0x2222ul);
  Unmap(child.task, kHere, kPageSize);
  Start(child);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);  // no stale translation
}

// Touches again and again; it must fault as soon as the page is gone.
void TouchForever(uint32_t, uint64_t) {
  for (;;) {
    static_cast<void>(*reinterpret_cast<volatile uint64_t*>(Shared()[0]));
    Shared()[1] = Shared()[1] + 1;
  }
}

TEST(an_unmapping_reaches_a_running_task) {
  const uint32_t memory = CreateMemory(kPageSize);
  Child child = MakeChild(TouchForever, 0, {.priority = 10});
  constexpr uint64_t kHere = 0x7000'0000;
  Shared()[0] = kHere;
  Map(memory, child.task, kHere, kPageSize, kRead);
  Start(child);
  Sleep(2000);
  EXPECT_TRUE(Shared()[1] > 0);
  Unmap(child.task, kHere, kPageSize);
  const uint64_t count = Shared()[1];
  Sleep(2000);
  EXPECT_RANGE(Shared()[1], count, count + 1);
  EXPECT_EQ(Inspect(child).cause, DeathCause::kFault);
  EXPECT_EQ(Inspect(child).far, kHere);
}

TEST(unmapping_goes_from_the_front) {
  const uint32_t memory = CreateMemory(40 * kPageSize);
  const Child child = MakeChild(nullptr);
  constexpr uint64_t kHere = 0x7000'0000;
  for (uint64_t done = 0; done < 40 * kPageSize;) {
    const auto mapped = kernel::MapMemory({memory}, {.space = child.task,
                                                     .offset = done,
                                                     .address = kHere + done,
                                                     .bytes = 40 * kPageSize - done,
                                                     .rights = kRead});
    if (!mapped.has_value()) return ReportFailure("FAILED memory.cc: 40 pages are not mapped");
    done += mapped->bytes;
  }
  const auto unmap = [&](uint64_t address, uint64_t bytes) {
    return kernel::UnmapMemory({child.task}, {.address = address, .bytes = bytes});
  };
  EXPECT_EQ(StatusOf(unmap(kHere + kPageSize, kPageSize)), Status::kNotFound);
  EXPECT_EQ(StatusOf(unmap(kHere - kPageSize, kPageSize)), Status::kNotFound);
  EXPECT_EQ(StatusOf(unmap(~0xffful, kPageSize)), Status::kNotFound);
  EXPECT_EQ(StatusOf(unmap(kHere, 41 * kPageSize)), Status::kOutOfRange);
  EXPECT_EQ(StatusOf(unmap(kHere, ~0xffful)), Status::kOutOfRange);
  EXPECT_EQ(StatusOf(unmap(kHere, 0)), Status::kInvalidArgument);
  EXPECT_EQ(StatusOf(unmap(kHere, 100)), Status::kInvalidArgument);
  EXPECT_EQ(StatusOf(kernel::UnmapMemory({memory}, {.address = kHere, .bytes = kPageSize})),
            Status::kInvalidArgument);
  EXPECT_EQ(StatusOf(kernel::UnmapMemory({Restricted(child.task, 1)},
                                         {.address = kHere, .bytes = kPageSize})),
            Status::kPermissionDenied);
  // At most 64 KiB at once.
  const auto done = unmap(kHere, 40 * kPageSize);
  EXPECT_OK(StatusOf(done));
  EXPECT_RANGE(done.has_value() ? done->bytes : 0, kPageSize, 64 * 1024);
  EXPECT_EQ(StatusOf(unmap(kHere, kPageSize)), Status::kNotFound);
  EXPECT_EQ(kernel::DestroyObject({memory}), Status::kFailedPrecondition);
  for (uint64_t address = kHere + (done.has_value() ? done->bytes : 0);
       address < kHere + 40 * kPageSize;) {
    const auto more = unmap(address, kHere + 40 * kPageSize - address);
    if (!more.has_value()) return ReportFailure("FAILED memory.cc: the rest is not unmapped");
    address += more->bytes;
  }
  EXPECT_OK(Destroy(memory));
}

TEST(a_mapping_is_done_in_bounded_steps) {
  constexpr uint64_t kBytes = 100 * kPageSize;
  const uint32_t memory = CreateMemory(kBytes);
  const auto mapped = TryMap(
      memory, {.space = kSelf.slot, .address = kScratchAddress, .bytes = kBytes, .rights = kRead});
  EXPECT_RANGE(mapped.has_value() ? *mapped : 0, kPageSize, 64 * 1024);
}

TEST(blocks_map_and_unmap_as_pages_do) {
  constexpr uint64_t kBytes = 3 * kBlockSize;
  const PhysAddr base(AlignUp(FreeBase().value, kBlockSize));
  TakePages((base - FreeBase() + kBytes) / kPageSize);
  const uint32_t memory = CreateMemoryAt(base, kBytes);
  const auto mapped = TryMap(
      memory,
      {.space = kSelf.slot, .address = kScratchAddress, .bytes = kBytes, .rights = kReadWrite});
  EXPECT_EQ(mapped.has_value() ? *mapped : 0, kBytes);
  auto* const words = reinterpret_cast<volatile uint64_t*>(kScratchAddress);
  for (uint64_t i = 0; i < kBytes / 8; i += 512) words[i] = i;
  // A block is split when its front goes.
  Unmap(kSelf.slot, kScratchAddress, kPageSize);
  for (uint64_t i = 512; i < kBytes / 8; i += 512) EXPECT_EQ(words[i], i);
  Unmap(kSelf.slot, kScratchAddress + kPageSize, kBytes - kPageSize);
}

}  // namespace
}  // namespace atoll::test
