// What a virtio device adds to the transport: its identity, its configuration space and the work on
// its queues.
#ifndef ATOLL_SERVICES_VIRTIO_DEVICE_MODEL_H_
#define ATOLL_SERVICES_VIRTIO_DEVICE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/virtio/split_queue.h"

namespace atoll::virtio {

struct Description {
  uint32_t device_id = 0;
  uint64_t features = 0;  // offered; VERSION_1 among them
  std::span<const uint32_t> queue_sizes =
      {};               // QueueNumMax of each queue: powers of two up to kMaxQueueSize
  uint32_t format = 1;  // version of the model's own part of the journal
};

// How a pass over a queue ended.
enum class Work {
  kDone,    // nothing is left that could be done now
  kMore,    // the pass's share is used up; call again after other events had their turn
  kBroken,  // the driver broke a rule that only a reset cures
};

// What a peer's signal led to.
struct PeerWork {
  uint64_t queues = 0;          // bit n: queue n is to be processed
  bool config_changed = false;  // Config() or the features of Describe() have a new value
};

class DeviceModel {
 public:
  // Device and queues are constant; features change only in Reset and with config_changed, and are
  // looked at again until the driver has accepted some.
  virtual Description Describe() const = 0;
  // The device-specific configuration space as the driver reads it, little-endian.
  virtual std::span<const std::byte> Config() const = 0;

  // Serves the chains of queue `index`, at most a bounded share of them, and publishes what it
  // pushed. Called only while the device is live and the queue ready. `features`: those negotiated,
  // on which all behaviour depends.
  virtual Work ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) = 0;
  // Takes up the chains of queue `index` that an earlier instance held, if the device is live and
  // the queue ready. Called once, before anything is processed. False: something of the journal is
  // not what an instance leaves; what is good of it was taken up. blamed: the instance before died
  // of what it did.
  virtual bool RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features, bool blamed) {
    return true;
  }
  // Chains of a queue are used in the order in which they were made available, and executing one again does no harm. So
  // where the journal does not say what is in hand, the used ring does: all that comes after it.
  virtual bool InOrder() const { return false; }
  // Only if InOrder: forgets all that the journal says of chains in hand, damaged as it is. What else was damaged has
  // been mended, or false.
  virtual bool ForgetChains() { return true; }
  // Whether the instance before was at work on a chain that it held, which RecoverQueue blames.
  virtual bool WasAtWork() const { return false; }
  // Two instances died while they took up what is next in queue `index`: gets rid of it without
  // looking at it. False: it cannot.
  virtual bool SkipNext(uint32_t index, SplitQueue& queue) { return false; }
  // From now on, until Reset if `until_reset`, else for good, everything fails in a way that the
  // driver sees: requests end with errors, links are down. Nothing is left waiting.
  virtual void SetFailing(bool until_reset) {}
  // The driver stopped queue `index`, which is not ready any more: its chains are forgotten. False:
  // somebody else still touches their buffers; asked again after each signal until true. Stopping
  // a stopped queue does no harm.
  virtual bool StopQueue(uint32_t index) { return true; }

  // Signal bits that are no doorbell: peers', above all.
  virtual PeerWork OnPeerSignals(uint64_t bits) { return {}; }

  // Prerequisites among the device's own features; the set is already a subset of the offered one.
  virtual bool AcceptsFeatures(uint64_t features) const { return true; }
  // A driver's write to the configuration space, within 8 bytes of any offset. Most devices have no
  // writable field. token: of the access, which comes again after a death (RegisterAccess).
  virtual void WriteConfig(uint64_t offset, std::span<const std::byte> bytes, uint64_t token) {}
  // As MmioDevice::IsIntact, between two calls of the others.
  virtual bool IsIntact() const { return true; }
  // The driver reset the device, and all queues are stopped: device-specific state returns to its
  // defaults.
  virtual void Reset() {}

 protected:
  ~DeviceModel() = default;
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_DEVICE_MODEL_H_
