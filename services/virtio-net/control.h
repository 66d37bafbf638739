// The commands of the control virtqueue (VIRTIO 1.2, 5.1.6.5).
//
// A command that is executed twice has the effect of one, so a command that a dying instance left
// in the queue is simply executed again.
#ifndef ATOLL_SERVICES_VIRTIO_NET_CONTROL_H_
#define ATOLL_SERVICES_VIRTIO_NET_CONTROL_H_

#include <cstdint>

#include "services/runtime/two_copies.h"
#include "services/virtio-net/specification.h"
#include "services/virtio-net/state.h"
#include "services/virtio/chain.h"

namespace atoll::virtio_net {

class Control {
 public:
  // `settings` outlive it. max_pairs: 1..kMaxPairs.
  Control(Kept<DriverSettings>& settings, uint32_t max_pairs)
      : settings_(settings), max_pairs_(max_pairs) {}

  // Executes the command in the readable part of `chain`; what it changes is in force when this
  // returns. ERR changes nothing.
  ControlAck Execute(const virtio::Chain& chain, uint64_t features);

 private:
  // What follows class and command.
  class Data;

  bool SetMode(uint8_t command, Data& data, uint64_t features);
  bool SetMac(uint8_t command, Data& data, uint64_t features);
  bool SetMacTable(Data& data);
  bool SetVlan(uint8_t command, Data& data);
  bool SetPairs(uint8_t command, Data& data);
  bool SetOffloads(uint8_t command, Data& data, uint64_t features);

  Kept<DriverSettings>& settings_;
  uint32_t max_pairs_;
};

}  // namespace atoll::virtio_net

#endif  // ATOLL_SERVICES_VIRTIO_NET_CONTROL_H_
