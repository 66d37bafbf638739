// The interrupt controller of a VM as its guest addresses it: GICv3 distributor and redistributors.
//
// Device tree: compatible "arm,gic-v3", reg = GICD (64 KiB), GICR (128 KiB for each vCPU).
//
// Holds no state: an access becomes at most two kernel calls, so a new instance goes on where the last one died. An
// access that is delivered again sets the same fields again, which leaves the state of one store; only an interrupt that
// was set pending and has been taken in between comes once more.
// Accesses are 32 bits wide; 8 bits on IPRIORITYR, 64 bits on IROUTER and GICR_TYPER as well. Any other size,
// unaligned accesses and places where nothing is read 0 and ignore stores.
#ifndef ATOLL_SERVICES_VGIC_REGISTER_FILE_H_
#define ATOLL_SERVICES_VGIC_REGISTER_FILE_H_

#include <cstdint>
#include <span>

#include "services/runtime/check_word.h"
#include "services/runtime/device.h"
#include "services/vgic/interrupt_state.h"
#include "services/vgic/registers.h"

namespace atoll {

class RegisterFile final : public MmioDevice {
 public:
  // `affinities`: MPIDR_EL1 of each vCPU in the order of their indices ([39:32] and [23:0]); must outlive
  // this. `intids`: a multiple of 32 in 64..1024.
  RegisterFile(InterruptState& state, uint32_t intids, std::span<const uint64_t> affinities)
      : state_(state), typer_(Typer(intids)), affinities_(affinities), check_(CheckOfConstants()) {}

  // access.offset counts from the distributor. Never an error.
  Result<uint64_t> Access(const RegisterAccess& access) override {
    if (access.offset == gic::kGicdTyper && access.size == 4) [[likely]] {
      return access.write ? 0 : typer_;
    }
    return Dispatch(access);
  }
  void OnSignals(uint64_t) override {}
  bool IsIntact() override { return CheckOfConstants() == check_; }

 private:
  static constexpr uint32_t Typer(uint32_t intids) {
    return gic::kTyperIdBits | gic::kTyperAffinity3 | gic::kTyperNo1N | (intids / 32 - 1);
  }

  uint32_t CheckOfConstants() const {
    CheckWord check(typer_);
    check.Add(affinities_.size());
    for (const uint64_t affinity : affinities_) check.Add(affinity);
    return check.value();
  }

  uint64_t Dispatch(const RegisterAccess& access);
  uint64_t Distributor(const RegisterAccess& access);
  uint64_t Redistributor(const RegisterAccess& access, uint32_t vcpu);
  uint64_t Control(const RegisterAccess& access);
  uint64_t Route(const RegisterAccess& access);
  // Registers of a field of interrupts `begin` to `end`, at the same offsets in GICD and SGI_base.
  uint64_t Fields(const RegisterAccess& access, uint32_t begin, uint32_t end, uint32_t vcpu);
  uint64_t Bits(const RegisterAccess& access, uint32_t begin, uint32_t end, uint32_t vcpu);
  uint64_t Priorities(const RegisterAccess& access, uint32_t begin, uint32_t end, uint32_t vcpu);
  uint64_t Configuration(const RegisterAccess& access, uint32_t begin, uint32_t end, uint32_t vcpu);

  InterruptState& state_;
  const uint32_t typer_;
  const std::span<const uint64_t> affinities_;
  const uint32_t check_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VGIC_REGISTER_FILE_H_
