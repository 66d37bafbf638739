// What a device of the library (register_device.h, services/virtio/device.h) is made in: everything that is not the
// device itself. In a service it is the kernel's, in tests and fuzz targets it is fakes.
#ifndef ATOLL_SERVICES_RUNTIME_SURROUNDINGS_H_
#define ATOLL_SERVICES_RUNTIME_SURROUNDINGS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/address.h"
#include "proto/start_config.atoll.h"
#include "services/runtime/ports.h"

namespace atoll {

// Other services, by what the manifest's header calls them.
class Peers {
 public:
  // Sets the peer's bit. Signals may be repeated: they say "look", and what there is to see lies in memory.
  virtual void Signal(abi::SignalHandle peer) = 0;
  // A mapping of the manifest: its kNameAddress and kNameBytes.
  virtual std::span<std::byte> Memory(VirtAddr address, size_t bytes) = 0;

 protected:
  ~Peers() = default;
};

struct Surroundings {
  std::span<std::byte> journal;
  InterruptLine& line;
  DeadlineTimer& timer;
  uint64_t timer_signal;  // the timer's bit among those of OnSignals; 0: no timer
  const Counter& counter;
  Peers& peers;
  VmPower& vm;                 // its own, if the manifest has a VM handle with the right POWER
  const StartConfig& start;    // guest RAM, vCPUs, a random seed
  uint64_t pause_signal = 0;   // the bits that say that the VM is paused, ...
  uint64_t resume_signal = 0;  // ... and that it is not; 0: nobody says so
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_SURROUNDINGS_H_
