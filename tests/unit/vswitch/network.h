// A switch with its surroundings, and stations on its ports that send and receive through the rings.
#ifndef ATOLL_TESTS_UNIT_VSWITCH_NETWORK_H_
#define ATOLL_TESTS_UNIT_VSWITCH_NETWORK_H_

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/vswitch/switch.h"
#include "tests/unit/net/packets.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll::vswitch {

using net::Bytes;
using net::FrameHeader;

// Address number n; group: a multicast one.
inline MacAddress Mac(uint32_t n, bool group = false) {
  return (group ? 0x03u : 0x02u) | MacAddress{n & 0xff} << 40 | MacAddress{n >> 8 & 0xff} << 32 |
         MacAddress{n >> 16} << 24;
}
inline constexpr MacAddress kBroadcast = (MacAddress{1} << 48) - 1;

// A frame with a payload that starts with `tag`. vlan: 0 for none.
inline Bytes MakeFrame(MacAddress to, MacAddress from, uint32_t tag = 0, size_t bytes = 60,
                       uint16_t vlan = 0) {
  Bytes frame(bytes);
  for (size_t i = 0; i < 6; ++i) {
    frame[i] = static_cast<uint8_t>(to >> 8 * i);
    frame[6 + i] = static_cast<uint8_t>(from >> 8 * i);
  }
  net::Put(frame, 12, 2, vlan != 0 ? 0x8100 : 0x88b5);
  if (vlan != 0) net::Put(frame, 14, 4, uint32_t{vlan} << 16 | 0x88b5);
  if (bytes >= 24) net::Put(frame, 18, 4, tag);
  if (bytes > 24) std::memset(frame.data() + 24, static_cast<int>(tag & 0xff), bytes - 24);
  return frame;
}
inline uint32_t TagOf(const Bytes& frame) { return net::Get(frame, 18, 4); }

// What is on the other side of a port's rings.
class Station {
 public:
  Station() { Restart(); }

  std::span<std::byte> memory() { return memory_->span(); }
  FakeNotifier notifier;

  // Takes its places in the rings anew.
  void Restart() {
    writer_.emplace(*net::FrameWriter::Attach(memory().first(net::kRingBytes)));
    reader_.emplace(*net::FrameReader::Attach(memory().subspan(net::kRingBytes)));
  }

  // False: no room.
  bool Send(const Bytes& frame, FrameHeader header = {}) {
    const std::span<std::byte> room = writer_->Reserve(static_cast<uint32_t>(frame.size()));
    if (room.empty()) return false;
    std::memcpy(room.data(), frame.data(), frame.size());
    header.bytes = static_cast<uint32_t>(frame.size());
    writer_->Publish(header);
    return true;
  }

  std::optional<std::pair<FrameHeader, Bytes>> Receive() {
    const auto frame = reader_->Next();
    if (!frame.has_value()) return std::nullopt;
    std::pair result(frame->header, net::Copy(frame->bytes));
    reader_->Consume();
    return result;
  }
  std::vector<uint32_t> ReceiveTags() {
    std::vector<uint32_t> tags;
    while (const auto frame = Receive()) tags.push_back(TagOf(frame->second));
    return tags;
  }
  size_t Drain() { return ReceiveTags().size(); }

  // Where the switch reads next.
  uint32_t reader_index_of_switch() { return writer_->reader_index(); }

  net::FrameWriter& writer() { return *writer_; }
  net::FrameReader& reader() { return *reader_; }

 private:
  std::unique_ptr<AlignedMemory<net::kPortBytes>> memory_ =
      std::make_unique<AlignedMemory<net::kPortBytes>>();
  std::optional<net::FrameWriter> writer_;
  std::optional<net::FrameReader> reader_;
};

class Network : public SwitchLog {
 public:
  // Station i is on port i, with address Mac(i) pinned if `pin`.
  explicit Network(uint32_t stations, bool pin = false) : stations_(stations) {
    settings_.resize(stations);
    for (uint32_t i = 0; i < stations; ++i) {
      settings_[i].name = "port";
      if (pin) settings_[i].mac = Mac(i);
    }
  }
  virtual ~Network() = default;

  PortSettings& settings(uint32_t i) { return settings_[i]; }
  Station& operator[](uint32_t i) { return stations_[i]; }
  Switch& vswitch() { return *switch_; }
  const PortCounters& counters(uint32_t i) { return switch_->counters(i); }

  // A first or a next instance.
  void Start(bool blamed = false, bool failed = false) {
    switch_ = std::make_unique<Switch>(Switch::Surroundings{counter, timer, *this, quarantine});
    for (uint32_t i = 0; i < stations_.size(); ++i) {
      const Status status =
          switch_->AddPort(i, settings_[i], stations_[i].memory(), stations_[i].notifier);
      if (!IsOk(status)) std::abort();
    }
    failed ? switch_->Fail() : switch_->Start(blamed);
  }
  void Run() { Signal((uint64_t{1} << stations_.size()) - 1); }
  void RunPort(uint32_t i) { Signal(uint64_t{1} << i); }

  // Time goes on, and the timer fires if it is due.
  void Pass(uint64_t milliseconds) {
    counter.ticks += milliseconds * FakeCounter::kFrequency / 1000;
    if (timer.Expire(counter.ticks)) switch_->OnSignals(Switch::kTimerSignal);
  }

  // Every station says something, so that the switch knows where it is.
  void Introduce() {
    for (uint32_t i = 0; i < stations_.size(); ++i)
      stations_[i].Send(MakeFrame(kBroadcast, Mac(i)));
    Run();
    for (Station& station : stations_) station.Drain();
  }

  void RingMadeNoSense(std::string_view port) override { log.emplace_back(port); }

  void Quarantined(std::string_view port) override { log.emplace_back(port); }

  Quarantine<Switch::kPorts> quarantine = {};
  FakeCounter counter;
  FakeTimer timer;
  std::vector<std::string> log;

 private:
  // Until it has nothing to do now.
  void Signal(uint64_t bits) {
    switch_->OnSignals(bits);
    while (timer.deadline == 0 && timer.Expire(0)) switch_->OnSignals(Switch::kTimerSignal);
  }

  std::vector<Station> stations_;
  std::vector<PortSettings> settings_;
  std::unique_ptr<Switch> switch_;
};

}  // namespace atoll::vswitch

#endif  // ATOLL_TESTS_UNIT_VSWITCH_NETWORK_H_
