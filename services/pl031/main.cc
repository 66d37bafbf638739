// The pl031 service of one VM.
#include <pb_decode.h>

#include "proto/rtc_config.pb.h"
#include "services/pl031/config.h"
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

// Seconds that the VM's clock is ahead of the machine's.
int64_t ReadOffset(std::span<const std::byte> encoded) {
  atoll_RtcConfig config = atoll_RtcConfig_init_zero;
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(encoded.data()), encoded.size());
  if (!pb_decode(&stream, atoll_RtcConfig_fields, &config)) {
    Panic("pl031 config: cannot be decoded; expected an RtcConfig (proto/rtc_config.proto)");
  }
  return config.offset_s;
}

}  // namespace

void ServiceMain(const StartInfo& start) {
  const std::span journal(reinterpret_cast<std::byte*>(abi::kJournalBase.value),
                          manifest::kJournalBytes);
  const SystemCounter counter;
  Result<Pl031State*> state = AttachPl031State(journal);
  if (!state.has_value()) Panic("journal: ", state.error());
  if (*state == nullptr) {
    // The count is modulo 2^32, and so is the sum.
    const auto seconds = static_cast<uint32_t>(ReadMachineClock() + ReadOffset(start.config));
    state = NewPl031State(journal, {.ticks = counter.Ticks(), .seconds = seconds});
  }

  KernelInterruptLine interrupt(manifest::kIrqLine);
  KernelTimer timer;
  Pl031 device({interrupt, timer, counter}, **state);
  device.Start();
  Serve(device);
}

}  // namespace atoll
