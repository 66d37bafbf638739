// A kernel for the supervisor's tests: objects, physical memory and bounded calls as
// proto/kernel.proto describes them. It fails the test when the supervisor breaks a rule of memory:
// pages given twice, pages that are not RAM, or pages of the boot archive.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_FAKE_KERNEL_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_FAKE_KERNEL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "services/runtime/statistics.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/supervisor.h"

namespace atoll {

class FakeKernel final : public KernelCalls {
 public:
  static constexpr uint64_t kRamBase = 0x4000'0000;
  static constexpr uint64_t kRamBytes = 24 << 20;
  static constexpr uint64_t kArchiveOffset = 8
                                             << 20;  // inside the RAM entry, as a boot loader does
  static constexpr uint64_t kMapBytesPerCall = 64 << 10;
  static constexpr uint64_t kClearBytesPerCall = 1 << 20;

  struct Object {
    CreateObjectRequest request;
    uint64_t free_tables = 0;  // pages left for page tables
    TaskState task_state = TaskState::kCreated;
    InspectTaskReply death{};
    VmState vm_state = VmState::kCreated;
    std::vector<StartTaskRequest> starts{};
    uint64_t base() const { return request.a & ~uint64_t{3}; }
  };
  struct Mapping {
    uint32_t memory = 0;
    uint64_t offset = 0;
    uint64_t bytes = 0;
    uint32_t rights = 0;
  };
  struct Grant {
    uint32_t object = 0;
    uint32_t rights = 0;
    uint64_t badge = 0;
  };

  explicit FakeKernel(std::vector<std::byte> archive) : archive_bytes_(archive.size()) {
    std::ranges::copy(archive, ram_.begin() + kArchiveOffset);
    Use(kRamBase + kArchiveOffset, AlignUp(archive.size(), kPageSize), "boot archive");
    objects_[1] = {.request = {.type = ObjectType::kTask}, .free_tables = 2};
    objects_[2] = {.request = {.type = ObjectType::kSignal}};
    resources_ = {{ResourceKind::kCpus, 1, 0, 0},
                  {ResourceKind::kRam, kRamBase, kRamBytes, 0},
                  {ResourceKind::kArchive, kRamBase + kArchiveOffset, archive_bytes_, 0},
                  {ResourceKind::kUart, 0x900'0000, 0x1000, 33}};
  }

  ~FakeKernel() {
    for (const auto& [page, what] : used_) Leave(page, kPageSize);
    spare_ = std::move(memory_);
  }

  // ---- what a test sees and does
  // -----------------------------------------------------------------
  Object& object(uint32_t slot) { return objects_.at(slot); }
  bool has(uint32_t slot) const { return objects_.contains(slot); }
  const std::map<uint64_t, Mapping>& space(uint32_t slot) { return spaces_[slot]; }
  const Grant* grant(uint32_t task, uint32_t slot) {
    const auto found = grants_.find({task, slot});
    return found == grants_.end() ? nullptr : &found->second;
  }
  size_t bound() const { return bound_.size(); }
  size_t used_pages() const { return used_.size(); }
  // The bytes that a task sees at an address; empty if nothing is mapped there.
  std::span<std::byte> Look(uint32_t space, VirtAddr address, uint64_t bytes) {
    for (const auto& [start, mapping] : spaces_[space]) {
      if (address.value < start || !InBounds(address.value - start, bytes, mapping.bytes)) continue;
      return Ram(objects_.at(mapping.memory).base() + mapping.offset + (address.value - start),
                 bytes);
    }
    return {};
  }
  std::span<std::byte> Contents(uint32_t memory) {
    return Ram(objects_.at(memory).base(), objects_.at(memory).request.b);
  }
  void Die(uint32_t task, DeathCause cause = DeathCause::kFault) {
    objects_.at(task).task_state = TaskState::kDead;
    objects_.at(task).death = {.state = TaskState::kDead,
                               .cause = cause,
                               .pc = 0x400010,
                               .esr = 0x92000046,
                               .far = 0xdead};
  }
  bool Logged(std::string_view text) const {
    return std::ranges::any_of(log, [&](const auto& line) { return line.find(text) != line.npos; });
  }

  std::vector<std::string> log;
  std::vector<uint32_t> power_offs;
  std::vector<uint64_t> timers;
  std::vector<uint32_t> signalled;  // objects, through the supervisor's own slots
  std::vector<std::string> bindings;
  std::vector<uint32_t> killed;
  std::vector<uint32_t> destroyed;
  std::map<uint32_t, SetScheduleRequest> schedules;
  std::map<uint32_t, Status> refuse_destroy;                 // by slot
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> limits;  // of tasks: deadline, effects
  std::vector<std::pair<uint32_t, uint32_t>> own_limits;     // deadline, again_ms
  std::map<uint32_t, std::vector<uint32_t>> steps;
  std::map<uint32_t, std::array<uint64_t, 34>> registers;
  std::map<uint32_t, std::vector<abi::Words>> calls;  // taken and not answered
  std::map<uint32_t, uint64_t> diverted;
  std::map<uint32_t, uint64_t> raised;    // signal bits that a task has not taken
  std::map<uint32_t, uint64_t> received;  // how often it took them
  std::map<uint32_t, uint64_t> owed_since;
  std::map<uint32_t, uint64_t> died;
  std::map<uint32_t, uint32_t> ran;  // milliseconds
  std::set<uint32_t> deaf;           // tasks that take no signals
  std::set<uint32_t> ignorant;       // ... and that do nothing about them
  std::map<uint32_t, bool> paused;
  std::vector<uint64_t> gone_to;  // by the supervisor itself
  uint64_t ticks_per_call = 0;    // how time passes for the supervisor
  uint64_t work = 0;              // calls since the last look
  std::map<std::pair<uint32_t, uint32_t>, Grant> grants_;
  std::vector<GetResourceReply> resources_;
  uint64_t now = 1000;
  uint64_t frequency = 1000;
  Status next_start = Status::kOk;
  std::string written;  // the kernel's log
  uint64_t log_capacity = 1 << 20;
  uint64_t log_bits = 0;
  std::string uart;  // what of it the kernel printed
  std::string ipc_page;

  // ---- KernelCalls
  // -------------------------------------------------------------------------------
  Status CreateObject(const CreateObjectRequest& request) override {
    if (objects_.contains(request.slot)) return Status::kAlreadyExists;
    Spend();
    const uint64_t pages = request.backing & (kPageSize - 1);
    const uint64_t needed = request.type == ObjectType::kVm     ? 40
                            : request.type == ObjectType::kTask ? 4
                                                                : 1;
    const uint64_t backing = AlignDown(request.backing, kPageSize);
    if (pages < needed) return Status::kResourceExhausted;
    const bool owned = request.type == ObjectType::kVcpu || request.type == ObjectType::kIrqLine ||
                       request.type == ObjectType::kSignal ||
                       request.type == ObjectType::kEndpoint || request.type == ObjectType::kIrq;
    if (owned && !objects_.contains(request.owner)) return Status::kNotFound;
    Use(backing, pages * kPageSize, "object");
    if (request.type == ObjectType::kMemory && (request.a & 3) == 0 && !InArchive(request.a)) {
      Use(request.a, request.b, "memory");
    }
    objects_[request.slot] = {.request = request, .free_tables = pages - needed};
    return Status::kOk;
  }
  // As the kernel: nothing may refer to it any more.
  Status DestroyObject(abi::Handle handle) override {
    Spend();
    const uint32_t slot = handle.slot;
    if (!objects_.contains(slot)) return Status::kNotFound;
    if (refuse_destroy.contains(slot)) return refuse_destroy[slot];
    const Object object = objects_.at(slot);
    if (object.task_state == TaskState::kRunning) return Status::kFailedPrecondition;
    if (object.vm_state == VmState::kRunning) return Status::kFailedPrecondition;
    for (const auto& [other, entry] : objects_) {
      if (entry.request.owner == slot) return Status::kFailedPrecondition;
    }
    for (const auto& [place, grant] : grants_) {
      if (grant.object == slot) return Status::kFailedPrecondition;
    }
    for (const auto& [place, target] : bound_) {
      if (target == slot) return Status::kFailedPrecondition;
    }
    if (!spaces_[slot].empty()) return Status::kFailedPrecondition;
    for (const auto& [space, mappings] : spaces_) {
      for (const auto& [address, mapping] : mappings) {
        if (mapping.memory == slot) return Status::kFailedPrecondition;
      }
    }
    paused.erase(slot);
    std::erase_if(bound_, [&](const auto& binding) { return binding.first.first == slot; });
    std::erase_if(grants_, [&](const auto& entry) { return entry.first.first == slot; });
    const uint64_t pages = object.request.backing & (kPageSize - 1);
    Unuse(AlignDown(object.request.backing, kPageSize), pages * kPageSize);
    if (object.request.type == ObjectType::kMemory && (object.request.a & 3) == 0 &&
        !InArchive(object.request.a)) {
      Unuse(object.request.a, object.request.b);
    }
    for (const auto& [base, bytes] : tables_[slot]) Unuse(base, bytes);
    tables_.erase(slot);
    spaces_.erase(slot);
    objects_.erase(slot);
    destroyed.push_back(slot);
    return Status::kOk;
  }
  Status GrantHandle(abi::Handle object, const GrantHandleRequest& request) override {
    Spend();
    if (!objects_.contains(object.slot) || !objects_.contains(request.task))
      return Status::kNotFound;
    if (request.rights == 0) {
      grants_.erase({request.task, request.slot});
    } else {
      grants_[{request.task, request.slot}] = {object.slot, request.rights, request.badge};
    }
    return Status::kOk;
  }
  Result<MapMemoryReply> MapMemory(abi::Handle memory, const MapMemoryRequest& request) override {
    Spend();
    if (!objects_.contains(memory.slot) || !objects_.contains(request.space)) {
      return std::unexpected(Status::kNotFound);
    }
    Object& space = objects_.at(request.space);
    if (!InBounds(request.offset, request.bytes, objects_.at(memory.slot).request.b)) {
      return std::unexpected(Status::kOutOfRange);
    }
    if (space.free_tables == 0) return std::unexpected(Status::kResourceExhausted);
    const uint64_t bytes = std::min(request.bytes, kMapBytesPerCall);
    --space.free_tables;  // dearer than a real one
    auto& mappings = spaces_[request.space];
    for (auto& [start, mapping] : mappings) {
      if (request.address < start + mapping.bytes && start < request.address + bytes) {
        return std::unexpected(Status::kAlreadyExists);
      }
      if (start + mapping.bytes == request.address && mapping.memory == memory.slot &&
          mapping.offset + mapping.bytes == request.offset && mapping.rights == request.rights) {
        mapping.bytes += bytes;
        return MapMemoryReply{.bytes = bytes};
      }
    }
    mappings[request.address] = {memory.slot, request.offset, bytes, request.rights};
    return MapMemoryReply{.bytes = bytes};
  }
  Result<MapMemoryReply> UnmapMemory(abi::Handle space,
                                     const UnmapMemoryRequest& request) override {
    Spend();
    auto& mappings = spaces_[space.slot];
    const auto found = mappings.find(request.address);
    if (found == mappings.end()) return std::unexpected(Status::kNotFound);
    Mapping mapping = found->second;
    const uint64_t bytes = std::min({request.bytes, mapping.bytes, kMapBytesPerCall});
    mappings.erase(found);
    mapping.offset += bytes;
    mapping.bytes -= bytes;
    ++objects_.at(space.slot).free_tables;
    if (mapping.bytes != 0) mappings[request.address + bytes] = mapping;
    return MapMemoryReply{.bytes = bytes};
  }
  Result<MapMemoryReply> ClearMemory(abi::Handle memory,
                                     const ClearMemoryRequest& request) override {
    Spend();
    if (!objects_.contains(memory.slot)) return std::unexpected(Status::kNotFound);
    const uint64_t bytes = std::min(request.bytes, kClearBytesPerCall);
    std::memset(Ram(objects_.at(memory.slot).base() + request.offset, bytes).data(), 0, bytes);
    return MapMemoryReply{.bytes = bytes};
  }
  Status DonateTables(abi::Handle space, const DonateTablesRequest& request) override {
    const uint64_t pages = request.backing & (kPageSize - 1);
    Use(AlignDown(request.backing, kPageSize), pages * kPageSize, "tables");
    objects_.at(space.slot).free_tables += pages;
    tables_[space.slot].emplace_back(AlignDown(request.backing, kPageSize), pages * kPageSize);
    return Status::kOk;
  }
  Status BindMmio(abi::Handle vm, const BindMmioRequest& request) override {
    return Bind("mmio", vm.slot, request.address, request.endpoint);
  }
  Status BindDoorbell(abi::Handle vm, const BindDoorbellRequest& request) override {
    return Bind("doorbell", vm.slot, request.address, request.signal);
  }
  Status BindHypercall(abi::Handle vm, const BindHypercallRequest& request) override {
    bound_.erase({vm.slot, kHypercalls});  // another one takes its place
    return Bind("hypercall", vm.slot, kHypercalls, request.endpoint);
  }
  Status StartTask(abi::Handle task, const StartTaskRequest& request) override {
    if (!IsOk(next_start)) return next_start;
    Object& object = objects_.at(task.slot);
    if (object.task_state == TaskState::kRunning) return Status::kFailedPrecondition;
    object.task_state = TaskState::kRunning;
    object.starts.push_back(request);
    return Status::kOk;
  }
  Status KillTask(abi::Handle task) override {
    if (!objects_.contains(task.slot)) return Status::kNotFound;
    objects_.at(task.slot).task_state = TaskState::kDead;
    objects_.at(task.slot).death = {.state = TaskState::kDead, .cause = DeathCause::kKilled};
    killed.push_back(task.slot);
    return Status::kOk;
  }
  Result<InspectTaskReply> InspectTask(abi::Handle task) override {
    const Object& object = objects_.at(task.slot);
    if (object.task_state == TaskState::kDead) return object.death;
    return InspectTaskReply{.state = object.task_state, .ticks = ran[task.slot]};
  }
  Status SetLimits(abi::Handle task, uint32_t deadline, uint32_t effects) override {
    limits[task.slot] = {deadline, effects};
    return Status::kOk;
  }
  Status SetOwnLimits(uint32_t deadline, uint32_t again_ms) override {
    own_limits.push_back({deadline, again_ms});
    return Status::kOk;
  }
  Status StepTask(abi::Handle task, uint32_t count) override {
    if (objects_.at(task.slot).task_state != TaskState::kRunning)
      return Status::kFailedPrecondition;
    steps[task.slot].push_back(count);
    return Status::kOk;
  }
  Result<abi::Words> ReadRegisters(abi::Handle task, uint32_t first) override {
    abi::Words words{};
    auto own = registers[task.slot];
    own[32] = objects_.at(task.slot).death.pc;
    for (size_t i = 0; i < words.size() && first + i < own.size(); ++i) words[i] = own[first + i];
    return words;
  }
  Result<abi::Words> ReadCall(abi::Handle task, uint32_t index) override {
    if (index >= calls[task.slot].size()) return std::unexpected(Status::kNotFound);
    return calls[task.slot][index];
  }
  Status Divert(abi::Handle task, VirtAddr pc) override {
    if (objects_.at(task.slot).task_state != TaskState::kRunning)
      return Status::kFailedPrecondition;
    diverted[task.slot] = pc.value;
    return Status::kOk;
  }
  Status RaiseTask(abi::Handle task, uint64_t bits) override {
    raised[task.slot] |= bits;
    if (!deaf.contains(task.slot)) {
      raised[task.slot] = 0;
      ++received[task.slot];
      const auto page = Look(task.slot, abi::kStatisticsPage, sizeof(Statistics));
      if (!page.empty() && !ignorant.contains(task.slot)) {
        ++reinterpret_cast<Statistics*>(page.data())->heartbeats;
      }
    }
    return Status::kOk;
  }
  Result<TaskProgress> GetProgress(abi::Handle task) override {
    return TaskProgress{.jobs = received[task.slot],
                        .pending = raised[task.slot],
                        .owed_since = owed_since[task.slot],
                        .died = died[task.slot]};
  }
  Status PauseVm(abi::Handle vm, bool pause) override {
    if (!objects_.contains(vm.slot)) return Status::kNotFound;
    paused[vm.slot] = pause;
    return Status::kOk;
  }
  void GoTo(VirtAddr pc) override { gone_to.push_back(pc.value); }
  Status StopVm(abi::Handle vm, const StopVmRequest& request) override {
    if (!objects_.contains(vm.slot)) return Status::kNotFound;
    Object& object = objects_.at(vm.slot);
    if (object.vm_state != VmState::kRunning) return Status::kFailedPrecondition;
    object.vm_state = request.state;
    return Status::kOk;
  }
  Status SetSchedule(abi::Handle thread, const SetScheduleRequest& request) override {
    if (!objects_.contains(thread.slot)) return Status::kNotFound;
    schedules[thread.slot] = request;
    return Status::kOk;
  }
  // The backing names an object. Mappings first, then donations, as the kernel has them.
  Result<InspectObjectReply> InspectObject(abi::Handle handle,
                                           const InspectObjectRequest& request) override {
    Spend();
    const uint32_t slot = handle.slot;
    if (const Grant* copy = grant(kOwnTask.slot, slot); copy != nullptr) {
      return std::unexpected(Status::kPermissionDenied);
    }
    if (!objects_.contains(slot)) return std::unexpected(Status::kNotFound);
    const Object& object = objects_.at(slot);
    InspectObjectReply reply{.type = static_cast<uint64_t>(object.request.type),
                             .backing = object.request.backing};
    if (object.request.type == ObjectType::kMemory) {
      reply.memory = object.request.a;
      reply.bytes = object.request.b;
    }
    if (object.request.type != ObjectType::kTask && object.request.type != ObjectType::kVm) {
      return reply;
    }
    uint32_t index = 0;
    for (const auto& [address, mapping] : spaces_[slot]) {
      if (index++ < request.index) continue;
      reply.type |= uint64_t{index - 1} << 8;
      reply.memory = AlignDown(objects_.at(mapping.memory).request.backing, kPageSize);
      reply.address = address;
      reply.bytes = mapping.bytes;
      reply.offset = mapping.offset;
      return reply;
    }
    for (const auto& [base, bytes] : tables_[slot]) {
      if (index++ < request.index) continue;
      reply.type |= uint64_t{index - 1} << 8;
      reply.address = base;
      reply.bytes = bytes;
      return reply;
    }
    return reply;
  }
  Result<GetVmStateReply> GetVmState(abi::Handle vm) override {
    if (!objects_.contains(vm.slot)) return std::unexpected(Status::kNotFound);
    return GetVmStateReply{.state = objects_.at(vm.slot).vm_state};
  }
  Result<GetResourceReply> GetResource(const GetResourceRequest& request) override {
    return request.index < resources_.size() ? resources_[request.index] : GetResourceReply{};
  }
  Status SetSignal(abi::Handle signal) override {
    const Grant* own = grant(kOwnTask.slot, signal.slot);
    if (own == nullptr) return Status::kNotFound;
    signalled.push_back(own->object);
    return Status::kOk;
  }
  Status SetTimer(const SetTimerRequest& request) override {
    timers.push_back(request.deadline);
    return Status::kOk;
  }
  void Log(std::string_view line) override {
    log.emplace_back(line);
    Write(std::string(line) + "\n");
  }
  Result<ReadLogReply> ReadLog(const ReadLogRequest& request) override {
    const uint64_t oldest = written.size() > log_capacity ? written.size() - log_capacity : 0;
    const uint64_t from = std::clamp<uint64_t>(request.from, oldest, written.size());
    ipc_page = written.substr(from, abi::kIpcBytes);
    return ReadLogReply{.bytes = static_cast<uint32_t>(ipc_page.size()),
                        .next = from + ipc_page.size()};
  }
  Result<SetLogOutputReply> SetLogOutput(const SetLogOutputRequest& request) override {
    log_bits = request.bits;
    if (log_bits == 0) uart += written.substr(std::min<uint64_t>(request.from, written.size()));
    return SetLogOutputReply{.next = written.size()};
  }
  std::span<const std::byte> IpcPage() override { return std::as_bytes(std::span(ipc_page)); }
  // What the kernel or a task logs.
  void Write(std::string_view text) {
    written += text;
    if (log_bits == 0) uart += text;
  }
  void PowerOff(const PowerOffRequest& request) override { power_offs.push_back(request.status); }
  uint64_t Ticks() override { return now; }
  uint64_t TicksPerSecond() override { return frequency; }
  std::span<std::byte> OwnMemory(VirtAddr address, uint64_t bytes) override {
    if (address == kArchiveBase) return Ram(kRamBase + kArchiveOffset, bytes);
    if (address == abi::kJournalBase && bytes <= journal_.size()) {
      return std::span(journal_).first(bytes);
    }
    if (address == abi::kRootDeathPage) return std::span(journal_).last(kPageSize).first(bytes);
    const auto own = Look(kOwnTask.slot, address, bytes);
    EXPECT_EQ(own.size(), bytes) << "the supervisor looks at memory that it has not mapped";
    return own;
  }

 private:
  std::span<std::byte> Ram(uint64_t base, uint64_t bytes) {
    EXPECT_TRUE(InBounds(base - kRamBase, bytes, kRamBytes));
    return ram_.subspan(base - kRamBase, bytes);
  }
  bool InArchive(uint64_t address) const {
    return address - kRamBase - kArchiveOffset < archive_bytes_;
  }
  void Use(uint64_t base, uint64_t bytes, const char* for_what) {
    EXPECT_EQ(base % kPageSize, 0u) << for_what;
    ASSERT_TRUE(InBounds(base - kRamBase, bytes, kRamBytes)) << for_what << " is not in RAM";
    for (uint64_t page = base; page < base + bytes; page += kPageSize) {
      EXPECT_TRUE(used_.emplace(page, for_what).second)
          << "page " << page << " given for " << for_what << " is " << used_[page] << " already";
    }
  }
  void Unuse(uint64_t base, uint64_t bytes) {
    for (uint64_t page = base; page < base + bytes; page += kPageSize) {
      EXPECT_EQ(used_.erase(page), 1u) << "page " << page << " was not in use";
      Leave(page, kPageSize);
    }
  }
  // Nobody may count on what is left there.
  void Leave(uint64_t base, uint64_t bytes) { std::memset(Ram(base, bytes).data(), 0x5a, bytes); }
  void Spend() {
    now += ticks_per_call;
    ++work;
  }
  Status Bind(const char* what, uint32_t vm, uint64_t address, uint32_t target) {
    if (!objects_.contains(vm) || !objects_.contains(target)) return Status::kNotFound;
    if (!bound_.emplace(std::pair(vm, address), target).second) return Status::kAlreadyExists;
    bindings.emplace_back(what);
    return Status::kOk;
  }

  uint64_t archive_bytes_;
  // One test after another has the same memory: making it takes longer than most tests.
  static std::unique_ptr<std::byte[]> TakeMemory() {
    if (spare_ != nullptr) return std::move(spare_);
    std::unique_ptr<std::byte[]> memory(new std::byte[kRamBytes]);
    std::memset(memory.get(), 0xa5, kRamBytes);
    return memory;
  }
  inline static std::unique_ptr<std::byte[]> spare_;
  std::unique_ptr<std::byte[]> memory_ = TakeMemory();
  std::span<std::byte> ram_{memory_.get(), kRamBytes};
  std::vector<std::byte> journal_ = std::vector<std::byte>(abi::kRootJournalBytes);
  std::map<uint64_t, const char*> used_;
  std::map<uint32_t, std::vector<std::pair<uint64_t, uint64_t>>> tables_;
  static constexpr uint64_t kHypercalls = ~uint64_t{0};
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> bound_;  // VM, address; endpoint or signal
  std::map<uint32_t, Object> objects_;
  std::map<uint32_t, std::map<uint64_t, Mapping>> spaces_;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_FAKE_KERNEL_H_
