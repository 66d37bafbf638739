// A guest's real-time clock: Arm PL031 (DDI0224), device tree node "arm,pl031".
//
// It counts seconds of the system counter from an origin given once per start of the VM. Choices
// that the specification leaves open:
//   - the clock runs from the start with the machine's UTC time and the VM's offset; RTCCR reads 1;
//   - RTCLR takes effect at once and keeps the phase of the second;
//   - what RTCLR set survives a restart of the service, not a reset of the VM;
//   - narrow stores are zero-extended.
//
// A clock that is wrong is noticed by nobody. So no answer comes from what only this instance has: the state is compared
// with the journal's before each use, and the count that is kept for a second has a check.
#ifndef ATOLL_SERVICES_PL031_PL031_H_
#define ATOLL_SERVICES_PL031_PL031_H_

#include <cstddef>
#include <cstdint>

#include "services/pl031/state.h"
#include "services/runtime/device.h"
#include "services/runtime/ports.h"

namespace atoll {

class Pl031 final : public MmioDevice {
 public:
  // Signal bit for OnSignals; main.cc asserts that the manifest agrees.
  static constexpr uint64_t kTimerSignal = 1u << 0;

  struct Ports {
    InterruptLine& line;
    DeadlineTimer& timer;
    const Counter& counter;
  };

  // `journal` outlives the instance; `state` is what it holds, or what it is to hold from Start on.
  Pl031(const Ports& ports, Pl031Journal& journal, const Pl031State& state)
      : ports_(ports), journal_(journal), state_(state) {}

  // Brings the surroundings in line with the state: raises an alarm that fell due while no instance
  // ran.
  void Start();

  Result<uint64_t> Access(const RegisterAccess& access) override;
  void OnSignals(uint64_t bits) override;
  bool IsIntact() override { return journal_.Confirms(state_); }

 private:
  // The count during one second of the counter.
  struct Second {
    uint64_t start = 0;
    uint64_t ticks = 0;  // 0: it is not known
    uint32_t count = 0;
    uint32_t check = 0;  // of the others

    [[gnu::always_inline]] uint32_t Check() const {
      return static_cast<uint32_t>(start + ticks) + count;
    }
  };

  [[gnu::noinline]] Result<uint64_t> OtherAccess(const RegisterAccess& access);
  uint32_t Read(size_t index);
  void Write(size_t index, uint32_t value);

  uint64_t SecondsSinceOrigin() const;
  uint32_t CountAt(uint64_t seconds_since_origin) const;  // RTCDR
  bool IsAlarmDue() const { return ports_.counter.Ticks() >= state_.alarm_ticks; }
  void CheckAlarm();
  void NoteAlarm();
  void SetAlarm(bool now_counts);
  void DriveLine();
  uint32_t NextCount();
  void ArmTimer();

  Ports ports_;
  Pl031Journal& journal_;
  Pl031State state_;
  Second second_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL031_PL031_H_
