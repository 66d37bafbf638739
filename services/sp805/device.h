// A guest's watchdog: Arm SP805 (DDI0270), device tree node "arm,sp805".
//
// It counts down from WDOGLOAD with the guest's clock of 24 MHz. At 0 it interrupts and begins anew; at 0 again, while
// that interrupt is not cleared, it resets the VM if RESEN is set: as PSCI SYSTEM_RESET does, nothing of the VM's memory
// is kept. Choices that the specification leaves open:
//   - an interrupt pends from when the count is 0, and WDOGLOAD comes a clock later: a period has WDOGLOAD + 1 clocks;
//   - the registers for integration tests (WDOGITCR, WDOGITOP) are not there: they read 0;
//   - narrow stores are zero-extended.
#ifndef ATOLL_SERVICES_SP805_DEVICE_H_
#define ATOLL_SERVICES_SP805_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "services/runtime/device.h"
#include "services/runtime/guest_clock.h"
#include "services/runtime/ports.h"
#include "services/runtime/register_table.h"
#include "services/runtime/two_copies.h"

namespace atoll {

namespace sp805 {

// Indices into kTable, in the order of the offsets.
enum Register : uint32_t {
  kLoad,
  kValue,
  kControl,
  kIntClr,
  kRis,
  kMis,
  kLock,
  kPeriphId0,
  kPeriphId1,
  kPeriphId2,
  kPeriphId3,
  kPCellId0,
  kPCellId1,
  kPCellId2,
  kPCellId3,
  kRegisterCount,
};

inline constexpr uint32_t kInten = 1;  // WDOGCONTROL: counts and interrupts
inline constexpr uint32_t kResen = 2;  // WDOGCONTROL: resets
inline constexpr uint32_t kUnlock = 0x1acc'e551;
inline constexpr uint32_t kAllBits = 0xffff'ffff;

using Table = RegisterTable<kRegisterCount, 0x1000>;

// clang-format off
inline constexpr Table kTable({
    // name             offset bits mode                       reset     writable
    {"WDOGLOAD",        0x000, 32, RegisterMode::kReadWrite,   kAllBits, kAllBits},
    {"WDOGVALUE",       0x004, 32, RegisterMode::kReadOnly,    kAllBits},
    {"WDOGCONTROL",     0x008,  2, RegisterMode::kReadWrite,   0,        kInten | kResen},
    {"WDOGINTCLR",      0x00c, 32, RegisterMode::kWriteOnly,   0,        kAllBits},
    {"WDOGRIS",         0x010,  1, RegisterMode::kReadOnly,    0},
    {"WDOGMIS",         0x014,  1, RegisterMode::kReadOnly,    0},
    // Reads 1 while it is locked.
    {"WDOGLOCK",        0xc00, 32, RegisterMode::kReadWrite,   0,        kAllBits},
    {"WDOGPERIPHID0",   0xfe0,  8, RegisterMode::kReadOnly,    0x05},
    {"WDOGPERIPHID1",   0xfe4,  8, RegisterMode::kReadOnly,    0x18},
    {"WDOGPERIPHID2",   0xfe8,  8, RegisterMode::kReadOnly,    0x14},
    {"WDOGPERIPHID3",   0xfec,  8, RegisterMode::kReadOnly,    0x00},
    {"WDOGPCELLID0",    0xff0,  8, RegisterMode::kReadOnly,    0x0d},
    {"WDOGPCELLID1",    0xff4,  8, RegisterMode::kReadOnly,    0xf0},
    {"WDOGPCELLID2",    0xff8,  8, RegisterMode::kReadOnly,    0x05},
    {"WDOGPCELLID3",    0xffc,  8, RegisterMode::kReadOnly,    0xb1},
});
// clang-format on

// What outlives an instance. Each access that changes something stores all of it (TwoCopies), with its token.
struct State {
  static constexpr uint32_t kFormat = 0x53'50'38'01;  // "SP8", version of this layout

  uint64_t start_ticks = 0;  // when the count was at WDOGLOAD, while it runs
  uint64_t token = 0;        // of the call that stored to a register last
  uint32_t load = kAllBits;
  uint32_t value = kAllBits;  // of the count while it does not run
  uint32_t control = 0;
  uint32_t interrupt = 0;  // WDOGRIS
  uint32_t locked = 0;
  uint32_t format = kFormat;
};
static_assert(std::has_unique_object_representations_v<State>);

using Journal = TwoCopies<State>;

}  // namespace sp805

class Sp805 final : public MmioDevice {
 public:
  // Signal bit for OnSignals; main.cc asserts that the manifest agrees.
  static constexpr uint64_t kTimerSignal = 1u << 0;

  // What fell due while no instance ran is acted on only so long after the start, as accesses that waited for this
  // instance come first: a guest that fed its watchdog in time is not reset for the death of a service. 1/256 s.
  static constexpr uint64_t kGracesPerSecond = 256;

  struct Ports {
    InterruptLine& line;
    DeadlineTimer& timer;
    const Counter& counter;
    VmPower& vm;
  };

  Sp805(const Ports& ports, sp805::Journal& journal) : ports_(ports), journal_(journal) {}

  // Goes on where an earlier instance ended; false if its journal cannot be believed, and a watchdog that is off was
  // made of it.
  bool Start() {
    const Copies found = journal_.Load(state_);
    const bool believed = found == Copies::kFresh ||
                          (found != Copies::kLost && state_.format == sp805::State::kFormat);
    if (found == Copies::kFresh || !believed) state_ = {};
    const uint64_t now = ports_.counter.Ticks();
    const uint64_t left = Ticks(state_.load);
    if (IsRunning() && now >= state_.start_ticks && now - state_.start_ticks >= left) {
      state_.start_ticks = now + ports_.counter.TicksPerSecond() / kGracesPerSecond - left;
    }
    journal_.Store(state_);
    line_level_ = IsInterrupting();
    ports_.line.Set(line_level_);
    ArmTimer();
    return believed;
  }

  Result<uint64_t> Access(const RegisterAccess& access) override {
    using namespace sp805;  // NOLINT: registers
    const size_t index = kTable.Find(access);
    if (index == Table::kReserved) return 0;
    CatchUp();
    if (!access.write) return kTable.Loaded(index, access, Read(index));
    if (state_.locked != 0 && index != kLock) return 0;
    // A call that comes again, and whose change is in the journal.
    if (access.token != 0 && access.token == state_.token) return 0;
    state_.token = access.token;
    Write(index, kTable.Stored(index, access, 0));
    return 0;
  }

  void OnSignals(uint64_t bits) override {
    if ((bits & kTimerSignal) == 0) return;
    CatchUp();
    ArmTimer();  // early or stale signals set the same deadline again
  }

 private:
  bool IsRunning() const { return (state_.control & sp805::kInten) != 0; }
  bool IsInterrupting() const { return state_.interrupt != 0 && IsRunning(); }
  uint64_t Ticks(uint64_t clocks) const {
    return TicksOfGuestClocks(clocks, ports_.counter.TicksPerSecond());
  }
  // Since the count was at WDOGLOAD.
  uint64_t Clocks() const {
    const uint64_t now = ports_.counter.Ticks();
    if (now < state_.start_ticks) return 0;
    return GuestClocks(now - state_.start_ticks, ports_.counter.TicksPerSecond());
  }
  uint32_t CurrentValue() const {
    if (!IsRunning()) return state_.value;
    const uint64_t clocks = Clocks();
    return clocks >= state_.load ? 0 : static_cast<uint32_t>(state_.load - clocks);
  }

  uint32_t Read(size_t index) const {
    using namespace sp805;  // NOLINT: registers
    switch (index) {
      case kLoad: return state_.load;
      case kValue: return CurrentValue();
      case kControl: return state_.control;
      case kRis: return state_.interrupt;
      case kMis: return IsInterrupting() ? 1 : 0;
      case kLock: return state_.locked;
      default: return kTable.reset(index);
    }
  }

  void Write(size_t index, uint32_t value) {
    using namespace sp805;  // NOLINT: registers
    switch (index) {
      case kLoad:
        state_.load = value;
        Reload();
        break;
      case kControl: {
        const bool was_running = IsRunning();
        state_.value = CurrentValue();
        state_.control = value;
        if (!was_running) state_.start_ticks = ports_.counter.Ticks();
        break;
      }
      case kIntClr:
        state_.interrupt = 0;
        Reload();
        break;
      case kLock: state_.locked = value == kUnlock ? 0 : 1; break;
      default: return;  // read-only
    }
    Keep();
  }

  void Reload() {
    state_.start_ticks = ports_.counter.Ticks();
    state_.value = state_.load;
  }

  // Does what the zeros that the count has reached since then ask for.
  void CatchUp() {
    const uint64_t clocks = Clocks();
    if (!IsRunning() || clocks < state_.load) return;
    const uint64_t period = uint64_t{state_.load} + 1;
    const uint64_t zeros = (clocks - state_.load) / period + 1;
    if ((state_.control & sp805::kResen) != 0 && state_.interrupt + zeros >= 2) {
      ports_.vm.Reset();  // this task ends with its VM, and its journal with it
      return;
    }
    state_.interrupt = 1;
    state_.start_ticks += Ticks(zeros * period);
    Keep();
  }

  // Before anybody sees a consequence.
  void Keep() {
    journal_.Store(state_);
    ArmTimer();
    if (line_level_ == IsInterrupting()) return;
    line_level_ = IsInterrupting();
    ports_.line.Set(line_level_);
  }

  // Nobody waits for a zero that changes nothing: the next access finds it.
  void ArmTimer() {
    const bool waits =
        IsRunning() && (state_.interrupt == 0 || (state_.control & sp805::kResen) != 0);
    ports_.timer.Set(waits ? state_.start_ticks + Ticks(state_.load) : DeadlineTimer::kNever);
  }

  Ports ports_;
  sp805::Journal& journal_;
  sp805::State state_;
  bool line_level_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SP805_DEVICE_H_
