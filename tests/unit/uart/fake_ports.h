// The surroundings of a device model, as the tests see and move them.
#ifndef ATOLL_TESTS_UNIT_UART_FAKE_PORTS_H_
#define ATOLL_TESTS_UNIT_UART_FAKE_PORTS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "services/runtime/ports.h"

namespace atoll {

class FakeLine final : public InterruptLine {
 public:
  void Set(bool value) override {
    level = value;
    ++sets;
  }
  bool level = false;
  int sets = 0;
};

class FakeNotifier final : public Notifier {
 public:
  void Notify() override { ++count; }
  // How often since last asked.
  int Taken() {
    const int taken = count;
    count = 0;
    return taken;
  }
  int count = 0;
};

class FakeCounter final : public Counter {
 public:
  static constexpr uint64_t kFrequency = 62'500'000;  // that of QEMU
  uint64_t Ticks() const override { return ticks; }
  uint64_t TicksPerSecond() const override { return kFrequency; }
  uint64_t ticks = 1'000'000;
};

// Fires as the kernel's does: once, when the counter reaches the deadline.
class FakeTimer final : public DeadlineTimer {
 public:
  void Set(uint64_t deadline_ticks) override {
    deadline = deadline_ticks;
    ++sets;
  }
  bool Expire(uint64_t now) {
    if (now < deadline) return false;
    deadline = kNever;
    return true;
  }
  uint64_t deadline = kNever;
  int sets = 0;
};

// Memory with the alignment of a page.
template <size_t kBytes>
struct AlignedMemory {
  alignas(4096) std::byte bytes[kBytes]{};
  std::span<std::byte> span() { return bytes; }
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_UART_FAKE_PORTS_H_
