// Named ports of consoles, connected in pairs: what the driver at one end writes, the driver at the other end reads.
//
// A byte is copied from the ring in which one device put it into the ring from which the other takes it. Before a run of
// bytes is copied the journal says from where to where; so a successor knows how many of them are through. A ring that is full
// makes its writer wait, a driver in the end. Nobody loses a byte, but one that scribbles over its own rings.
//
// An end is shown as open as long as the other driver has it open, or has left bytes on their way.
#ifndef ATOLL_SERVICES_PORT_SWITCH_PORT_SWITCH_H_
#define ATOLL_SERVICES_PORT_SWITCH_PORT_SWITCH_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "services/port-switch/port_memory.h"
#include "services/runtime/check_word.h"
#include "services/runtime/journal.h"
#include "services/runtime/ports.h"
#include "services/runtime/statistics.h"

namespace atoll::port_switch {

inline constexpr uint32_t kDevices = 8;
inline constexpr uint32_t kEnds = kDevices * kPorts;

// The last run of bytes that was copied, or is being copied.
struct SwitchJournal {
  uint64_t places =
      0;  // index of the ring that was read | index of the one that was written << 32, before it
  uint64_t end = 0;  // whose ring is read, with a check of both words
};

class PortSwitch {
 public:
  struct Device {
    std::span<std::byte> memory;  // port_memory.h; empty: there is none
    Notifier* notifier = nullptr;
  };

  // What `devices` names and the journal outlive the switch.
  PortSwitch(std::span<const Device> devices, SwitchJournal& journal) : journal_(journal) {
    for (uint32_t device = 0; device < std::min<size_t>(devices.size(), kDevices); ++device) {
      devices_[device] = devices[device];
      for (uint32_t port = 0; port < kPorts && devices[device].memory.size() >= kMemoryBytes;
           ++port) {
        const Result<ConsoleLine> line = ConsoleLine::Attach(RingsOf(devices[device].memory, port));
        if (line.has_value()) ends_[device * kPorts + port].emplace(*line);
      }
    }
    NameCounter(0, "bytes");
    NameCounter(1, "finished");
    Recover();
  }

  // False: one of them is not there, or is connected already. Before Run.
  bool Connect(uint32_t one, uint32_t other) {
    if (one >= kEnds || other >= kEnds || !ends_[one] || !ends_[other] || ends_[one]->other ||
        ends_[other]->other) {
      return false;
    }
    ends_[one]->other = other;
    ends_[other]->other = one;
    return true;
  }

  // Moves what there is, a share of it at most. True: there is more.
  bool Run() {
    std::array<bool, kDevices> notify = {};
    bool more = false;
    for (uint32_t end = 0; end < kEnds; ++end) {
      if (!ends_[end].has_value() || !ends_[end]->other.has_value()) continue;
      const uint32_t other = *ends_[end]->other;
      size_t moved = 0;
      while (moved < kShare) {
        const size_t count = Move(end, other);
        if (count == 0) break;
        moved += count;
      }
      more = more || moved >= kShare;
      const bool open = IsOpen(end) || ends_[end]->line.output.Available() != 0;
      const bool news = PortStates::Set(StateOf(other).switch_open[other % kPorts], open);
      // The reader has bytes, the writer has room.
      if (moved != 0 || news) notify[other / kPorts] = true;
      if (moved != 0) notify[end / kPorts] = true;
    }
    for (uint32_t device = 0; device < kDevices; ++device) {
      if (notify[device] && devices_[device].notifier != nullptr)
        devices_[device].notifier->Notify();
    }
    return more;
  }

  // Failed mode: nobody is at the other end of anything.
  void CloseAll() {
    for (const Device& device : devices_) {
      for (uint32_t port = 0; port < kPorts && device.memory.size() >= kMemoryBytes; ++port) {
        (void)PortStates::Set(StatesIn(device.memory).switch_open[port], false);
      }
    }
    NotifyAll();
  }

  // Whatever happened while nobody was there: all devices look at their ends.
  void NotifyAll() {
    for (const Device& device : devices_) {
      if (device.notifier != nullptr) device.notifier->Notify();
    }
  }

 private:
  static constexpr size_t kRun = 1024;       // bytes copied at once
  static constexpr size_t kShare = 8 << 10;  // of one end in one turn

  struct End {
    explicit End(const ConsoleLine& rings) : line(rings) {}
    ConsoleLine line;
    std::optional<uint32_t> other;
  };

  PortStates& StateOf(uint32_t end) { return StatesIn(devices_[end / kPorts].memory); }
  bool IsOpen(uint32_t end) { return PortStates::Is(StateOf(end).device_open[end % kPorts]); }

  // Copies a run of bytes; how many.
  size_t Move(uint32_t from, uint32_t to) {
    ByteRingReader& source = ends_[from]->line.output;
    ByteRingWriter& target = ends_[to]->line.input;
    std::array<std::byte, kRun> bytes;
    const size_t count = source.Peek(std::span(bytes).first(std::min(bytes.size(), target.Free())));
    if (count == 0) return 0;
    const uint64_t places = source.position() | uint64_t{target.position()} << 32;
    StoreRelease(journal_.places, places);
    StoreRelease(journal_.end, Sealed(from, to, places));
    target.Write(std::span(bytes).first(count));
    source.Consume(count);
    Count(0, count);
    return count;
  }

  static uint64_t Sealed(uint32_t from, uint32_t to, uint64_t places) {
    const uint64_t ends = from | to << 16;
    CheckWord check;
    check.Add(ends);
    check.Add(places);
    return ends | uint64_t{check.value()} << 32;
  }

  // Takes the bytes out of the ring that are in the other one already. A note that is half written, or damaged, is of no
  // run that began.
  void Recover() {
    const uint64_t places = journal_.places;
    const auto from = static_cast<uint32_t>(journal_.end & 0xffff);
    const auto to = static_cast<uint32_t>(journal_.end >> 16 & 0xffff);
    if (journal_.end != Sealed(from, to, places) || from >= kEnds || to >= kEnds || !ends_[from] ||
        !ends_[to]) {
      return;
    }
    ByteRingReader& source = ends_[from]->line.output;
    const uint32_t taken = source.position() - static_cast<uint32_t>(places);
    const uint32_t put = ends_[to]->line.input.position() - static_cast<uint32_t>(places >> 32);
    if (put > kRun || taken >= put) return;
    source.Consume(put - taken);
    Count(1);
  }

  SwitchJournal& journal_;
  std::array<Device, kDevices> devices_ = {};
  std::array<std::optional<End>, kEnds> ends_;
};

}  // namespace atoll::port_switch

#endif  // ATOLL_SERVICES_PORT_SWITCH_PORT_SWITCH_H_
