// What the register file asks of the kernel: fields of the VM's interrupts (proto/kernel.proto).
#ifndef ATOLL_SERVICES_VGIC_INTERRUPT_STATE_H_
#define ATOLL_SERVICES_VGIC_INTERRUPT_STATE_H_

#include <cstdint>

#include "ipc/status.h"
#include "proto/kernel.atoll.h"

namespace atoll {

class InterruptState {
 public:
  // `count` interrupts from `first`, lowest bits first; those below 32 are vCPU `vcpu`'s.
  virtual Result<uint64_t> Get(InterruptField field, uint32_t first, uint32_t count,
                               uint32_t vcpu) = 0;
  // Changes the bits of `mask` only.
  virtual Status Set(InterruptField field, uint32_t first, uint64_t mask, uint64_t value,
                     uint32_t vcpu) = 0;

 protected:
  ~InterruptState() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VGIC_INTERRUPT_STATE_H_
