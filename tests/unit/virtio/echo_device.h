// The simplest device model: copies a chain's readable bytes to its writable ones, as far as they
// fit.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_ECHO_DEVICE_H_
#define ATOLL_TESTS_UNIT_VIRTIO_ECHO_DEVICE_H_

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "services/virtio/device_model.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio {

inline constexpr uint64_t kAllFeatures = kFeatureVersion1 | kFeatureIndirectDesc | kFeatureEventIdx;
inline constexpr uint64_t kFeatureA = 1;  // of the echo device
inline constexpr uint64_t kFeatureB = 2;  // needs A
inline constexpr uint32_t kEchoId = 42;
inline constexpr uint32_t kModeOffset = 12;  // its one writable configuration field, a byte
inline constexpr uint8_t kDefaultMode = 7;
inline constexpr uint32_t kEchoQueueMax = 64;

inline constexpr uint32_t kEchoQueues = 2;

struct EchoState {
  std::array<HeldChain, kEchoQueues> held;  // the chain in hand of each queue
  std::array<std::byte, 16> config;
};

class EchoDevice final : public DeviceModel {
 public:
  explicit EchoDevice(EchoState& state) : config(state.config), held_(state.held) {}

  Description Describe() const override {
    static constexpr uint32_t kSizes[] = {kEchoQueueMax, 8};
    return {kEchoId, kAllFeatures | kFeatureA | kFeatureB, kSizes};
  }
  std::span<const std::byte> Config() const override { return config; }
  bool AcceptsFeatures(uint64_t features) const override {
    return (features & kFeatureB) == 0 || (features & kFeatureA) != 0;
  }
  void WriteConfig(uint64_t offset, std::span<const std::byte> bytes, uint64_t) override {
    if (offset == kModeOffset && bytes.size() == 1) config[kModeOffset] = bytes[0];
  }
  void Reset() override {
    for (size_t i = 0; i < config.size(); ++i) config[i] = static_cast<std::byte>(0x10 + i);
    config[kModeOffset] = std::byte{kDefaultMode};
    for (HeldChain& held : held_) SplitQueue::Release(held);
  }
  bool RecoverQueue(uint32_t index, SplitQueue& queue, uint64_t features, bool blamed) override {
    const auto found = queue.Recover(held_[index]);
    if (found == SplitQueue::Recovered::kPushed) {
      queue.Publish();
      SplitQueue::Release(held_[index]);
    }
    return found != SplitQueue::Recovered::kBroken;
  }
  bool StopQueue(uint32_t index) override {
    SplitQueue::Release(held_[index]);
    return true;
  }
  Work ProcessQueue(uint32_t index, SplitQueue& queue, uint64_t features) override {
    if (before_processing) before_processing();
    ++passes;
    HeldChain& held = held_[index];
    queue.SuppressNotifications();
    for (uint32_t i = 0; i < share; ++i) {
      if (IsFree(held)) {
        const auto fetched = queue.Fetch(held.chain);
        if (fetched == SplitQueue::Fetched::kBroken) return Work::kBroken;
        if (fetched == SplitQueue::Fetched::kNone) {
          if (before_resume) before_resume();
          if (queue.ResumeNotifications()) continue;
          return Work::kDone;
        }
        queue.Hold(held, index);
      }
      if (after_accept) after_accept();
      const Chain chain = queue.chain(held.chain);
      // No allocation: the instance may be killed here.
      const auto copy = std::span(scratch).first(
          std::min<uint64_t>({chain.readable_bytes(), chain.writable_bytes(), scratch.size()}));
      if (!chain.reachable() || !IsOk(chain.CopyFromReadable(0, copy)) ||
          !IsOk(chain.CopyToWritable(0, copy))) {
        return Work::kBroken;
      }
      ++executed;
      queue.Push(held, static_cast<uint32_t>(copy.size()));
      queue.Publish();
      SplitQueue::Release(held);
    }
    return Work::kMore;
  }

  std::array<std::byte, 16>& config;
  std::array<std::byte, 4096> scratch;
  uint32_t share = 1000;
  int passes = 0;
  int executed = 0;
  std::function<void()> before_processing;
  std::function<void()> before_resume;
  std::function<void()> after_accept;

 private:
  std::array<HeldChain, kEchoQueues>& held_;
};

using EchoBase = Machine<EchoDevice, EchoState, kEchoQueues>;
using EchoJournal = EchoBase::JournalType;

class EchoMachine : public EchoBase {
 public:
  explicit EchoMachine(uint64_t ram_base = kRamBase, uint64_t ram_bytes = kRamBytes)
      : Machine([](EchoJournal& journal) { return std::make_unique<EchoDevice>(journal.device); },
                ram_base, ram_bytes) {}
};
using EchoQueue = DriverQueue<EchoBase>;

// A request of `bytes` to be echoed and the place of its answer.
struct Exchange {
  uint64_t out;
  uint64_t in;
  uint32_t bytes;
  std::vector<Buffer> buffers() const { return {{out, bytes, false}, {in, bytes, true}}; }
};
inline Exchange MakeExchange(EchoMachine& m, uint32_t bytes = 32) {
  Exchange exchange{m.Allocate(bytes), m.Allocate(bytes), bytes};
  static uint8_t seed = 1;
  m.Fill(exchange.out, bytes, ++seed == 0 ? ++seed : seed);
  return exchange;
}
inline bool Echoed(EchoMachine& m, const Exchange& exchange) {
  return std::memcmp(m.At(exchange.out, exchange.bytes), m.At(exchange.in, exchange.bytes),
                     exchange.bytes) == 0;
}
// One exchange through a live queue: the device is usable.
inline bool Works(EchoMachine& m, EchoQueue& queue) {
  const Exchange exchange = MakeExchange(m);
  queue.Add(exchange.buffers());
  queue.Notify();
  if (!m.Pump()) return false;
  const auto element = queue.PopUsed();
  return element && element->length == exchange.bytes && Echoed(m, exchange) && !queue.PopUsed();
}
inline bool WorksAfterReset(EchoMachine& m) {
  EchoQueue queue = BringUp<EchoBase>(m, kAllFeatures);
  return Works(m, queue);
}
inline EchoQueue Live(EchoMachine& m, uint64_t features = kAllFeatures, uint32_t size = 16) {
  return BringUp<EchoBase>(m, features, size);
}

}  // namespace atoll::virtio

#endif  // ATOLL_TESTS_UNIT_VIRTIO_ECHO_DEVICE_H_
