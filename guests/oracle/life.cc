#include "guests/oracle/life.h"

#include "guests/oracle/events.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {
namespace {

using Queue = Virtqueue<4>;
Queue queue;
struct {
  uint32_t type, reserved;
  uint64_t sector;
} header;
alignas(512) uint32_t sector[128];
volatile uint8_t status;

class Waiter final : public Device {
 public:
  void OnInterrupt() override { is_done = is_done || queue.HasUsed(); }
  bool is_done = false;
};
constinit Waiter waiter;

bool Transfer(const Transport& transport, bool write) {
  header = {write ? 1u : 0u, 0, 0};
  status = 0xff;
  waiter.is_done = false;
  queue.Describe(0, AddressOf(header), sizeof(header), Queue::kNext, 1);
  queue.Describe(1, AddressOf(sector), sizeof(sector),
                 write ? Queue::kNext : Queue::kNext | Queue::kDeviceWrites, 2);
  queue.Describe(2, AddressOf(status), 1, Queue::kDeviceWrites, 0);
  queue.Offer(0);
  transport.Notify(0);
  if (!WaitFor([] { return waiter.is_done; })) return false;
  (void)queue.TakeUsed();
  return status == 0;
}

}  // namespace

bool CountLife(uint32_t slot, uint32_t& life) {
  const Transport transport(slot);
  if (transport.device_id() != Transport::kBlock || !transport.Negotiate(0)) return false;
  queue.Attach(transport, 0);
  Attach(slot, waiter);
  if (!transport.Run() || !Transfer(transport, false)) return false;
  life = sector[0]++;
  return Transfer(transport, true);
}

}  // namespace oracle
