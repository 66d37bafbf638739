// A guest's watchdog: Arm SP805 (DDI0270), device tree node "arm,sp805".
//
// It counts down from WDOGLOAD with the guest's clock of 24 MHz. At 0 it interrupts and begins anew; at 0 again, while
// that interrupt is not cleared, it resets the VM if RESEN is set: as PSCI SYSTEM_RESET does, nothing of the VM's memory
// is kept. Choices that the specification leaves open:
//   - an interrupt pends from when the count is 0, and WDOGLOAD comes a clock later: a period has WDOGLOAD + 1 clocks;
//   - the registers for integration tests (WDOGITCR, WDOGITOP) are not there: they read 0.
#ifndef ATOLL_SERVICES_SP805_DEVICE_H_
#define ATOLL_SERVICES_SP805_DEVICE_H_

#include <cstdint>

#include "services/runtime/guest_clock.h"
#include "services/runtime/register_device.h"

namespace atoll {

struct Sp805State {
  uint64_t start_ticks = 0;      // when the count was at WDOGLOAD, while it runs
  uint32_t load = 0xffff'ffff;   // WDOGLOAD
  uint32_t value = 0xffff'ffff;  // of the count while it does not run
  uint32_t control = 0;          // WDOGCONTROL
  uint32_t interrupt = 0;        // WDOGRIS
  uint32_t locked = 0;           // WDOGLOCK
  uint32_t resetting = 0;        // the VM is to start afresh
};

class Sp805 final : public RegisterDevice<Sp805, Sp805State> {
 public:
  static constexpr uint32_t kInten = 1;  // WDOGCONTROL: counts and interrupts
  static constexpr uint32_t kResen = 2;  // WDOGCONTROL: resets
  static constexpr uint32_t kUnlock = 0x1acc'e551;
  // What fell due while no instance ran is acted on only so long after the start, as accesses that waited for this
  // instance come first: a guest that fed its watchdog in time is not reset for the death of a service. 1/256 s.
  static constexpr uint64_t kGracesPerSecond = 256;

  using RegisterDevice::RegisterDevice;

  bool Level() const override { return Mis() != 0; }
  // Nobody waits for a zero that changes nothing.
  uint64_t Deadline() const override {
    const bool waits =
        IsRunning() && state().resetting == 0 && (state().interrupt == 0 || Resets());
    return waits ? state().start_ticks + Ticks(state().load) : DeadlineTimer::kNever;
  }
  void OnDeadline() override {
    const uint64_t zeros = BeginAnew();
    if (Resets() && state().interrupt + zeros >= 2) ChangeState().resetting = 1;
    ChangeState().interrupt = 1;
  }
  void Act() override {
    if (state().resetting != 0)
      vm().Reset();  // this task ends with its VM, and its journal with it
  }
  void OnStart(bool) override {
    if (Now() < Deadline()) return;
    const uint64_t soon = Now() + TicksPerSecond() / kGracesPerSecond;
    ChangeState().start_ticks = soon - Ticks(state().load);
  }

 private:
  bool IsRunning() const { return (state().control & kInten) != 0; }
  bool Resets() const { return (state().control & kResen) != 0; }
  uint64_t Ticks(uint64_t clocks) const { return TicksOfGuestClocks(clocks, TicksPerSecond()); }
  uint64_t Period() const { return uint64_t{state().load} + 1; }
  // Since the count was at WDOGLOAD.
  uint64_t Clocks() const {
    if (Now() < state().start_ticks) return 0;
    return GuestClocks(Now() - state().start_ticks, TicksPerSecond());
  }
  // How often the count has come to 0 since then; from the last time on it counts anew.
  uint64_t BeginAnew() {
    const uint64_t clocks = Clocks();
    if (clocks < state().load) return 0;
    const uint64_t zeros = (clocks - state().load) / Period() + 1;
    ChangeState().start_ticks += Ticks(zeros * Period());
    return zeros;
  }
  void Reload() {
    ChangeState().start_ticks = Now();
    ChangeState().value = state().load;
  }

  uint32_t Load() const { return state().load; }
  uint32_t Value() const {
    return IsRunning() ? static_cast<uint32_t>(state().load - Clocks() % Period()) : state().value;
  }
  uint32_t Control() const { return state().control; }
  uint32_t Mis() const { return IsRunning() ? state().interrupt : 0; }
  uint32_t Lock() const { return state().locked; }

  void OnLoad(uint32_t value) {
    if (state().locked != 0) return;
    ChangeState().load = value;
    Reload();
  }
  void OnControl(uint32_t value) {
    if (state().locked != 0) return;
    if (!IsRunning()) {
      ChangeState().start_ticks = Now();
    } else {
      (void)BeginAnew();  // zeros of before count for nothing
      ChangeState().value = Value();
    }
    ChangeState().control = value;
  }
  void OnIntClr(uint32_t) {
    if (state().locked != 0) return;
    ChangeState().interrupt = 0;
    Reload();
  }
  void OnLock(uint32_t value) { ChangeState().locked = value == kUnlock ? 0 : 1; }

 public:
  // clang-format off
  static constexpr auto kRegisters = Registers<0x1000>({
      // name           offset bits mode                      reset writable
      {"WDOGLOAD",      0x000, 32, RegisterMode::kReadWrite,  ~0u, ~0u, nullptr, {&Sp805::Load, &Sp805::OnLoad}},
      {"WDOGVALUE",     0x004, 32, RegisterMode::kReadOnly,   ~0u, 0, nullptr, {.read = &Sp805::Value}},
      {"WDOGCONTROL",   0x008,  2, RegisterMode::kReadWrite,  0, 3,   nullptr, {&Sp805::Control, &Sp805::OnControl}},
      {"WDOGINTCLR",    0x00c, 32, RegisterMode::kWriteOnly,  0, ~0u, nullptr, {.write = &Sp805::OnIntClr}},
      {"WDOGRIS",       0x010,  1, RegisterMode::kReadOnly,   0, 0,   &Sp805State::interrupt},
      {"WDOGMIS",       0x014,  1, RegisterMode::kReadOnly,   0, 0,   nullptr, {.read = &Sp805::Mis}},
      {"WDOGLOCK",      0xc00, 32, RegisterMode::kReadWrite,  0, ~0u, nullptr, {&Sp805::Lock, &Sp805::OnLock}},
      {"WDOGPERIPHID0", 0xfe0,  8, RegisterMode::kReadOnly,   0x05},
      {"WDOGPERIPHID1", 0xfe4,  8, RegisterMode::kReadOnly,   0x18},
      {"WDOGPERIPHID2", 0xfe8,  8, RegisterMode::kReadOnly,   0x14},
      {"WDOGPERIPHID3", 0xfec,  8, RegisterMode::kReadOnly,   0x00},
      {"WDOGPCELLID0",  0xff0,  8, RegisterMode::kReadOnly,   0x0d},
      {"WDOGPCELLID1",  0xff4,  8, RegisterMode::kReadOnly,   0xf0},
      {"WDOGPCELLID2",  0xff8,  8, RegisterMode::kReadOnly,   0x05},
      {"WDOGPCELLID3",  0xffc,  8, RegisterMode::kReadOnly,   0xb1},
  });
  // clang-format on
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SP805_DEVICE_H_
