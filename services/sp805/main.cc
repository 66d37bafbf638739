// The sp805 service of one VM.
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/sp805/device.h"
#include "services/sp805/manifest.h"

namespace atoll {

namespace manifest = sp805_manifest;
static_assert(Sp805::kTimerSignal == manifest::kTimerSignal);

namespace {

// In the place of one that was given up: it can be identified and does nothing.
class FailedSp805 final : public MmioDevice {
 public:
  Result<uint64_t> Access(const RegisterAccess& access) override {
    const size_t index = sp805::kTable.Find(access);
    if (access.write || index < sp805::kPeriphId0 || index == sp805::Table::kReserved) return 0;
    return sp805::kTable.Loaded(index, access, sp805::kTable.reset(index));
  }
  void OnSignals(uint64_t) override {}
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  KernelInterruptLine interrupt(manifest::kIrqLine);
  if (start.failed) {
    interrupt.Set(false);
    FailedSp805 device;
    Serve(device);
  }
  static_assert(sizeof(sp805::Journal) <= manifest::kJournalBytes);
  KernelTimer timer;
  const SystemCounter counter;
  KernelVmPower vm(manifest::kVm);
  Sp805 device({interrupt, timer, counter, vm}, Journal<sp805::Journal>());
  if (!device.Start()) Log("the journal is damaged: a watchdog that is off");
  Serve(device);
}

}  // namespace atoll
