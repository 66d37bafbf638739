// The pl031 service of one VM.
#include <optional>

#include "services/pl031/config.h"
#include "services/pl031/failed.h"
#include "services/pl031/manifest.h"
#include "services/pl031/pl031.h"
#include "services/pl031/registers.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {

namespace manifest = pl031_manifest;
static_assert(Pl031::kTimerSignal == manifest::kTimerSignal);

namespace {

// RTCDR of the machine's PL031: UTC seconds since 1970.
uint32_t ReadMachineClock() {
  return *TaskPointer<const volatile uint32_t>(manifest::kRtcAddress +
                                               pl031::kTable.offset(pl031::kDr));
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  KernelInterruptLine<manifest::kIrqLine> interrupt;
  if (start.failed) {
    FailedPl031 device(interrupt);
    Serve(device);
  }

  static_assert(sizeof(Pl031Journal) <= manifest::kJournalBytes);
  auto& journal = Journal<Pl031Journal>();
  const SystemCounter counter;
  Pl031State state;
  const Copies found = LoadPl031State(journal, state);
  if (found == Copies::kRepaired) Log("one copy of the journal was damaged: the other counts");
  if (found == Copies::kLost) Log("the journal is damaged: the clock is set from the machine's");
  if (found == Copies::kFresh || found == Copies::kLost) {
    const std::optional<uint32_t> seconds = StartSeconds(start.config, ReadMachineClock());
    if (!seconds.has_value()) {
      Panic("pl031 config: cannot be decoded; expected an RtcConfig (proto/rtc_config.proto)");
    }
    state = NewPl031State({.ticks = counter.Ticks(), .seconds = *seconds});
  }

  KernelTimer timer;
  Pl031 device({interrupt, timer, counter}, journal, state);
  device.Start();
  Serve(device);
}

}  // namespace atoll
