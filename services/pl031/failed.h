// What a guest has in the place of its clock when the service was given up: one that stands at 1970, as a clock whose
// battery is empty does. Registers read 0 and ignore stores; the identification is there, so that a driver which finds it
// goes on. An external abort would say it louder, but drivers of a clock do not expect one: Linux would die of it.
#ifndef ATOLL_SERVICES_PL031_FAILED_H_
#define ATOLL_SERVICES_PL031_FAILED_H_

#include "services/pl031/registers.h"
#include "services/runtime/device.h"
#include "services/runtime/ports.h"

namespace atoll {

class FailedPl031 final : public MmioDevice {
 public:
  // No alarm pends.
  explicit FailedPl031(InterruptLine& line) { line.Set(false); }

  Result<uint64_t> Access(const RegisterAccess& access) override {
    const size_t index = pl031::kTable.Find(access);
    if (access.write || index == pl031::Table::kReserved) return 0;
    return pl031::kTable.Loaded(index, access, pl031::kTable.reset(index));
  }
  void OnSignals(uint64_t) override {}
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL031_FAILED_H_
