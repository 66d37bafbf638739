// The pl061 service of one VM.
#include "services/pl061/device.h"
#include "services/pl061/manifest.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {

namespace manifest = pl061_manifest;
static_assert(Pl061::kTimerSignal == manifest::kTimerSignal);
static_assert(Pl061::kPowerSignal == manifest::kPowerSignal);

namespace {

// In the place of one that was given up: it can be identified and does nothing.
class FailedPl061 final : public MmioDevice {
 public:
  Result<uint64_t> Access(const RegisterAccess& access) override {
    const size_t index = pl061::kTable.Find(access);
    if (access.write || index < pl061::kPeriphId0 || index == pl061::Table::kReserved) return 0;
    return pl061::kTable.Loaded(index, access, pl061::kTable.reset(index));
  }
  void OnSignals(uint64_t) override {}
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  KernelInterruptLine interrupt(manifest::kIrqLine);
  if (start.failed) {
    interrupt.Set(false);
    FailedPl061 device;
    Serve(device);
  }
  static_assert(sizeof(pl061::Journal) <= manifest::kJournalBytes);
  KernelTimer timer;
  const SystemCounter counter;
  Pl061 device({interrupt, timer, counter}, Journal<pl061::Journal>());
  if (!device.Start()) Log("the journal is damaged: pins as after a reset");
  Serve(device);
}

}  // namespace atoll
