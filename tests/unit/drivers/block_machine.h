// A machine with a disk, its driver, and clients with guest memory of their own.
#ifndef ATOLL_TESTS_UNIT_DRIVERS_BLOCK_MACHINE_H_
#define ATOLL_TESTS_UNIT_DRIVERS_BLOCK_MACHINE_H_

#include <memory>
#include <vector>

#include "services/blk-driver/block_driver.h"
#include "tests/unit/drivers/fake_disk.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll::blk_driver {

using block::DiskState;
using block::Operation;
using block::Request;
using block::RequestStatus;
using block::SlotState;

inline constexpr uint64_t kGuestBase = 0x4000'0000;
inline constexpr uint64_t kGuestBytes = 1 << 20;
inline constexpr uint64_t kDiskSectors = 4096;

struct Data {
  uint64_t guest_physical = 0;
  uint32_t bytes = 0;
};

class BlockMachine {
 public:
  struct ClientSide {
    explicit ClientSide(std::span<std::byte> memory)
        : ring(block::RequestRingClient::Attach(memory).value()) {}
    block::RequestRingClient ring;
    FakeNotifier signalled;
  };

  explicit BlockMachine(std::vector<DiskRange> ranges = {{.first_sector = 0, .sectors = 1024},
                                                         {.first_sector = 1024, .sectors = 1024}})
      : memory((1 + ranges.size()) * kGuestBytes), ranges_(std::move(ranges)) {
    device.granted = [this](uint64_t physical, uint64_t bytes) {
      return IsGranted(physical, bytes);
    };
    for (size_t i = 0; i < ranges_.size(); ++i) {
      rings_.push_back(std::make_unique<AlignedMemory<block::kRingBytes>>());
      clients.push_back(std::make_unique<ClientSide>(rings_.back()->span()));
      OpenWindow(static_cast<uint32_t>(i), 1);
    }
  }

  // Starts an instance of the driver; an earlier one is simply gone.
  void Boot(uint64_t generation = 0, bool blamed = false, bool failed = false) {
    timer.deadline = DeadlineTimer::kNever;
    disk_.emplace(device, memory.Dma(0, PhysicalDisk::kDmaBytes));
    driver_ = std::make_unique<BlockDriver>(
        BlockDriver::Ports{*windows_, counter, timer, dma_closed, log, quarantine},
        has_disk ? &*disk_ : nullptr);
    for (uint32_t i = 0; i < clients.size(); ++i) {
      driver_->AddClient(i, block::RequestRingDriver::Attach(rings_[i]->span()).value(),
                         clients[i]->signalled, ranges_[i]);
    }
    failed ? driver_->StartFailed(generation) : driver_->Start(generation, blamed);
    Settle();
  }

  void Signal(uint64_t bits) {
    driver_->OnSignals(bits);
    Settle();
  }

  // Device and driver, until neither has anything to do.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      const bool served = device.Serve();
      if (device.TakeEdge()) {
        driver_->OnSignals(kIrqSignal);
      } else if (timer.Expire(counter.ticks)) {
        driver_->OnSignals(kTimerSignal);
      } else if (!served) {
        return;
      }
    }
    settled = false;
  }
  void Pass(double seconds) {
    counter.ticks += static_cast<uint64_t>(seconds * FakeCounter::kFrequency);
    Settle();
  }

  // ---- a client
  void Submit(uint32_t client, uint32_t slot, Operation operation, uint64_t sector,
              uint32_t sectors, const std::vector<Data>& data = {}) {
    auto& ring = clients[client]->ring;
    for (uint32_t i = 0; i < data.size(); ++i) {
      ring.SetSegment(slot, i, data[i].guest_physical, data[i].bytes);
    }
    ring.Submit(slot, {.operation = operation,
                       .sector = sector,
                       .sectors = sectors,
                       .segment_count = static_cast<uint32_t>(data.size())});
  }
  RequestStatus Do(uint32_t client, Operation operation, uint64_t sector, uint32_t sectors,
                   const std::vector<Data>& data = {}) {
    Submit(client, 0, operation, sector, sectors, data);
    Signal(uint64_t{1} << client);
    return Take(client, 0);
  }
  bool IsDone(uint32_t client, uint32_t slot) {
    return clients[client]->ring.State(slot) == SlotState::kDone;
  }
  // The outcome of a slot, which is free again; kNone: it is not done.
  static constexpr auto kNone = static_cast<RequestStatus>(99);
  RequestStatus Take(uint32_t client, uint32_t slot) {
    if (!IsDone(client, slot)) return kNone;
    const RequestStatus status = clients[client]->ring.Outcome(slot);
    clients[client]->ring.Free(slot);
    return status;
  }
  // 8 sectors in one piece work.
  bool Works(uint32_t client) {
    const Data data = {kGuestBase + 0x8000, 4096};
    std::memset(Guest(client, 0x8000), 0, 4096);
    if (Do(client, Operation::kIn, 3, 8, {data}) != RequestStatus::kOk) return false;
    const size_t offset = (ranges_[client].first_sector + 3) * 512;
    return std::memcmp(Guest(client, 0x8000), device.content.data() + offset, 4096) == 0;
  }

  // ---- guest memory and windows
  static uint64_t GuestOffset(uint32_t client) { return (1 + client) * kGuestBytes; }
  std::byte* Guest(uint32_t client, uint64_t offset) {
    return memory.all().data() + GuestOffset(client) + offset;
  }
  DmaWindow& Window(uint32_t client) { return (*windows_)[kFirstClientDmaWindow + client]; }
  void OpenWindow(uint32_t client, uint32_t generation) {
    OpenDmaWindow(Window(client), kGuestBase, kGuestBytes,
                  PhysAddr(virtio_driver::kPhysicalBase + GuestOffset(client)), generation);
  }
  void CloseWindow(uint32_t client, uint32_t generation) {
    CloseDmaWindow(Window(client), generation);
    Signal(kDmaSignal);
  }
  bool IsClosed(uint32_t client, uint32_t generation) {
    return IsDmaWindowClosed(Window(client), generation);
  }
  std::span<std::byte> RingBytes(uint32_t client) { return rings_[client]->span(); }

  PhysicalMemory memory;
  FakeDisk device{memory, kDiskSectors};
  bool has_disk = true;
  bool settled = true;
  std::vector<std::unique_ptr<ClientSide>> clients;
  FakeCounter counter;
  FakeTimer timer;
  FakeNotifier dma_closed;
  Quarantine<kMaxClients> quarantine = {};
  virtio_driver::FakeLog log;

 private:
  // The driver's own memory, and that of guests until the driver has let go of it.
  bool IsGranted(uint64_t physical, uint64_t bytes) {
    const uint64_t offset = physical - virtio_driver::kPhysicalBase;
    if (InBounds(offset, bytes, PhysicalDisk::kDmaBytes)) return true;
    for (uint32_t i = 0; i < clients.size(); ++i) {
      const bool open = !IsClosed(i, Window(i).generation);
      if (open && offset >= GuestOffset(i) &&
          InBounds(offset - GuestOffset(i), bytes, kGuestBytes)) {
        return true;
      }
    }
    return false;
  }

  std::vector<DiskRange> ranges_;
  std::vector<std::unique_ptr<AlignedMemory<block::kRingBytes>>> rings_;
  std::unique_ptr<DmaTable> windows_ = std::make_unique<DmaTable>();
  std::optional<PhysicalDisk> disk_;
  std::unique_ptr<BlockDriver> driver_;
};

}  // namespace atoll::blk_driver

#endif  // ATOLL_TESTS_UNIT_DRIVERS_BLOCK_MACHINE_H_
