// A guest whose disk is the machine's, with a driver that serves requests when and in the order that
// the test says.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_DRIVER_MACHINE_H_
#define ATOLL_TESTS_UNIT_VIRTIO_DRIVER_MACHINE_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/block/request_ring.h"
#include "services/virtio-blk/driver_executor.h"
#include "tests/unit/virtio/block_machine.h"

namespace atoll::virtio_blk {

inline constexpr uint64_t kDiskSignal = uint64_t{1} << 62;
inline constexpr uint32_t kAllFlags = block::kFlush | block::kDiscard | block::kWriteZeroes;

class CountingNotifier final : public Notifier {
 public:
  void Notify() override { ++count; }
  int count = 0;
};

// blk-driver and the physical disk in one, on the driver's side of the ring. What it was asked for
// is written down.
class FakeDriver {
 public:
  struct Served {
    uint32_t slot;
    block::Request request;
    std::vector<block::Segment> segments;
  };

  FakeDriver(std::span<std::byte> ring, uint64_t sectors)
      : ring_(*block::RequestRingDriver::Attach(ring)), content(sectors * kSectorBytes) {
    for (uint64_t i = 0; i < content.size(); ++i) content[i] = TestDisk::PatternAt(i);
  }

  void Announce(block::DiskState state, uint32_t flags = kAllFlags) {
    ring_.Announce({.state = state,
                    .flags = flags,
                    .sectors = content.size() / kSectorBytes,
                    .generation = generation});
  }
  // Says that it sleeps. False: it has something to do.
  bool Sleep() { return !ring_.Wait(); }
  bool ClientWaits() { return ring_.ClientWaits(); }

  std::vector<uint32_t> Submitted() const {
    std::vector<uint32_t> slots;
    for (uint32_t slot = 0; slot < block::kSlots; ++slot) {
      if (ring_.State(slot) == block::SlotState::kSubmitted) slots.push_back(slot);
    }
    return slots;
  }

  // Serves one slot. `status`: instead of its own.
  void Serve(uint32_t slot, const GuestMemory& memory,
             std::optional<block::RequestStatus> status = std::nullopt) {
    Served one{slot, ring_.Read(slot).value(), {}};
    for (uint32_t i = 0; i < one.request.segment_count; ++i) {
      one.segments.push_back(ring_.ReadSegment(slot, i));
    }
    const auto outcome = status ? *status : Execute(one, memory);
    served.push_back(std::move(one));
    ring_.Complete(slot, outcome);
  }
  void ServeAll(const GuestMemory& memory) {
    (void)ring_.TakeSubmitted();
    for (const uint32_t slot : Submitted()) Serve(slot, memory);
  }
  void Complete(uint32_t slot, block::RequestStatus status) { ring_.Complete(slot, status); }

 private:
  block::RequestStatus Execute(const Served& one, const GuestMemory& memory) {
    using enum block::Operation;
    const auto& [operation, sector, sectors, segment_count] = one.request;
    if (operation == kFlush) {
      durable = content;
      return block::RequestStatus::kOk;
    }
    if (!InBounds(sector, sectors, content.size() / kSectorBytes)) {
      return block::RequestStatus::kIoError;
    }
    std::span<std::byte> range =
        std::span(content).subspan(sector * kSectorBytes, sectors * kSectorBytes);
    if (operation == kDiscard || operation == kWriteZeroes) {
      std::ranges::fill(range, std::byte{0});
      return block::RequestStatus::kOk;
    }
    if (operation != kIn && operation != kOut) return block::RequestStatus::kUnsupported;
    for (const block::Segment& segment : one.segments) {
      const auto bytes = memory.Range(GuestPhys(segment.guest_physical), segment.bytes).value();
      if (bytes.size() > range.size()) return block::RequestStatus::kIoError;
      if (operation == kIn) {
        std::ranges::copy(range.first(bytes.size()), bytes.begin());
      } else {
        std::ranges::copy(bytes, range.begin());
      }
      range = range.subspan(bytes.size());
    }
    return range.empty() ? block::RequestStatus::kOk : block::RequestStatus::kIoError;
  }

  block::RequestRingDriver ring_;

 public:
  std::vector<std::byte> content;
  std::vector<std::byte> durable;
  std::vector<Served> served;
  uint32_t generation = 1;
};

// What exists besides the device: ring and driver. A base, so that it is there first.
struct DriverSide {
  // flags: what the driver said before the device came; none: it has said nothing yet.
  DriverSide(uint64_t sectors, std::optional<uint32_t> flags)
      : ring(block::kRingBytes), driver(ring.span(), sectors) {
    if (flags) driver.Announce(block::DiskState::kReady, *flags);
  }
  virtio::AlignedBytes ring;
  FakeDriver driver;
  CountingNotifier driver_signal;
  CountingNotifier failures;
};

class DriverMachine : public DriverSide, public BlockBase {
 public:
  explicit DriverMachine(uint64_t sectors = 4096, uint32_t queues = 1,
                         std::optional<uint32_t> flags = kAllFlags, bool read_only = false,
                         uint64_t ram_bytes = virtio::kRamBytes)
      : DriverSide(sectors, flags),
        BlockBase(
            [this, queues, read_only,
             executor = std::shared_ptr<DriverExecutor>()](BlockJournal& journal) mutable {
              executor = std::make_shared<DriverExecutor>(
                  *block::RequestRingClient::Attach(ring.span()), journal.device, read_only,
                  DriverExecutor::Ports{.driver = driver_signal, .failed = failures});
              return std::make_unique<BlockDevice>(*executor, journal, "physical", queues);
            },
            virtio::kRamBase, ram_bytes) {
    Signal();
  }

  // As the service does at its start, and whenever the driver signals.
  void Signal() { device().OnSignals(kDiskSignal); }
  virtio::JournalFound RestartService(const virtio::Beginning& beginning = {}) {
    const virtio::JournalFound found = Restart(beginning);
    Signal();
    return found;
  }
  // The driver does everything that is to be done, and the device takes it.
  void Settle() {
    for (int i = 0; i < 1000 && !driver.Submitted().empty(); ++i) {
      driver.ServeAll(memory());
      Signal();
      (void)Pump();
    }
  }

  BlockQueue Live(uint64_t features = kBlockFeatures, uint32_t size = 256) {
    return virtio::BringUp<BlockBase>(*this, features, size);
  }
  uint64_t Header(uint32_t type, uint64_t sector) {
    const uint64_t address = Allocate(sizeof(RequestHeader));
    Put(address, RequestHeader{type, 0, sector});
    return address;
  }
  // Makes a request available without notifying; returns where its status will be.
  uint64_t Add(BlockQueue& queue, uint32_t type, uint64_t sector, const std::vector<Buffer>& data,
               bool indirect = false) {
    std::vector<Buffer> chain = {{Header(type, sector), sizeof(RequestHeader), false}};
    chain.insert(chain.end(), data.begin(), data.end());
    const uint64_t status = Allocate(1, 1);
    Put(status, kNoStatus);
    chain.push_back({status, 1, true});
    indirect ? queue.AddIndirect(chain) : queue.Add(chain);
    return status;
  }
  uint8_t At1(uint64_t address) { return Get<uint8_t>(address); }
  // One request from its notification to its end.
  Outcome Request(BlockQueue& queue, uint32_t type, uint64_t sector,
                  const std::vector<Buffer>& data, bool indirect = false) {
    const uint64_t status = Add(queue, type, sector, data, indirect);
    queue.Notify();
    Settle();
    const auto element = queue.PopUsed();
    return {element.has_value(), At1(status), element ? element->length : 0};
  }
  bool Holds(uint64_t address, uint64_t sector, uint64_t bytes) {
    return std::memcmp(super().At(address, bytes), &driver.content[sector * kSectorBytes], bytes) ==
           0;
  }

 private:
  BlockBase& super() { return *this; }
};

}  // namespace atoll::virtio_blk

#endif  // ATOLL_TESTS_UNIT_VIRTIO_DRIVER_MACHINE_H_
