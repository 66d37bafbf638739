// What the services of virtio devices have in common on the target: how they begin on their journal.
#ifndef ATOLL_SERVICES_VIRTIO_SERVICE_H_
#define ATOLL_SERVICES_VIRTIO_SERVICE_H_

#include "proto/keeper.atoll.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/log.h"
#include "services/runtime/service.h"
#include "services/virtio/mmio_transport.h"

namespace atoll::virtio {

// The timer's signal without its delay: comes back after the calls and signals that wait already.
class MoreWork final : public Notifier {
 public:
  void Notify() override { timer_.Set(0); }

 private:
  KernelTimer timer_;
};

// The VM's vmm, which does not die with this service.
class VmmKeeper final : public Keeper {
 public:
  // The handle may be empty: then nobody keeps anything.
  explicit VmmKeeper(abi::Handle vmm) : vmm_(vmm) {}

  Status Keep(uint32_t number, const Part& part) override {
    return vmm_.Keep(
        {.part = number, .word0 = part[0], .word1 = part[1], .word2 = part[2], .word3 = part[3]});
  }
  Result<Part> Recall(uint32_t number) override {
    const auto reply = vmm_.Recall({.part = number});
    if (!reply.has_value()) return std::unexpected(reply.error());
    return Part{reply->word0, reply->word1, reply->word2, reply->word3};
  }

 private:
  KeeperClient vmm_;
};

// Starts the transport and says what is to be said of the journal. Does not return from one of a
// layout that this program does not know.
inline void StartOnJournal(MmioTransport& transport, const StartInfo& start) {
  const bool first = start.generation == 0;
  switch (transport.Start({.first = first, .blamed = start.blamed, .failed = start.failed})) {
    case JournalFound::kGood: break;
    case JournalFound::kRepaired: Log("the journal was damaged and has been mended"); break;
    case JournalFound::kDamaged:
      Log("the journal is damaged: the device fails until the guest resets it");
      break;
    case JournalFound::kRefused:
      Log("the journal is of another layout than this program's (ATVIRTO3)");
      Exit(kExitJournalRefused);
  }
}

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_SERVICE_H_
