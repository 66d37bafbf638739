// A virtio device as its driver meets it: registers of virtio-mmio and the device's side of split
// queues in physical memory, honest unless told otherwise.
#ifndef ATOLL_TESTS_UNIT_DRIVERS_FAKE_DEVICE_H_
#define ATOLL_TESTS_UNIT_DRIVERS_FAKE_DEVICE_H_

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "services/runtime/ports.h"
#include "services/virtio/specification.h"
#include "services/virtio_driver/dma.h"
#include "services/virtio_driver/event_log.h"
#include "services/virtio_driver/transport.h"

namespace atoll::virtio_driver {

inline constexpr uint64_t kPhysicalBase = 0x8000'0000;

// The machine's physical memory. What lies outside, or is not granted, a device must not be told of.
class PhysicalMemory {
 public:
  explicit PhysicalMemory(size_t bytes) : storage_(bytes + kPageSize), bytes_(bytes) {}

  std::span<std::byte> all() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return {storage_.data() + (AlignUp(address, kPageSize) - address), bytes_};
  }
  DmaMemory Dma(size_t offset, size_t bytes) {
    return {all().subspan(offset, bytes), PhysAddr(kPhysicalBase + offset)};
  }
  bool Has(uint64_t physical, uint64_t bytes) const {
    return physical >= kPhysicalBase && InBounds(physical - kPhysicalBase, bytes, bytes_);
  }
  std::byte* At(uint64_t physical) { return all().data() + (physical - kPhysicalBase); }

 private:
  std::vector<std::byte> storage_;
  size_t bytes_;
};

class FakeDevice : public DevicePort {
 public:
  struct Part {
    uint64_t physical = 0;
    uint32_t bytes = 0;
    bool writable = false;
  };
  struct Chain {
    uint16_t head = 0;
    std::vector<Part> parts;
  };

  FakeDevice(PhysicalMemory& memory, uint32_t id, uint64_t features)
      : device_id(id), offered(features), memory_(memory) {}

  // ---- registers
  uint32_t Read(uint32_t offset) override {
    ++reads;
    switch (offset) {
      case virtio::kMagicValue: return gone ? ~0u : magic;
      case virtio::kVersion: return version;
      case virtio::kDeviceId: return device_id;
      case virtio::kDeviceFeatures:
        return static_cast<uint32_t>(offered >> (device_sel_ == 1 ? 32 : 0));
      case virtio::kQueueNumMax: return queue_max;
      case virtio::kQueueReady: return selected().ready;
      case virtio::kInterruptStatus:
        if (!late_causes.empty()) {  // comes up while another one is acknowledged
          interrupt_status |= late_causes.front();
          late_causes.pop_front();
        }
        return stuck_interrupt ? 1 : interrupt_status;
      case virtio::kStatus: return gone ? ~0u : status;
      case virtio::kConfigGeneration: return flutter ? ++generation : generation;
      default: break;
    }
    if (offset < virtio::kConfig) return 0;
    uint32_t word = 0;
    for (uint32_t i = 0; i < 4; ++i) word |= uint32_t{ReadByte(offset + i)} << (8 * i);
    return word;
  }
  uint8_t ReadByte(uint32_t offset) override {
    const uint32_t at = offset - virtio::kConfig;
    return at < config.size() ? std::to_integer<uint8_t>(config[at]) : 0;
  }
  void Write(uint32_t offset, uint32_t value) override {
    switch (offset) {
      case virtio::kDeviceFeaturesSel: device_sel_ = value; break;
      case virtio::kDriverFeaturesSel: driver_sel_ = value; break;
      case virtio::kDriverFeatures: {
        const int shift = driver_sel_ == 1 ? 32 : 0;
        accepted = (accepted & ~(uint64_t{~0u} << shift)) | (uint64_t{value} << shift);
        break;
      }
      case virtio::kQueueSel: queue_sel_ = value; break;
      case virtio::kQueueNum: selected().size = value; break;
      case virtio::kQueueReady: selected().ready = refuse_queue ? 0 : value; break;
      case virtio::kQueueNotify:
        ++notified;
        OnNotify(value);
        break;
      case virtio::kInterruptAck:
        interrupt_status &= ~value;
        if (interrupt_status == 0) line_seen_high_ = false;
        break;
      case virtio::kStatus: WriteStatus(value); break;
      case virtio::kQueueDescLow: selected().descriptors = value; break;
      case virtio::kQueueDriverLow: selected().avail = value; break;
      case virtio::kQueueDeviceLow: selected().used = value; break;
      default: break;  // the high halves are 0 here
    }
  }

  bool live() const { return (status & virtio::kStatusDriverOk) != 0; }
  bool event_idx() const { return (accepted & virtio::kFeatureEventIdx) != 0; }

  // ---- the device's side of a queue
  std::optional<Chain> Take(uint32_t index) {
    Ring& ring = queues_[index];
    if (!live() || ring.ready == 0) return std::nullopt;
    const auto avail_index = Get<uint16_t>(ring.avail + 2);
    if (avail_index == ring.next) return std::nullopt;
    const auto head = Get<uint16_t>(ring.avail + 4 + 2 * (ring.next % ring.size));
    ++ring.next;
    if (event_idx()) Put<uint16_t>(ring.used + 4 + 8 * ring.size, ring.next);  // avail_event
    return Parse(ring, head);
  }
  // Gives a chain back, and interrupts if the driver wants that.
  void Give(uint32_t index, uint32_t id, uint32_t written) {
    Ring& ring = queues_[index];
    if (!live() || ring.ready == 0) return;
    const uint16_t before = ring.used_index;
    Put(ring.used + 4 + 8 * (ring.used_index % ring.size), virtio::UsedElement{id, written});
    SetUsedIndex(index, static_cast<uint16_t>(before + 1));
    const bool wanted = event_idx() ? Get<uint16_t>(ring.avail + 4 + 2 * ring.size) == before
                                    : (Get<uint16_t>(ring.avail) & virtio::kAvailNoInterrupt) == 0;
    if (wanted) interrupt_status |= virtio::kInterruptUsedBuffer;
  }
  void SetUsedIndex(uint32_t index, uint16_t value) {
    queues_[index].used_index = value;
    Put<uint16_t>(queues_[index].used + 2, value);
  }
  uint32_t queue_size(uint32_t index) { return queues_[index].size; }
  // Fills what the driver gave as rings with nonsense.
  void Scribble(uint32_t index, uint8_t value) {
    Ring& ring = queues_[index];
    std::memset(memory_.At(ring.descriptors), value, 16 * ring.size);
    std::memset(memory_.At(ring.avail), value, 6 + 2 * ring.size);
    std::memset(memory_.At(ring.used), value, 6 + 8 * ring.size);
  }

  // Whether the interrupt line has risen since the last time: an edge, so a driver that leaves it
  // high hears no more.
  bool TakeEdge() {
    const bool high = interrupt_status != 0;
    const bool rose = high && !line_seen_high_;
    line_seen_high_ = high;
    return rose;
  }

  template <typename T>
  T Get(uint64_t physical) {
    T value{};
    if (Reachable(physical, sizeof(T))) std::memcpy(&value, memory_.At(physical), sizeof(T));
    return value;
  }
  template <typename T>
  void Put(uint64_t physical, const T& value) {
    if (Reachable(physical, sizeof(T))) std::memcpy(memory_.At(physical), &value, sizeof(T));
  }

  // ---- how it behaves
  std::function<bool(uint64_t physical, uint64_t bytes)> granted;  // none: all memory is
  uint32_t magic = virtio::kMagic;
  uint32_t version = virtio::kMmioVersion;
  uint32_t device_id;
  uint64_t offered;
  uint32_t queue_max = 256;
  bool never_resets = false;
  bool refuse_features = false;
  bool refuse_queue = false;
  bool stuck_interrupt = false;
  bool flutter = false;  // ConfigGeneration changes at each read
  bool gone = false;     // all registers read as ones
  std::vector<std::byte> config;
  std::deque<uint32_t> late_causes;

  // ---- what came of it
  uint32_t status = 0;
  uint64_t accepted = 0;
  uint32_t interrupt_status = 0;
  uint32_t generation = 0;
  int resets = 0;
  int notified = 0;
  int reads = 0;
  int bad_addresses = 0;  // that the driver told the device

 protected:
  virtual void OnNotify(uint32_t queue) {}
  virtual void OnReset() {}

  bool Reachable(uint64_t physical, uint64_t bytes) {
    if (memory_.Has(physical, bytes) && (!granted || granted(physical, bytes))) return true;
    ++bad_addresses;
    return false;
  }

  PhysicalMemory& memory_;

 private:
  struct Ring {
    uint32_t size = 0;
    uint32_t ready = 0;
    uint64_t descriptors = 0;
    uint64_t avail = 0;
    uint64_t used = 0;
    uint16_t next = 0;
    uint16_t used_index = 0;
  };

  Ring& selected() { return queues_[queue_sel_ % queues_.size()]; }

  void WriteStatus(uint32_t value) {
    if (value != 0) {
      if (refuse_features) value &= ~virtio::kStatusFeaturesOk;
      status = value;
      return;
    }
    if (never_resets) return;
    ++resets;
    status = 0;
    accepted = 0;
    interrupt_status = 0;
    line_seen_high_ = false;
    queues_ = {};
    OnReset();
  }

  Chain Parse(const Ring& ring, uint16_t head) {
    Chain chain{.head = head, .parts = {}};
    uint64_t table = ring.descriptors;
    uint64_t index = head;
    for (int steps = 0; steps < 1024; ++steps) {
      const auto descriptor = Get<virtio::Descriptor>(table + 16 * index);
      if ((descriptor.flags & virtio::kDescriptorIndirect) != 0) {
        table = descriptor.address;
        index = 0;
        continue;
      }
      (void)Reachable(descriptor.address, descriptor.length);
      chain.parts.push_back({descriptor.address, descriptor.length,
                             (descriptor.flags & virtio::kDescriptorWrite) != 0});
      if ((descriptor.flags & virtio::kDescriptorNext) == 0) return chain;
      index = descriptor.next;
    }
    return chain;
  }

  std::array<Ring, 6> queues_ = {};
  uint32_t device_sel_ = 0;
  uint32_t driver_sel_ = 0;
  uint32_t queue_sel_ = 0;
  bool line_seen_high_ = false;
};

class FakeLog final : public EventLog {
 public:
  void Line(std::string_view text) override { lines.emplace_back(text); }
  std::vector<std::string> lines;
};

}  // namespace atoll::virtio_driver

#endif  // ATOLL_TESTS_UNIT_DRIVERS_FAKE_DEVICE_H_
