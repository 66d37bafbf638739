// The driver of the machine's disk: takes requests from the rings of up to 16 virtual disks, gives
// them to the device, and brings the outcomes back. Data goes straight between device and guest
// memory; it is never seen here.
//
// Clients take turns, and while several have requests each has at most its share of the device's
// queue. A device that asks for a reset or leaves a request unanswered for kRequestSeconds is reset,
// and what it had is repeated, which is harmless for every operation. If it then does nothing at
// all, or breaks the rules of its queue, it has failed: all requests end with kIoError.
#ifndef ATOLL_SERVICES_BLK_DRIVER_BLOCK_DRIVER_H_
#define ATOLL_SERVICES_BLK_DRIVER_BLOCK_DRIVER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ipc/dma.h"
#include "services/blk-driver/client.h"
#include "services/blk-driver/physical_disk.h"
#include "services/blk-driver/transfer.h"
#include "services/runtime/ports.h"
#include "services/runtime/quarantine.h"
#include "services/virtio_driver/event_log.h"

namespace atoll::blk_driver {

inline constexpr uint32_t kMaxClients = 16;
inline constexpr uint64_t kRequestSeconds = 30;

// Bits of the service's signal.
inline constexpr uint64_t kClientSignals = (uint64_t{1} << kMaxClients) - 1;  // client i: bit i
inline constexpr uint64_t kIrqSignal = uint64_t{1} << 16;
inline constexpr uint64_t kTimerSignal = uint64_t{1} << 17;
inline constexpr uint64_t kDmaSignal = uint64_t{1} << 18;

class BlockDriver {
 public:
  struct Ports {
    DmaTable& windows;
    const Counter& counter;
    DeadlineTimer& timer;
    Notifier& dma_closed;  // the supervisor
    virtio_driver::EventLog& log;
    Quarantine<kMaxClients>& quarantine;  // in the journal
  };

  // Everything referenced outlives the driver. disk: none if the machine has no such device.
  BlockDriver(const Ports& ports, PhysicalDisk* disk) : ports_(ports), disk_(disk) {}

  // Before Start. disk: as described; sectors 0: all that follow. index < kMaxClients.
  void AddClient(uint32_t index, const block::RequestRingDriver& ring, Notifier& notifier,
                 const DiskRange& disk) {
    clients_[index].emplace(ring, notifier, disk);
  }

  // Resets the device, and then takes up whatever clients had submitted, before or meanwhile. blamed:
  // the instance before died of what it did. A client whose request two instances died of gets
  // nothing but I/O errors until its guest's driver starts anew.
  void Start(uint64_t generation, bool blamed);

  // Instead of Start, when the disk is given up: it is stopped, and every request fails.
  void StartFailed(uint64_t generation);

  void OnSignals(uint64_t bits);

 private:
  // A slot's request from when it is taken until it is completed. Its tag is its index.
  struct Transfer {
    uint32_t client = 0;
    uint32_t slot = 0;
    block::Request request;
    uint32_t done = 0;   // sectors
    uint32_t piece = 0;  // sectors that the device has now
    uint64_t deadline = DeadlineTimer::kNever;
  };

  // How the work on one of them ended.
  enum class Step { kTaken, kFull };

  void Work();
  void Collect();
  void OnOutcome(const PhysicalDisk::Outcome& outcome);
  void StartRequests();
  Step StartNext(uint32_t client);
  Step Continue(uint32_t tag);
  Status SubmitPiece(uint32_t tag);
  void Finish(uint32_t tag, block::RequestStatus status);
  void Refuse(Client& client);
  void CloseWindows();
  void CheckDeadlines();
  void Recover(std::string_view reason);
  void Reset(std::string_view reason);
  void Fail(std::string_view reason);
  void Announce(block::DiskState state);
  void AnnounceTo(uint32_t client, block::DiskState state);
  void TakeUpQuarantine(bool blamed);
  void EndQuarantine(uint32_t client);
  void SignalClients();
  bool MaySleep();
  void ArmTimer(uint64_t deadline);
  uint64_t After(uint64_t milliseconds) const;

  template <typename Visit>
  void ForEachClient(Visit visit) {
    for (std::optional<Client>& client : clients_) {
      if (client.has_value()) visit(*client);
    }
  }
  // Calls `visit(tag)` for each transfer of a set.
  template <typename Visit>
  static void ForEachTag(uint64_t tags, Visit visit) {
    for (; tags != 0; tags &= tags - 1) visit(static_cast<uint32_t>(std::countr_zero(tags)));
  }

  Ports ports_;
  PhysicalDisk* disk_;
  std::array<std::optional<Client>, kMaxClients> clients_;
  std::array<Transfer, kDepth> transfers_ = {};
  uint64_t taken_ = 0;    // tags in use
  uint64_t waiting_ = 0;  // those of them that found no room in the device's queue
  uint32_t turn_ = 0;     // the client that is first in the next round
  uint32_t generation_ = 0;
  uint32_t idle_restarts_ = 0;  // of the device, since it last completed a request
  bool ready_ = false;
  bool stopped_ = false;  // the device does no DMA
  uint64_t armed_ = DeadlineTimer::kNever;
  uint64_t close_deadline_ = DeadlineTimer::kNever;  // of windows that wait for the device
};

}  // namespace atoll::blk_driver

#endif  // ATOLL_SERVICES_BLK_DRIVER_BLOCK_DRIVER_H_
