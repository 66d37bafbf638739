// What devices of the library are made in, for host tests and fuzz targets: ports that the test sees and moves.
#ifndef ATOLL_TESTS_UNIT_DEVICE_FAKES_H_
#define ATOLL_TESTS_UNIT_DEVICE_FAKES_H_

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "services/runtime/surroundings.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {

// Remembers whom the device signalled; memory that it shares with peers is there, zeroed, from its first use on.
class FakePeers final : public Peers {
 public:
  void Signal(abi::SignalHandle peer) override { ++signalled[peer.slot]; }
  std::span<std::byte> Memory(VirtAddr address, size_t bytes) override {
    auto& memory = memories_[address.value];
    if (memory.size() < bytes / sizeof(uint64_t) + kPageWords) {
      memory.resize(bytes / sizeof(uint64_t) + kPageWords);
    }
    const auto at = reinterpret_cast<uintptr_t>(memory.data());
    return {reinterpret_cast<std::byte*>(AlignUp(at, kPageSize)), bytes};
  }

  std::map<uint32_t, int> signalled;  // by the handle's slot: how often

 private:
  static constexpr size_t kPageWords = kPageSize / sizeof(uint64_t);
  std::map<uint64_t, std::vector<uint64_t>> memories_;
};

// The configuration that every service of a VM gets. The seed is always the same.
inline StartConfig FakeStartConfig(uint64_t ram_base, uint64_t ram_bytes) {
  StartConfig config{};
  config.ram_base = ram_base;
  config.ram_bytes = ram_bytes;
  config.vcpus = 1;
  for (size_t i = 0; i < sizeof(config.seed); ++i)
    config.seed[i] = static_cast<pb_byte_t>(i * 7 + 1);
  return config;
}

// Counts what was asked for.
class FakeVmPower final : public VmPower {
 public:
  void Reset() override { ++resets; }
  int resets = 0;
};

// Ports of one VM's device; instances of the service come and go in them.
struct FakeSurroundings {
  static constexpr uint64_t kTimerSignal = uint64_t{1} << 63;
  static constexpr uint64_t kPauseSignal = uint64_t{1} << 61;
  static constexpr uint64_t kResumeSignal = uint64_t{1} << 60;

  Surroundings Of(std::span<std::byte> journal) {
    return {.journal = journal,
            .line = line,
            .timer = timer,
            .timer_signal = kTimerSignal,
            .counter = counter,
            .peers = peers,
            .vm = vm,
            .start = start,
            .pause_signal = kPauseSignal,
            .resume_signal = kResumeSignal};
  }

  atoll::FakeLine line;
  FakeTimer timer;
  FakeCounter counter;
  FakePeers peers;
  FakeVmPower vm;
  StartConfig start = FakeStartConfig(0x4000'0000, 8 << 20);
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_DEVICE_FAKES_H_
