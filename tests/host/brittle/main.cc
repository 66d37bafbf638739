// The brittle device: a store of an address has it look up the number that stands there in guest memory, and it forgets
// to check that number. A load gives what it found last, from its journal.
#include <cstring>

#include "proto/device.atoll.h"
#include "proto/start_config.atoll.h"
#include "services/runtime/device_service.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {
namespace {

struct State {
  uint32_t found;
};

constinit uint32_t squares[] = {0, 1, 4, 9, 16, 25, 36, 49};

[[gnu::noinline]] uint32_t LookUp(uint32_t number) { return squares[number]; }

class Brittle final : public MmioDevice {
 public:
  Brittle(const GuestMemory& memory, State& state) : memory_(memory), state_(state) {}

  Result<uint64_t> Access(const RegisterAccess& access) override {
    if (!access.write) return state_.found;
    const auto bytes = memory_.Range(GuestPhys(access.value), sizeof(uint32_t));
    if (!bytes.has_value()) return std::unexpected(bytes.error());
    uint32_t number;
    std::memcpy(&number, bytes->data(), sizeof(number));
    state_.found = LookUp(number);
    return 0;
  }

  void OnSignals(uint64_t) override {}

 private:
  const GuestMemory& memory_;
  State& state_;
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  const auto common = DecodedConfig<StartConfig>(start, &atoll_StartConfig_msg, "StartConfig");
  const GuestMemory memory(GuestPhys(common.ram_base),
                           MappedMemory(abi::kGuestRamBase + common.ram_base, common.ram_bytes));
  Brittle device(memory, Journal<State>());
  Serve(device);
}

}  // namespace atoll
