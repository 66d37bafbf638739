// The pl011 service of one VM.
#include "services/console/line.h"
#include "services/pl011/failed.h"
#include "services/pl011/manifest.h"
#include "services/pl011/pl011.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"

namespace atoll {

namespace manifest = pl011_manifest;
static_assert(Pl011::kConsoleSignal == manifest::kConsoleSignal);
static_assert(Pl011::kTimerSignal == manifest::kTimerSignal);

void ServiceMain(const StartInfo& start) {
  const Result<Pl011Journal> journal =
      AttachPl011State(MappedMemory(abi::kJournalBase, manifest::kJournalBytes));
  if (!journal.has_value()) Panic("journal: ", journal.error());
  if (journal->damaged) Log("the journal is damaged: what it says is not believed");
  KernelInterruptLine<manifest::kIrqLine> interrupt;
  if (start.failed) {
    FailedPl011 device(interrupt, journal->state->registers);
    device.Start();
    Serve(device);
  }

  const Result<GuestLine> line =
      GuestLine::Attach(MappedMemory(manifest::kRingAddress, manifest::kRingBytes));
  if (!line.has_value()) Panic("ring to the console: ", line.error());
  KernelNotifier console(manifest::kConsole);
  KernelTimer timer;
  const SystemCounter counter;
  Pl011 device({interrupt, console, timer, counter}, *line, *journal->state);
  device.Start();
  Serve(device);
}

}  // namespace atoll
