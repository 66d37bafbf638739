// A PL031 between a guest (register accesses) and a machine with a counter and a timer.
#ifndef ATOLL_TESTS_UNIT_RTC_RTC_MACHINE_H_
#define ATOLL_TESTS_UNIT_RTC_RTC_MACHINE_H_

#include <algorithm>
#include <memory>

#include "services/pl031/pl031.h"
#include "services/pl031/registers.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {

inline constexpr uint32_t kUtc = 1'700'000'000;
inline constexpr uint64_t kSecond = FakeCounter::kFrequency;

struct RtcMachine {
  RtcMachine() { Boot(); }

  // A new instance of the service on the same journal; `utc` is what the machine's clock says by
  // then.
  void Boot(uint32_t utc = kUtc) {
    Pl031State state;
    found = LoadPl031State(*copies(), state);
    if (found == Copies::kFresh || found == Copies::kLost) {
      state = NewPl031State({.ticks = counter.ticks, .seconds = utc});
    }
    timer.deadline = DeadlineTimer::kNever;
    device = std::make_unique<Pl031>(Pl031::Ports{line, timer, counter}, *copies(), state);
    device->Start();
  }

  uint64_t Load(uint64_t offset, uint32_t size = 4) {
    return *device->Access({.offset = offset, .size = size, .write = false, .value = 0});
  }
  void Store(uint64_t offset, uint64_t value, uint32_t size = 4) {
    (void)*device->Access({.offset = offset, .size = size, .write = true, .value = value});
  }
  // One access as the kernel delivers it, perhaps not for the first time.
  void Write(pl031::Register index, uint64_t value, uint64_t token) {
    (void)*device->Access({.offset = pl031::kTable.offset(index),
                           .size = 4,
                           .write = true,
                           .value = value,
                           .token = token});
  }
  uint32_t Read(pl031::Register index) {
    return static_cast<uint32_t>(Load(pl031::kTable.offset(index)));
  }
  void Write(pl031::Register index, uint64_t value) { Store(pl031::kTable.offset(index), value); }

  // Time goes on and only the timer wakes the service, as for a guest in WFI.
  void Pass(uint64_t ticks) {
    const uint64_t end = counter.ticks + ticks;
    while (timer.deadline <= end) {
      counter.ticks = std::max(counter.ticks, timer.deadline);
      if (timer.Expire(counter.ticks)) device->OnSignals(Pl031::kTimerSignal);
    }
    counter.ticks = end;
  }

  Pl031Journal* copies() { return reinterpret_cast<Pl031Journal*>(journal.bytes); }
  Pl031State Stored() {
    Pl031State state;
    LoadPl031State(*copies(), state);
    return state;
  }

  AlignedMemory<4096> journal;
  FakeLine line;
  FakeTimer timer;
  FakeCounter counter;
  Copies found = Copies::kFresh;
  std::unique_ptr<Pl031> device;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_RTC_RTC_MACHINE_H_
