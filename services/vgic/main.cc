// The vgic service of one VM.
#include "proto/kernel_calls.atoll.h"
#include "services/runtime/log.h"
#include "services/runtime/serve.h"
#include "services/runtime/service.h"
#include "services/vgic/config.h"
#include "services/vgic/manifest.h"
#include "services/vgic/register_file.h"

namespace atoll {
namespace {

class KernelInterruptState final : public InterruptState {
 public:
  Result<uint64_t> Get(InterruptField field, uint32_t first, uint32_t count,
                       uint32_t vcpu) override {
    const auto reply = kernel::GetInterrupts(
        vgic_manifest::kVm, {.field = field, .first = first, .count = count, .vcpu = vcpu});
    if (!reply.has_value()) return std::unexpected(reply.error());
    return reply->value;
  }
  Status Set(InterruptField field, uint32_t first, uint64_t mask, uint64_t value,
             uint32_t vcpu) override {
    return kernel::SetInterrupts(
        vgic_manifest::kVm,
        {.field = field, .first = first, .mask = mask, .value = value, .vcpu = vcpu});
  }
};

}  // namespace

void ServiceMain(const StartInfo& start) {
  VgicConfig config{};
  if (const char* error = ReadConfig(start.config, config); error != nullptr) Panic(error);
  KernelInterruptState state;
  const Result<uint64_t> intids = state.Get(InterruptField::kLines, 0, 1, 0);
  if (!intids.has_value()) Panic("number of interrupts: ", intids.error());
  RegisterFile registers(state, static_cast<uint32_t>(*intids),
                         {config.vcpu_affinity, config.vcpu_affinity_count});
  Serve(registers);
}

}  // namespace atoll
