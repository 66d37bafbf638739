// What a kernel test is made of. A test image's root task stands in the supervisor's place, with all its authority:
// each TEST() makes the objects that it needs, children among them, and looks at what the kernel answers.
//
// A child runs the same program: text and constants are shared, data is a copy of the root's at its start. Root and
// children also share one page of words. The root has priority 20; a child above that runs as soon as it is started.
// After each test everything that was made is destroyed, and all memory must have come back.
#ifndef ATOLL_TESTS_KERNEL_HARNESS_H_
#define ATOLL_TESTS_KERNEL_HARNESS_H_

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "ipc/status.h"
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/log.h"

namespace atoll::test {

// ---- tests ------------------------------------------------------------------------------------
struct TestCase {
  const char* name;
  void (*run)();
};

// Between root.ld's test_cases_start and test_cases_end.
#define TEST(name)                                                                           \
  static void Test_##name();                                                                 \
  [[gnu::section("test_cases"),                                                              \
    gnu::used]] static constexpr ::atoll::test::TestCase test_##name = {#name, Test_##name}; \
  static void Test_##name()

template <typename T>
uint64_t AsNumber(T value) {
  return static_cast<uint64_t>(value);
}

// Writes the line and counts the failure; in a child too.
void ReportFailure(std::string_view text);

template <typename T>
void Fail(const char* file, int line, const char* what, T actual, T expected) {
  char buffer[kLogLineBytes];
  if constexpr (std::is_same_v<T, Status>) {
    ReportFailure(
        Format(buffer, "FAILED ", file, ":", line, ": ", what, ": ", actual, ", not ", expected));
  } else {
    ReportFailure(Format(buffer, "FAILED ", file, ":", line, ": ", what, ": ",
                         Hex{AsNumber(actual)}, ", not ", Hex{AsNumber(expected)}));
  }
}

template <typename T>
bool Check(const char* file, int line, const char* what, T actual,
           std::type_identity_t<T> expected) {
  if (actual != expected) Fail<T>(file, line, what, actual, expected);
  return actual == expected;
}

void CheckRange(const char* file, int line, const char* what, uint64_t actual, uint64_t low,
                uint64_t high);

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result.has_value() ? Status::kOk : result.error();
}

#define EXPECT_EQ(actual, expected) \
  static_cast<void>(::atoll::test::Check(__FILE_NAME__, __LINE__, #actual, (actual), (expected)))
#define EXPECT_TRUE(condition) EXPECT_EQ(static_cast<bool>(condition), true)
// low <= actual <= high
#define EXPECT_RANGE(actual, low, high) \
  ::atoll::test::CheckRange(__FILE_NAME__, __LINE__, #actual, (actual), (low), (high))
#define EXPECT_OK(status) EXPECT_EQ((status), Status::kOk)

// Ends the whole run: nothing after it would mean anything.
[[noreturn]] void GiveUp(std::string_view why);

// Writes a line whatever the log allowance says: waits until there is some.
void Print(std::string_view text);

// ---- places -----------------------------------------------------------------------------------
inline constexpr abi::Handle kSelf{1};       // the root's own task
inline constexpr abi::Handle kOwnSignal{2};  // and its signal
inline constexpr uint32_t kRootHandles = 2048;
inline constexpr uint32_t kRootPriority = 20;
inline constexpr uint64_t kTimerBit = uint64_t{1} << 63;

constexpr uint32_t Rights(auto... rights) { return (static_cast<uint32_t>(rights) | ...); }
inline constexpr uint32_t kAllRights = 511;
inline constexpr uint32_t kRead = Rights(Right::kRead);
inline constexpr uint32_t kReadWrite = Rights(Right::kRead, Right::kWrite);
inline constexpr uint32_t kReadExecute = Rights(Right::kRead, Right::kExecute);
inline constexpr uint32_t kSend = Rights(Right::kSend);

// The page that root and children share, zero when a test begins. The last word counts failures.
inline constexpr uint64_t kSharedAddress = abi::kGrantBase.value;
inline constexpr size_t kSharedWords = kPageSize / sizeof(uint64_t) - 1;
inline volatile uint64_t* Shared() { return reinterpret_cast<volatile uint64_t*>(kSharedAddress); }

// Free addresses of the root's space for a test's own mappings.
inline constexpr uint64_t kScratchAddress = 0x6000'0000;

// ---- objects ----------------------------------------------------------------------------------
// Free pages; they are free again when the test has ended.
PhysAddr TakePages(uint64_t pages);
// Pages from the front of the largest RAM resource that TakePages hands out, all of them free when a test begins.
PhysAddr FreeBase();
uint64_t FreeBytes();
inline uint64_t Backing(PhysAddr base, uint64_t pages) { return base.value | pages; }

uint32_t NextSlot();

// CreateObject with pages of its own; the new object is destroyed after the test.
struct NewObject {
  ObjectType type = ObjectType::kNone;
  uint64_t pages = 1;
  uint32_t owner = 0;
  uint64_t a = 0;
  uint64_t b = 0;
};
Result<uint32_t> TryCreate(const NewObject& object);  // the handle's slot
uint32_t Create(const NewObject& object);             // must succeed
Status Destroy(uint32_t slot);

uint32_t CreateMemory(uint64_t bytes);
uint32_t CreateMemoryAt(PhysAddr base, uint64_t bytes, MemoryType type = MemoryType::kNormal);
uint32_t CreateSignal(uint32_t task);
uint32_t CreateVm(uint32_t vcpus = 2, uint64_t watcher_bits = 0);
uint32_t CreateVcpu(uint32_t vm, uint32_t index, uint32_t priority = 5);

// One call, and the same until all is done.
Result<uint64_t> TryMap(uint32_t memory, const MapMemoryRequest& request);
void Map(uint32_t memory, uint32_t space, uint64_t address, uint64_t bytes, uint32_t rights,
         uint64_t offset = 0);
void Unmap(uint32_t space, uint64_t address, uint64_t bytes);
// Maps a memory object into the root (read, write). One at a time; Close ends it.
std::byte* Open(uint32_t memory, uint64_t bytes);
void Close();

void Grant(uint32_t object, uint32_t task, uint32_t slot, uint32_t rights, uint64_t badge = 0);
// Copies the handle to a slot of the root's own with fewer rights.
uint32_t Restricted(uint32_t object, uint32_t rights, uint64_t badge = 0);
// A handle on bits of the root's own signal, in a child's slot.
void GrantRootSignal(uint32_t task, uint32_t slot, uint64_t bits);

// ---- children ---------------------------------------------------------------------------------
using Entry = void (*)(uint32_t argument, uint64_t generation);

struct ChildOptions {
  uint32_t rank = 2;
  uint32_t priority = 24;
  uint32_t handles = 32;
  bool endpoint = false;  // of the task's rank
};

struct Child {
  uint32_t task = 0;
  uint32_t endpoint = 0;  // 0: none
  uint32_t data = 0;
  uint32_t stack = 0;
  uint32_t ipc = 0;
  uint64_t death_bit = 0;  // of the root's signal
  uint64_t generation = 0;
  Entry entry = nullptr;
  uint32_t argument = 0;
};

inline constexpr uint64_t kChildStackBytes = 8192;

// With all its memory, not started.
Child MakeChild(Entry entry, uint32_t argument = 0, const ChildOptions& options = {});
// Gives it fresh data and starts it, again if it is dead.
void Start(Child& child);
// Starts it at any address.
Status StartAt(Child& child, uint64_t pc, uint64_t sp);
Child StartChild(Entry entry, uint32_t argument = 0, const ChildOptions& options = {});
Child StartServer(Entry entry, uint32_t argument = 0, ChildOptions options = {});
// Kills it and destroys all of its objects. Nobody may hold a handle on them.
void Discard(const Child& child);
// Destroys everything that the test has made so far, as after a test: all memory must have come back.
void DiscardEverything();
InspectTaskReply Inspect(const Child& child);
bool IsDead(const Child& child);
Status Kill(const Child& child);

// ---- waiting ----------------------------------------------------------------------------------
uint64_t Now();                   // ticks of the counter
uint64_t Ticks(uint64_t micros);  // microseconds as ticks
// Waits until some bits of `mask` are set in the root's signal; 0 after the time-out. Other bits are kept.
uint64_t WaitFor(uint64_t mask, uint64_t timeout_micros = 100'000);
void Sleep(uint64_t micros);

// ---- raw entry to the kernel --------------------------------------------------------------------
// svc #0 with x0-x30 (not x29) from the array; afterwards it holds what they are then.
extern "C" void CallWithRegisters(uint64_t* x);

}  // namespace atoll::test

#endif  // ATOLL_TESTS_KERNEL_HARNESS_H_
