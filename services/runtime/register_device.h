// A device of registers as one class: declared are the registers and the state that it keeps; written is what stores do,
// and what follows from the state for line and timer. Everything else is here: widths and reserved places, journal,
// restart, exactly-once, failed mode, statistics.
//
//   struct LampState { uint32_t level = 0, presses = 0; };
//
//   class Lamp final : public RegisterDevice<Lamp, LampState> {
//    public:
//     using RegisterDevice::RegisterDevice;
//     bool Level() const override { return state().level != 0; }
//
//     static constexpr auto kRegisters = Registers<0x1000>({
//         // name     offset bits mode                     reset writable
//         {"LEVEL",   0x000, 1,   RegisterMode::kReadWrite,  0,  1, &LampState::level},
//         {"PRESSES", 0x004, 32,  RegisterMode::kReadOnly,   0,  0, &LampState::presses},
//         {"PRESS",   0x008, 1,   RegisterMode::kWriteOnly,  0,  1, nullptr, {.write = &Lamp::OnPress}},
//     });
//   };
//
// All that a store does is a change of the state, which counts together with the store's token: a store that is delivered
// again after a death changes nothing. What is to be seen outside follows from the state (Level, Deadline, Act) and is
// repeated after a restart.
#ifndef ATOLL_SERVICES_RUNTIME_REGISTER_DEVICE_H_
#define ATOLL_SERVICES_RUNTIME_REGISTER_DEVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "ipc/message.h"
#include "services/runtime/device.h"
#include "services/runtime/journalled.h"
#include "services/runtime/register_table.h"
#include "services/runtime/statistics.h"
#include "services/runtime/surroundings.h"
#include "services/runtime/vm_clock.h"

namespace atoll {

template <typename Device>
struct RegisterHandlers {
  // The value that a load gives; without it, that of the field, or the reset value.
  uint32_t (Device::*read)() const = nullptr;
  // Called after a store, once, with the value that the register has then; of a register without field, with the bits
  // that were stored. The field, if there is one, has been set.
  void (Device::*write)(uint32_t value) = nullptr;
};

// An entry of the table: RegisterEntry, where it is kept, and what happens.
template <typename Device, typename State>
struct DeviceRegister {
  const char* name;
  uint32_t offset;
  uint32_t bits;
  RegisterMode mode;
  uint32_t reset = 0;
  uint32_t writable = 0;
  uint32_t State::* field = nullptr;
  RegisterHandlers<Device> on = {};
  uint32_t words = 1;  // at so many offsets it is the same register; handlers ask for word()
};

namespace register_table_error {
constexpr void StoresToThisRegisterDoNothing(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void StoresToAReadOnlyRegisterAreNotHandled(const char* name) {
  if (name != nullptr) StopCompilation();
}
constexpr void FieldAndResetValueAreBothGiven(const char* name) {
  if (name != nullptr) StopCompilation();
}
}  // namespace register_table_error

template <typename Device, typename State, size_t kCount, uint32_t kBytes>
struct DeviceRegisters {
  using Table = RegisterTable<kCount, kBytes>;
  Table table;
  std::array<DeviceRegister<Device, State>, kCount> entries;
};

template <typename Device, typename State = NoState>
class RegisterDevice : public MmioDevice {
 public:
  using StateType = State;
  using Journal = Journalled<State>;
  struct Kept {
    typename Journal::Copies state;
    VmClock::Copies clock;
  };
  using Entry = DeviceRegister<Device, State>;

  // The registers of a region of kBytes. The reset value of one that is kept in a field is the field's default.
  template <uint32_t kBytes, size_t kCount>
  static consteval auto Registers(const Entry (&entries)[kCount]) {
    namespace error = register_table_error;
    RegisterEntry plain[kCount] = {};
    DeviceRegisters<Device, State, kCount, kBytes> registers = {
        typename DeviceRegisters<Device, State, kCount, kBytes>::Table{}, {}};
    for (size_t i = 0; i < kCount; ++i) {
      const Entry& entry = entries[i];
      plain[i] = {entry.name,  entry.offset,   entry.bits, entry.mode,
                  entry.reset, entry.writable, entry.words};
      const bool stores = entry.mode != RegisterMode::kReadOnly;
      if (stores && entry.field == nullptr && entry.on.write == nullptr) {
        error::StoresToThisRegisterDoNothing(entry.name);
      }
      if (!stores && entry.on.write != nullptr) {
        error::StoresToAReadOnlyRegisterAreNotHandled(entry.name);
      }
      if (entry.field != nullptr && entry.reset != 0) {
        error::FieldAndResetValueAreBothGiven(entry.name);
      }
      registers.entries[i] = entry;
    }
    registers.table = RegisterTable<kCount, kBytes>(plain);
    return registers;
  }

  // NOLINTNEXTLINE(bugprone-crtp-constructor-accessibility): devices take it over by `using`
  explicit RegisterDevice(const Surroundings& surroundings)
      : surroundings_(surroundings),
        state_(reinterpret_cast<Kept*>(surroundings.journal.data())->state, kFormat),
        clock_(reinterpret_cast<Kept*>(surroundings.journal.data())->clock) {
    constexpr const char* kNames[] = {"loads", "stores", "reserved", "repeated", "deadlines"};
    for (size_t i = 0; i < kOwnCounters; ++i) NameCounter(i, kNames[i]);
  }

  // What was found in the journal. kLost: the state is as after a reset of the VM.
  Copies found() const { return state_.found(); }
  bool refused() const { return state_.refused(); }

  // To be called once, before any access: line, timer and peers as the state says.
  void Start() {
    State& state = state_.Change();
    // Whatever has passed the check: no bit is taken that a register does not have.
    for (size_t i = 0; i < Device::kRegisters.entries.size(); ++i) {
      const Entry& entry = Device::kRegisters.entries[i];
      if (entry.field != nullptr) state.*entry.field &= Device::kRegisters.table.mask(i);
    }
    OnStart(state_.found() == Copies::kFresh || state_.found() == Copies::kLost);
    state_.Commit();
    CatchUp();
    Follow();
  }

  // Each use begins with a look at what this instance keeps: a change would make damage the state.
  Result<uint64_t> Access(const RegisterAccess& access) final {
    if (!IsUndamaged()) [[unlikely]]
      return std::unexpected(Status::kDataLoss);
    const auto& table = Device::kRegisters.table;
    const size_t index = table.Find(access);
    if (index == table.kReserved) {
      Count(kReserved);
      return 0;
    }
    if (Now() >= deadline_)
      CatchUp();  // seen by this access, though the timer's signal is still on its way
    const Entry& entry = Device::kRegisters.entries[index];
    word_ = static_cast<uint32_t>(access.offset - entry.offset) / 4;
    if (!access.write) {
      Count(kLoads);
      return table.Loaded(index, access, ValueOf(entry));
    }
    Count(kStores);
    if (access.token != 0 && access.token == state_.token()) {
      Count(kRepeated);
      return 0;
    }
    if (entry.mode == RegisterMode::kReadOnly) return 0;
    State& state = state_.Change();
    const uint32_t held = entry.field != nullptr ? state.*entry.field : 0;
    const uint32_t stored =
        table.Stored(index, access, entry.mode == RegisterMode::kOneClears ? 0 : held);
    const uint32_t value = entry.mode == RegisterMode::kOneClears ? held & ~stored : stored;
    if (entry.field != nullptr) state.*entry.field = value;
    if (entry.on.write != nullptr) (self().*entry.on.write)(value);
    state_.Commit(access.token);  // before anybody sees a consequence
    Follow();
    return 0;
  }

  // Signals come once, so they are seen to whatever is found: it is damage by the next look.
  void OnSignals(uint64_t bits) final {
    if (state_.Mend()) damaged_ = true;
    if (clock_.Mend()) damaged_ = true;
    const uint64_t pauses = surroundings_.pause_signal | surroundings_.resume_signal;
    if ((bits & surroundings_.resume_signal) != 0) {
      clock_.Resume(surroundings_.counter.Ticks());
    } else if ((bits & pauses) != 0) {
      clock_.Pause(surroundings_.counter.Ticks());
    }
    const uint64_t others = bits & ~(surroundings_.timer_signal | pauses);
    if (others != 0) {
      OnPeerSignals(others);
      if (state_.changed()) state_.Commit();
    }
    // It has fired, or comes early: it is set again. After a pause it may have to be stopped.
    timer_set_ = (bits & pauses) != 0 ? 0 : DeadlineTimer::kNever;
    CatchUp();
    Follow();
  }

  // Line and timer are set again: what was set last may be what was written over.
  bool IsIntact() final {
    if (!IsUndamaged()) return false;
    surroundings_.line.Set(Level());
    deadline_ = Deadline();
    timer_set_ = clock_.CounterAt(deadline_);
    if (timer_set_ != DeadlineTimer::kNever) surroundings_.timer.Set(timer_set_);
    return true;
  }

 protected:
  // ---- What follows from the state; each may be asked, or done, again and again.
  // The interrupt line.
  virtual bool Level() const { return false; }
  // When OnDeadline is due, in ticks of Now().
  virtual uint64_t Deadline() const { return DeadlineTimer::kNever; }
  // The deadline has come: changes the state so that there is a later one.
  virtual void OnDeadline() {}
  // Peers' signals, to be repeated after each change.
  virtual void Act() {}

  // Bits of the signal that are not the timer's. What the last instance took and did not see to does not come again: what
  // they mean has to lie in shared memory, too, or may be lost.
  virtual void OnPeerSignals(uint64_t bits) {}
  // Once for each instance. fresh: the state is as after a reset of the VM, and may be set otherwise here.
  virtual void OnStart(bool fresh) {}

  // Counters of the library; a device's own begin behind them.
  enum Counter : size_t { kLoads, kStores, kReserved, kRepeated, kDeadlines, kOwnCounters };
  static constexpr size_t kFirstCounter = kOwnCounters;

  const State& state() const { return *state_; }
  // To be changed by handlers, OnDeadline, OnPeerSignals and OnStart; what they did counts when they return.
  State& ChangeState() { return state_.Change(); }

  // Calls of other services, by the interfaces that the device serves besides: whether this one's change counts already,
  // and that what has been changed now is its.
  bool WasMade(const CallInfo& call) const {
    return call.token != 0 && call.token == state_.token();
  }
  void Made(const CallInfo& call) {
    state_.Commit(call.token);
    Follow();
  }

  // Ticks of the VM's time: of the counter, but while the VM is paused (if the manifest asks to be told).
  uint64_t Now() const { return clock_.Now(surroundings_.counter.Ticks()); }
  uint64_t TicksPerSecond() const { return surroundings_.counter.TicksPerSecond(); }
  Peers& peers() { return surroundings_.peers; }
  VmPower& vm() { return surroundings_.vm; }
  // For handlers of a register that has several: which of its words the access is about.
  uint32_t word() const { return word_; }
  const Surroundings& surroundings() const { return surroundings_; }

 private:
  // "ATRG" and the layout's number.
  static constexpr uint32_t kFormat = 0x4752'5400 | [] {
    if constexpr (requires { Device::kStateFormat; }) return uint32_t{Device::kStateFormat};
    return 1u;
  }();
  // Deadlines that one pass sees to: whoever sets ever new ones in the past has the timer's signal instead.
  static constexpr int kMaxDeadlines = 4;

  bool IsUndamaged() { return !damaged_ && state_.IsIntact() && clock_.IsIntact(); }

  Device& self() { return static_cast<Device&>(*this); }
  const Device& self() const { return static_cast<const Device&>(*this); }

  uint32_t ValueOf(const Entry& entry) const {
    if (entry.on.read != nullptr) return (self().*entry.on.read)();
    return entry.field != nullptr ? state().*entry.field : entry.reset;
  }

  void CatchUp() {
    for (int i = 0; i < kMaxDeadlines && Now() >= Deadline(); ++i) {
      Count(kDeadlines);
      OnDeadline();
      state_.Commit();
      followed_ = false;
    }
    if (!followed_) Follow();
  }

  void Follow() {
    followed_ = true;
    surroundings_.line.Set(Level());
    deadline_ = Deadline();
    if (const uint64_t due = clock_.CounterAt(deadline_); due != timer_set_) {
      timer_set_ = due;
      surroundings_.timer.Set(due);
    }
    Act();
  }

  const Surroundings surroundings_;
  Journal state_;
  VmClock clock_;
  uint64_t deadline_ = 0;
  uint64_t timer_set_ = DeadlineTimer::kNever;
  bool followed_ = true;
  bool damaged_ = false;
  uint32_t word_ = 0;
};

// What a guest has in the place of a device that was given up: registers read as after a reset and ignore stores, the
// line is low. Identification is there, so that a driver which finds it goes on.
template <typename Device>
class FailedRegisterDevice final : public MmioDevice {
 public:
  explicit FailedRegisterDevice(InterruptLine& line) { line.Set(false); }

  Result<uint64_t> Access(const RegisterAccess& access) override {
    const auto& registers = Device::kRegisters;
    const size_t index = registers.table.Find(access);
    if (access.write || index == registers.table.kReserved) return 0;
    const auto& entry = registers.entries[index];
    constexpr typename Device::StateType kFresh = {};
    const uint32_t value = entry.field != nullptr ? kFresh.*entry.field : entry.reset;
    return registers.table.Loaded(index, access, value);
  }
  void OnSignals(uint64_t) override {}
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_REGISTER_DEVICE_H_
