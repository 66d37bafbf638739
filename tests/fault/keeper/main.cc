// The keeper: adds each amount that a relay brings once, however often either of them dies.
#include <array>
#include <atomic>

#include "proto/device.atoll.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {
namespace {

// The sum and what was added last, by its id. The relay's own calls have new tokens in each of its lives; so the id that
// counts is the one of the guest's access, which the relay passes on.
struct Record {
  uint64_t id;
  uint64_t sum;
};
// Zero at first. A record counts when `current` names it.
struct State {
  std::array<Record, 2> records;
  uint32_t current;
};

class Keeper final : public DeviceServer, public SignalHandler {
 public:
  explicit Keeper(State& state) : state_(state) {}

  // A store: adds `offset`, `value` is the id. Either way the sum comes back.
  Result<MmioAccessReply> MmioAccess(const CallInfo&, const MmioAccessRequest& request) override {
    const Record& record = state_.records[state_.current & 1];
    if (request.write && request.value != record.id)
      Add(request.value, record.sum + request.offset);
    return MmioAccessReply{.value = state_.records[state_.current & 1].sum};
  }

  void OnSignals(uint64_t) override {}

 private:
  void Add(uint64_t id, uint64_t sum) {
    const uint32_t next = (state_.current & 1) ^ 1;
    state_.records[next] = {.id = id, .sum = sum};
    std::atomic_ref(state_.current).store(next, std::memory_order_release);
  }

  State& state_;
};

}  // namespace

void ServiceMain(const StartInfo&) {
  Keeper keeper(Journal<State>());
  Serve(static_cast<SignalHandler&>(keeper), static_cast<DeviceServer&>(keeper));
}

}  // namespace atoll
