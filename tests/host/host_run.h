// Any device of the library in a process of this computer, under the sanitizers: what scripts/host-run starts.
#ifndef ATOLL_TESTS_HOST_HOST_RUN_H_
#define ATOLL_TESTS_HOST_HOST_RUN_H_

#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <type_traits>

#include "tests/host/guest_script.h"
#include "tests/unit/device/register_machine.h"
#include "tests/unit/device/virtio_machine.h"

namespace atoll {

// With a configuration of defaults, if it has one.
template <typename D, typename Manifest>
std::unique_ptr<D> MakeHostDevice(const Surroundings& surroundings) {
  if constexpr (requires { typename Manifest::Config; }) {
    return std::make_unique<D>(surroundings, typename Manifest::Config{});
  } else {
    return std::make_unique<D>(surroundings);
  }
}

template <typename D, typename Manifest>
class RegisterHost final : public HostMachine {
 public:
  uint64_t Load(uint64_t offset, uint32_t size) override { return m_.Load(offset, size); }
  void Store(uint64_t offset, uint32_t size, uint64_t value) override {
    m_.Store(offset, size, value);
  }
  std::optional<uint64_t> OffsetOf(const std::string& name) override {
    for (const auto& entry : D::kRegisters.entries) {
      if (name == entry.name) return entry.offset;
    }
    return std::nullopt;
  }
  void Pass(uint64_t ticks) override { m_.Pass(ticks); }
  void Signal(uint64_t bits) override { m_.device().OnSignals(bits); }
  void Restart() override { m_.Restart(); }
  bool Line() override { return m_.ports.line.level; }

 private:
  RegisterMachine<D> m_{MakeHostDevice<D, Manifest>};
};

template <typename D, typename Manifest>
class VirtioHost final : public HostMachine {
  using Machine = virtio::DeviceMachine<D>;

 public:
  uint64_t Load(uint64_t offset, uint32_t size) override { return m_.Load(offset, size); }
  void Store(uint64_t offset, uint32_t size, uint64_t value) override {
    m_.Store(offset, size, value);
    Pump();
  }
  std::optional<uint64_t> OffsetOf(const std::string&) override { return std::nullopt; }
  void Pass(uint64_t ticks) override { m_.ports.counter.ticks += ticks; }
  void Signal(uint64_t bits) override {
    m_.device().OnSignals(bits);
    Pump();
  }
  void Restart() override {
    m_.Restart();
    Pump();
  }
  bool Line() override { return m_.line.high; }
  void Driver() override {
    if (!virtio::Negotiate(m_, m_.Offered())) {
      throw std::runtime_error("the device refuses the features that it offers");
    }
    queues_.clear();
    for (uint32_t i = 0; i < D::kQueues; ++i) {
      m_.Write(virtio::kQueueSel, i);
      const uint32_t most = m_.Read(virtio::kQueueNumMax);
      queues_.emplace_back(Queue(m_, i, std::min<uint32_t>(most, 16)));
      queues_.back().driver.SetUp();
    }
    m_.Write(virtio::kStatus, virtio::kLive);
  }
  void Send(uint32_t queue, const std::string& bytes, uint32_t room) override {
    Queue& q = Find(queue);
    std::vector<virtio::Buffer> chain;
    if (!bytes.empty()) {
      chain.push_back({m_.Allocate(bytes.size()), static_cast<uint32_t>(bytes.size()), false});
      std::memcpy(m_.At(chain[0].address, bytes.size()), bytes.data(), bytes.size());
    }
    if (room != 0) chain.push_back({m_.Allocate(room), room, true});
    if (chain.empty()) throw std::runtime_error("has neither bytes nor room");
    const uint16_t head = q.driver.WriteChain(chain);
    q.room[head] = chain.back();
    q.driver.MakeAvailable(head);
    m_.Doorbell(queue);
    Pump();
  }
  std::string Used(uint32_t queue) override {
    Queue& q = Find(queue);
    const auto element = q.driver.PopUsed();
    if (!element.has_value()) throw std::runtime_error("nothing was given back");
    const virtio::Buffer& room = q.room[static_cast<uint16_t>(element->id)];
    if (!room.writable) return "";
    const uint32_t bytes = std::min(element->length, room.length);
    return {reinterpret_cast<const char*>(m_.At(room.address, bytes)), bytes};
  }

 private:
  struct Queue {
    Queue(Machine& m, uint32_t index, uint32_t size) : driver(m, index, size) {}
    typename Machine::Queue driver;
    std::map<uint16_t, virtio::Buffer> room;  // by the chain's head
  };

  Queue& Find(uint32_t index) {
    if (index >= queues_.size()) throw std::runtime_error("no such queue, or no `driver` before");
    return queues_[index];
  }
  void Pump() {
    if (!m_.Pump()) throw std::runtime_error("the device comes to no end");
  }

  Machine m_{MakeHostDevice<D, Manifest>};
  std::deque<Queue> queues_;
};

template <typename D, typename Manifest>
int HostRun(int argc, char** argv) {
  using Host = std::conditional_t<std::is_base_of_v<virtio::DeviceModel, D>,
                                  VirtioHost<D, Manifest>, RegisterHost<D, Manifest>>;
  Host host;
  GuestScript script(host);
  if (argc < 2) return script.Run(std::cin, "input") ? 0 : 1;
  std::ifstream file(argv[1]);
  if (!file) {
    std::printf("%s: cannot be read\n", argv[1]);
    return 2;
  }
  return script.Run(file, argv[1]) ? 0 : 1;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_HOST_HOST_RUN_H_
