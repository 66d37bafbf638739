// A guest's GPIO controller: Arm PL061 (DDI0190), device tree node "arm,pl061". Of its eight pins one is connected: pin 3
// is high while the VM's power button is pressed, as on QEMU's virt machine. The others read 0 as inputs, and what is
// stored to outputs only reads back. Choices that the specification leaves open:
//   - pins that are outputs do not interrupt;
//   - an edge that was seen is forgotten when the pin is made level-sensitive;
//   - GPIOAFSEL has no effect: no pin has another function;
//   - narrow stores are zero-extended.
#ifndef ATOLL_SERVICES_PL061_DEVICE_H_
#define ATOLL_SERVICES_PL061_DEVICE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "services/runtime/device.h"
#include "services/runtime/ports.h"
#include "services/runtime/register_table.h"
#include "services/runtime/two_copies.h"

namespace atoll {

namespace pl061 {

// Indices into kTable, in the order of the offsets.
enum Register : uint32_t {
  kDir,
  kIs,
  kIbe,
  kIev,
  kIe,
  kRis,
  kMis,
  kIc,
  kAfsel,
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

// GPIODATA fills what is below: bits 9 to 2 of the offset say which pins an access is about.
inline constexpr uint64_t kDataEnd = 0x400;

using Table = RegisterTable<kRegisterCount, 0x1000>;

// clang-format off
inline constexpr Table kTable({
    // name             offset bits mode                       reset  writable
    {"GPIODIR",         0x400,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIOIS",          0x404,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIOIBE",         0x408,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIOIEV",         0x40c,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIOIE",          0x410,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIORIS",         0x414,  8, RegisterMode::kReadOnly,    0},
    {"GPIOMIS",         0x418,  8, RegisterMode::kReadOnly,    0},
    {"GPIOIC",          0x41c,  8, RegisterMode::kWriteOnly,   0,     0xff},
    {"GPIOAFSEL",       0x420,  8, RegisterMode::kReadWrite,   0,     0xff},
    {"GPIOPeriphID0",   0xfe0,  8, RegisterMode::kReadOnly,    0x61},
    {"GPIOPeriphID1",   0xfe4,  8, RegisterMode::kReadOnly,    0x10},
    {"GPIOPeriphID2",   0xfe8,  8, RegisterMode::kReadOnly,    0x04},
    {"GPIOPeriphID3",   0xfec,  8, RegisterMode::kReadOnly,    0x00},
    {"GPIOPCellID0",    0xff0,  8, RegisterMode::kReadOnly,    0x0d},
    {"GPIOPCellID1",    0xff4,  8, RegisterMode::kReadOnly,    0xf0},
    {"GPIOPCellID2",    0xff8,  8, RegisterMode::kReadOnly,    0x05},
    {"GPIOPCellID3",    0xffc,  8, RegisterMode::kReadOnly,    0xb1},
});
// clang-format on

// What outlives an instance. Each change stores all of it (TwoCopies), with the token of its access.
struct State {
  static constexpr uint32_t kFormat = 0x50'4c'36'01;  // "PL6", version of this layout

  uint64_t token = 0;          // of the call that stored to a register last
  uint64_t pressed_ticks = 0;  // when the button was pressed last; 0: never
  uint64_t release_ticks = 0;  // until when it is held; 0: it is not
  uint8_t data = 0;            // of pins that are outputs
  uint8_t direction = 0;
  uint8_t sense = 0;
  uint8_t both = 0;
  uint8_t event = 0;
  uint8_t enable = 0;
  uint8_t edges = 0;  // that were seen and not cleared
  uint8_t function = 0;
  uint32_t format = kFormat;
  uint32_t reserved = 0;
};
static_assert(std::has_unique_object_representations_v<State>);

using Journal = TwoCopies<State>;

}  // namespace pl061

class Pl061 final : public MmioDevice {
 public:
  // Signal bits for OnSignals; main.cc asserts that the manifest agrees.
  static constexpr uint64_t kTimerSignal = 1u << 0;
  static constexpr uint64_t kPowerSignal = 1u << 1;

  static constexpr uint32_t kButton = 1u << 3;
  // The button is held for a quarter of a second; for a guest that waits for its edge, as long from when it has cleared
  // the interrupt on. So a guest that is paused, or slow, does not miss it.
  static constexpr uint64_t kHoldsPerSecond = 4;
  // What comes so soon after a press is the same press: the supervisor repeats it to a new instance.
  static constexpr uint64_t kOnePressSeconds = 2;

  struct Ports {
    InterruptLine& line;
    DeadlineTimer& timer;
    const Counter& counter;
  };

  Pl061(const Ports& ports, pl061::Journal& journal) : ports_(ports), journal_(journal) {}

  // Goes on where an earlier instance ended; false if its journal cannot be believed, and a controller as after a reset
  // was made of it.
  bool Start() {
    const Copies found = journal_.Load(state_);
    const bool believed = found == Copies::kFresh ||
                          (found != Copies::kLost && state_.format == pl061::State::kFormat);
    if (found == Copies::kFresh || !believed) state_ = {};
    line_level_ = Masked() != 0;
    ports_.line.Set(line_level_);
    Keep();
    CheckRelease();
    return believed;
  }

  Result<uint64_t> Access(const RegisterAccess& access) override {
    using namespace pl061;  // NOLINT: registers
    const bool is_data = access.offset < kDataEnd && access.offset % 4 == 0 && access.size <= 4;
    const size_t index = kTable.Find(access);
    if (!is_data && index == Table::kReserved) return 0;
    CheckRelease();
    const auto pins = static_cast<uint8_t>(access.offset / 4);
    if (!access.write) return is_data ? Levels() & pins : kTable.Loaded(index, access, Read(index));
    // A call that comes again, and whose change is in the journal.
    if (access.token != 0 && access.token == state_.token) return 0;
    state_.token = access.token;
    if (is_data) {
      const uint32_t changed = pins & state_.direction;
      state_.data = static_cast<uint8_t>((state_.data & ~changed) | (access.value & changed));
    } else {
      Write(index, static_cast<uint8_t>(kTable.Stored(index, access, 0)));
    }
    Keep();
    return 0;
  }

  void OnSignals(uint64_t bits) override {
    if ((bits & kPowerSignal) != 0) Press();
    if ((bits & kTimerSignal) == 0) return;
    CheckRelease();
    ArmTimer();  // early or stale signals set the same deadline again
  }

 private:
  bool IsHeld() const { return state_.release_ticks != 0; }
  uint64_t Hold() const { return ports_.counter.TicksPerSecond() / kHoldsPerSecond; }
  // Of the pins: what drives them from outside, or what the guest stored.
  uint32_t Levels() const {
    const uint32_t outside = IsHeld() ? kButton : 0;
    return (outside & ~state_.direction) | (state_.data & state_.direction);
  }
  uint32_t Raw() const {
    const uint32_t active = ~(Levels() ^ state_.event) & 0xff;
    return (state_.edges & ~state_.sense) | (active & state_.sense & ~state_.direction);
  }
  uint32_t Masked() const { return Raw() & state_.enable; }

  uint32_t Read(size_t index) const {
    using namespace pl061;  // NOLINT: registers
    switch (index) {
      case kDir: return state_.direction;
      case kIs: return state_.sense;
      case kIbe: return state_.both;
      case kIev: return state_.event;
      case kIe: return state_.enable;
      case kRis: return Raw();
      case kMis: return Masked();
      case kAfsel: return state_.function;
      default: return kTable.reset(index);
    }
  }

  void Write(size_t index, uint8_t value) {
    using namespace pl061;  // NOLINT: registers
    switch (index) {
      case kDir: state_.direction = value; break;
      case kIs:
        state_.sense = value;
        state_.edges &= ~value;
        break;
      case kIbe: state_.both = value; break;
      case kIev: state_.event = value; break;
      case kIe: state_.enable = value; break;
      case kIc:
        if (IsHeld() && (state_.edges & value & kButton) != 0) HoldOn();
        state_.edges &= ~value;
        break;
      case kAfsel: state_.function = value; break;
      default: return;  // read-only
    }
  }

  void Press() {
    const uint64_t now = ports_.counter.Ticks();
    const uint64_t one_press = kOnePressSeconds * ports_.counter.TicksPerSecond();
    if (IsHeld() || (state_.pressed_ticks != 0 && now - state_.pressed_ticks < one_press)) return;
    state_.pressed_ticks = std::max<uint64_t>(now, 1);
    HoldOn();
    NoteEdge(/*rising=*/true);
    Keep();
  }

  void HoldOn() { state_.release_ticks = std::max<uint64_t>(ports_.counter.Ticks() + Hold(), 1); }

  void CheckRelease() {
    if (!IsHeld() || ports_.counter.Ticks() < state_.release_ticks) return;
    if ((state_.edges & state_.enable & kButton) != 0) {
      HoldOn();  // its guest has not seen it yet
    } else {
      state_.release_ticks = 0;
      NoteEdge(/*rising=*/false);
    }
    Keep();
  }

  void NoteEdge(bool rising) {
    const uint32_t wanted = state_.both | (rising ? state_.event : ~state_.event);
    state_.edges |= static_cast<uint8_t>(kButton & wanted & ~state_.direction & ~state_.sense);
  }

  // Before anybody sees a consequence.
  void Keep() {
    journal_.Store(state_);
    ArmTimer();
    const bool level = Masked() != 0;
    if (level == line_level_) return;
    line_level_ = level;
    ports_.line.Set(level);
  }

  void ArmTimer() { ports_.timer.Set(IsHeld() ? state_.release_ticks : DeadlineTimer::kNever); }

  Ports ports_;
  pl061::Journal& journal_;
  pl061::State state_;
  bool line_level_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL061_DEVICE_H_
