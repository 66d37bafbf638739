// A machine with one device of registers (services/runtime/register_device.h): for host tests and fuzz targets.
#ifndef ATOLL_TESTS_UNIT_DEVICE_REGISTER_MACHINE_H_
#define ATOLL_TESTS_UNIT_DEVICE_REGISTER_MACHINE_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "services/runtime/register_device.h"
#include "tests/unit/device/fakes.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {

template <typename D>
class RegisterMachine {
 public:
  using Make = std::function<std::unique_ptr<D>(const Surroundings&)>;

  // The device as the VM starts. `make`: of a device that takes more than its surroundings.
  RegisterMachine()
    requires std::is_constructible_v<D, const Surroundings&>
      : RegisterMachine([](const Surroundings& s) { return std::make_unique<D>(s); }) {}
  explicit RegisterMachine(Make make) : make_(std::move(make)) { Restart(); }

  // Ends the instance, as a kill would, and starts a new one on what it left.
  void Restart() {
    device_.reset();
    ports.timer.deadline = DeadlineTimer::kNever;
    device_ = make_(ports.Of(journal_.span()));
    device_->Start();
  }

  D& device() { return *device_; }
  std::span<std::byte> journal() { return journal_.span(); }

  // ---- what a guest does; every access is a call of its own
  uint64_t Load(uint64_t offset, uint32_t size) {
    return device_->Access({.offset = offset, .size = size, .write = false, .token = ++token_})
        .value();
  }
  void Store(uint64_t offset, uint32_t size, uint64_t value) {
    Deliver(offset, size, value, ++token_);
  }
  // By the names of the table; abort if there is no such register.
  uint32_t Read(std::string_view name) { return static_cast<uint32_t>(Load(OffsetOf(name), 4)); }
  void Write(std::string_view name, uint32_t value) { Store(OffsetOf(name), 4, value); }

  // Time passes; the timer fires when it is due.
  void Pass(uint64_t ticks) {
    const uint64_t end = ports.counter.ticks + ticks;
    while (ports.timer.deadline <= end) {
      ports.counter.ticks = std::max(ports.counter.ticks, ports.timer.deadline);
      ports.timer.deadline = DeadlineTimer::kNever;
      device_->OnSignals(FakeSurroundings::kTimerSignal);
    }
    ports.counter.ticks = end;
  }

  // The VM is paused, or goes on; the device is told, as the supervisor does it.
  void Pause() { device_->OnSignals(FakeSurroundings::kPauseSignal); }
  void Resume() { device_->OnSignals(FakeSurroundings::kResumeSignal); }

  // What a guest can see: all registers, and the line.
  std::vector<uint64_t> Seen() {
    std::vector<uint64_t> seen;
    for (const auto& entry : D::kRegisters.entries) seen.push_back(Load(entry.offset, 4));
    seen.push_back(ports.line.level ? 1 : 0);
    return seen;
  }

  // The store, with the instance killed after each of its stores to the journal in turn, and delivered again to the next
  // one. True: the guest never sees a difference to a store that nobody disturbs. `states`: how many there were.
  bool SurvivesDeathIn(std::string_view name, uint32_t value, size_t& states) {
    const uint64_t offset = OffsetOf(name), token = ++token_;
    MemoryStates steps({journal_.span()});
    if (!steps.Run([&] { Deliver(offset, 4, value, token); })) return false;
    const std::vector<uint64_t> expected = Seen();
    bool same = true;
    states = steps.size();
    for (size_t i = 0; i < steps.size(); ++i) {
      steps.Restore(i);
      Restart();
      Deliver(offset, 4, value, token);
      same = Seen() == expected && same;
    }
    return same;
  }

  FakeSurroundings ports;

 private:
  void Deliver(uint64_t offset, uint32_t size, uint64_t value, uint64_t token) {
    (void)device_->Access(
        {.offset = offset, .size = size, .write = true, .value = value, .token = token});
  }
  static uint64_t OffsetOf(std::string_view name) {
    for (const auto& entry : D::kRegisters.entries) {
      if (entry.name == name) return entry.offset;
    }
    std::abort();
  }

  Make make_;
  AlignedMemory<AlignUp(sizeof(typename D::Kept), kPageSize)> journal_;
  std::unique_ptr<D> device_;
  uint64_t token_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_DEVICE_REGISTER_MACHINE_H_
