// The pl031 service of one VM.
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
  constexpr uint64_t kAddress = manifest::kRtcAddress.value + pl031::kTable.offset(pl031::kDr);
  return *reinterpret_cast<const volatile uint32_t*>(kAddress);
}

}  // namespace

void ServiceMain(const StartInfo&) {
  const std::span journal(reinterpret_cast<std::byte*>(abi::kJournalBase.value),
                          manifest::kJournalBytes);
  const SystemCounter counter;
  Result<Pl031State*> state = AttachPl031State(journal);
  if (!state.has_value()) Panic("journal: ", state.error());
  if (*state == nullptr) {
    state = NewPl031State(journal, {.ticks = counter.Ticks(), .seconds = ReadMachineClock()});
  }

  KernelInterruptLine interrupt(manifest::kIrqLine);
  KernelTimer timer;
  Pl031 device({interrupt, timer, counter}, **state);
  device.Start();
  Serve(device);
}

}  // namespace atoll
