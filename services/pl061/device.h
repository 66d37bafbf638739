// A guest's GPIO controller: Arm PL061 (DDI0190), device tree node "arm,pl061". Of its eight pins one is connected: pin 3
// is high while the VM's power button is pressed, as on QEMU's virt machine. The others read 0 as inputs, and what is
// stored to outputs only reads back. Choices that the specification leaves open:
//   - pins that are outputs do not interrupt;
//   - an edge that was seen is forgotten when the pin is made level-sensitive;
//   - GPIOAFSEL has no effect: no pin has another function.
#ifndef ATOLL_SERVICES_PL061_DEVICE_H_
#define ATOLL_SERVICES_PL061_DEVICE_H_

#include <cstdint>

#include "services/pl061/manifest.h"
#include "services/runtime/register_device.h"

namespace atoll {

// Of each pin a bit; names are those of the registers.
struct Pl061State {
  uint64_t pressed_ticks = 0;  // when the button was pressed last; 0: never
  uint64_t release_ticks = 0;  // until when it is held; 0: it is not
  uint32_t data = 0;           // of pins that are outputs
  uint32_t dir = 0;
  uint32_t is = 0;
  uint32_t ibe = 0;
  uint32_t iev = 0;
  uint32_t ie = 0;
  uint32_t edges = 0;  // that were seen and not cleared
  uint32_t afsel = 0;
};

class Pl061 final : public RegisterDevice<Pl061, Pl061State> {
 public:
  static constexpr uint32_t kButton = 1u << 3;
  // The button is held for a quarter of a second; for a guest that waits for its edge, as long from when it has cleared
  // the interrupt on. So a guest that is paused, or slow, does not miss it.
  static constexpr uint64_t kHoldsPerSecond = 4;
  // What comes so soon after a press is the same press: the supervisor repeats it to a new instance.
  static constexpr uint64_t kOnePressSeconds = 2;

  using RegisterDevice::RegisterDevice;

  bool Level() const override { return Mis() != 0; }
  uint64_t Deadline() const override {
    return IsHeld() ? state().release_ticks : DeadlineTimer::kNever;
  }
  void OnDeadline() override {
    if ((state().edges & state().ie & kButton) != 0)
      return Hold();  // the guest has not seen it yet
    ChangeState().release_ticks = 0;
    NoteEdge(~state().iev);
  }
  void OnPeerSignals(uint64_t bits) override {
    if ((bits & pl061_manifest::kPowerSignal) == 0 || IsHeld()) return;
    const uint64_t passed = Now() - state().pressed_ticks;
    if (state().pressed_ticks != 0 && passed < kOnePressSeconds * TicksPerSecond()) return;
    ChangeState().pressed_ticks = Now();
    Hold();
    NoteEdge(state().iev);
  }

 private:
  bool IsHeld() const { return state().release_ticks != 0; }
  void Hold() { ChangeState().release_ticks = Now() + TicksPerSecond() / kHoldsPerSecond; }
  void NoteEdge(uint32_t wanted) {
    ChangeState().edges |= kButton & (state().ibe | wanted) & ~state().dir & ~state().is;
  }

  uint32_t Levels() const {
    return ((IsHeld() ? kButton : 0) & ~state().dir) | (state().data & state().dir);
  }
  // The word's number says which pins an access is about.
  uint32_t Data() const { return Levels() & word(); }
  void OnData(uint32_t value) {
    const uint32_t changed = word() & state().dir;
    ChangeState().data = (state().data & ~changed) | (value & changed);
  }
  uint32_t Ris() const {
    const uint32_t active = ~(Levels() ^ state().iev) & 0xff;
    return (state().edges & ~state().is) | (active & state().is & ~state().dir);
  }
  uint32_t Mis() const { return Ris() & state().ie; }
  void OnIs(uint32_t value) { ChangeState().edges &= ~value; }
  void OnIc(uint32_t value) {
    if (IsHeld() && (state().edges & value & kButton) != 0) Hold();
    ChangeState().edges &= ~value;
  }

 public:
  // clang-format off
  static constexpr auto kRegisters = Registers<0x1000>({
      // name           offset bits mode                      reset writable
      {"GPIODATA",      0x000,  8, RegisterMode::kReadWrite,  0, 0xff, nullptr, {&Pl061::Data, &Pl061::OnData}, /*words=*/256},
      {"GPIODIR",       0x400,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::dir},
      {"GPIOIS",        0x404,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::is, {.write = &Pl061::OnIs}},
      {"GPIOIBE",       0x408,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::ibe},
      {"GPIOIEV",       0x40c,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::iev},
      {"GPIOIE",        0x410,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::ie},
      {"GPIORIS",       0x414,  8, RegisterMode::kReadOnly,   0, 0,    nullptr, {.read = &Pl061::Ris}},
      {"GPIOMIS",       0x418,  8, RegisterMode::kReadOnly,   0, 0,    nullptr, {.read = &Pl061::Mis}},
      {"GPIOIC",        0x41c,  8, RegisterMode::kWriteOnly,  0, 0xff, nullptr, {.write = &Pl061::OnIc}},
      {"GPIOAFSEL",     0x420,  8, RegisterMode::kReadWrite,  0, 0xff, &Pl061State::afsel},
      {"GPIOPeriphID0", 0xfe0,  8, RegisterMode::kReadOnly,   0x61},
      {"GPIOPeriphID1", 0xfe4,  8, RegisterMode::kReadOnly,   0x10},
      {"GPIOPeriphID2", 0xfe8,  8, RegisterMode::kReadOnly,   0x04},
      {"GPIOPeriphID3", 0xfec,  8, RegisterMode::kReadOnly,   0x00},
      {"GPIOPCellID0",  0xff0,  8, RegisterMode::kReadOnly,   0x0d},
      {"GPIOPCellID1",  0xff4,  8, RegisterMode::kReadOnly,   0xf0},
      {"GPIOPCellID2",  0xff8,  8, RegisterMode::kReadOnly,   0x05},
      {"GPIOPCellID3",  0xffc,  8, RegisterMode::kReadOnly,   0xb1},
  });
  // clang-format on
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL061_DEVICE_H_
