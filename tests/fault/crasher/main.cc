// The crasher: dies while a call is unanswered, and takes each command exactly once all the same.
#include <algorithm>
#include <atomic>

#include "ipc/system_call.h"
#include "proto/device.atoll.h"
#include "services/runtime/faults.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "tests/fault/crasher/registers.h"

namespace atoll {
namespace {

namespace reg = crasher;

// What one command changes, together with the call that brought it.
struct Record {
  uint64_t token = 0;
  uint32_t count = 0;
  uint32_t attempt = 0;
};

// Zero when the VM is fresh. Every prefix of the stores is a valid state: a record counts when `current` names it.
struct State {
  Record records[2];
  uint32_t current = 0;
  uint32_t scratch = 0;
  uint32_t deliveries = 0;
  uint32_t end_at_start = 0;
};

constexpr uint32_t kExitCode = 7;

// Ends when `depth` wraps: long after the stack has.
[[gnu::noinline]] uint64_t Recurse(uint64_t depth) {
  volatile uint64_t frame[64] = {depth};
  return depth == 0 ? 0 : frame[0] + Recurse(depth + 1) + frame[1];
}

void Die(uint32_t cause) {
  switch (cause) {
    case reg::kNullWrite: asm volatile("str wzr, [%0]" ::"r"(uint64_t{0}) : "memory"); break;
    case reg::kExit: Exit(kExitCode);
    case reg::kStackOverflow: (void)Recurse(1); break;
    case reg::kUndefined: asm volatile("udf #0"); break;
    default: break;
  }
}

// Returns when there were so many moments in which nothing ran, as the machine itself was not there.
void Work() {
  uint64_t second, before, now;
  asm volatile("mrs %0, cntfrq_el0\n\tmrs %1, cntpct_el0" : "=r"(second), "=r"(before));
  uint64_t left = second / 1'000'000 * reg::kBusyMicroseconds;
  for (uint32_t pauses = 0; pauses < reg::kBusyPauses && left != 0; before = now) {
    asm volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(now)::"memory");
    const uint64_t gap = now - before;
    if (gap > second / 1000) ++pauses;
    if (gap < second / 20'000) left -= std::min(left, gap);
  }
}

// As the supervisor's Divert would, with everything as it happens to be.
[[noreturn]] void GoTo(Fault fault) {
  const auto* table = reinterpret_cast<const FaultTable*>(kFaultTable.value);
  if (table->magic != FaultTable::kMagic || table->count != kFaultEntries)
    Panic("no table of faults");
  asm volatile("br %0" ::"r"(FaultEntry(fault).value));
  __builtin_unreachable();
}

class Crasher final : public DeviceServer, public SignalHandler {
 public:
  Crasher(State& state, uint64_t generation) : state_(state), generation_(generation) {}

  Result<MmioAccessReply> MmioAccess(const CallInfo& call,
                                     const MmioAccessRequest& access) override {
    if (access.size != sizeof(uint32_t)) return std::unexpected(Status::kInvalidArgument);
    if (!access.write) return MmioAccessReply{.value = Read(call, access.offset)};
    Write(call, access.offset, static_cast<uint32_t>(access.value));
    return MmioAccessReply{};
  }

  void OnSignals(uint64_t) override {}

 private:
  uint64_t Read(const CallInfo& call, uint64_t offset) {
    switch (offset) {
      case reg::kGeneration: return generation_;
      case reg::kScratch: return state_.scratch;
      case reg::kCount: return Current().count;
      case reg::kDeliveries: return state_.deliveries;
      case reg::kAttempt: return Current().attempt;
      case reg::kDyingRead:
        if (call.attempt == 1) Die(reg::kNullWrite);
        return call.attempt;
      case reg::kBusy: Work(); return 1;
      default: return 0;
    }
  }

  void Write(const CallInfo& call, uint64_t offset, uint32_t value) {
    if (offset == reg::kScratch) state_.scratch = value;
    if (offset == reg::kEndAtStart) state_.end_at_start = value;
    if (offset == reg::kCommand) Command(call, value);
  }

  void Command(const CallInfo& call, uint32_t value) {
    ++state_.deliveries;
    const auto die_at = [&](uint32_t place) {
      if ((value & reg::kPlace) != place) return;
      if (call.attempt != 1 && (value & reg::kAlways) == 0) return;
      const uint32_t fault = (value & reg::kFault) >> reg::kFaultShift;
      if (fault != 0) GoTo(static_cast<Fault>(fault - 1));
      Die(value & reg::kCause);
    };
    die_at(reg::kBefore);
    if (Current().token == call.token) {  // done by an earlier instance; only its answer is missing
      die_at(reg::kAfter);
      return;
    }
    const uint32_t next = (state_.current & 1) ^ 1;  // whatever was scribbled over it
    state_.records[next] = {.token = call.token,
                            .count = Current().count + 1,
                            .attempt = static_cast<uint32_t>(call.attempt)};
    std::atomic_signal_fence(
        std::memory_order_seq_cst);  // the record is whole before it counts, for whoever comes next
    die_at(reg::kHalfway);
    std::atomic_ref(state_.current).store(next, std::memory_order_release);
    die_at(reg::kAfter);
  }

  const Record& Current() const { return state_.records[state_.current & 1]; }

  State& state_;
  const uint64_t generation_;
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  State& state = Journal<State>();
  if (state.end_at_start == reg::kEndAtStartValue) Die(reg::kUndefined);
  Crasher crasher(state, start.generation);
  Serve(static_cast<SignalHandler&>(crasher), static_cast<DeviceServer&>(crasher));
}

}  // namespace atoll
