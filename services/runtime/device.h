// What every device model is to the code around it: something that takes register accesses and signals.
#ifndef ATOLL_SERVICES_RUNTIME_DEVICE_H_
#define ATOLL_SERVICES_RUNTIME_DEVICE_H_

#include <cstdint>

#include "ipc/status.h"

namespace atoll {

// One register access of a guest, already within the bound range. size is 1, 2, 4 or 8; offset may be
// unaligned; value is zero-extended.
struct RegisterAccess {
  uint64_t offset = 0;
  uint32_t size = 0;
  bool write = false;
  uint64_t value = 0;
  uint64_t token =
      0;  // of the call (CallInfo): the same when it is delivered again. 0: none, as in tests
};

class MmioDevice {
 public:
  // Returns the value loaded (0 for stores). An error makes the guest take an external abort; devices return
  // one only where their specification or the conformance list asks for an abort. UNAVAILABLE is none: the vCPU
  // waits, and the access is repeated after each signal until it gives something else. Nor is DATA_LOSS: what the instance
  // keeps for itself is damaged, and it ends without an answer; its successor gets the access.
  virtual Result<uint64_t> Access(const RegisterAccess& access) = 0;

  // Bits of the task's signal that were set: doorbells, timer, peers. Names: the service's manifest.
  virtual void OnSignals(uint64_t bits) = 0;

  // Whether what the instance keeps for itself is what it left there, as far as that can be told: from the journal, or
  // from what follows from what. Asked with each heartbeat; an instance that says no ends, and its successor begins with
  // what the journal says. Guests and peers must not be able to make it false.
  virtual bool IsIntact() { return true; }

 protected:
  ~MmioDevice() = default;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_DEVICE_H_
