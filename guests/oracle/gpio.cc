#include "guests/oracle/gpio.h"

namespace oracle {
namespace {

// PL061 (DDI0190). A bit for each pin; bits 9:2 of an offset of GPIODATA say which pins an access is about.
inline constexpr uint32_t kDirection = 0x400, kLevelSensitive = 0x404, kBothEdges = 0x408,
                          kEnable = 0x410, kRaw = 0x414, kMasked = 0x418, kClear = 0x41c,
                          kFunction = 0x420;
inline constexpr uint32_t kButton = 1u << 3, kLevelPin = 1u << 0;
inline constexpr uint32_t kOutputs = 0xff & ~(kButton | kLevelPin);
constexpr uint32_t DataOf(uint32_t pins) { return pins << 2; }

}  // namespace

void GpioOracle::Start(uint32_t slot) {
  base_ = bare::kVirtio + slot * uintptr_t{0x1000};
  Attach(slot, *this);
  Write(kBothEdges, kButton);
  Write(kLevelSensitive, kLevelPin);  // and active when it is low, which it always is
  Write(kEnable, kButton);
  report_.Line(0);  // the button may be pressed from now on
}

void GpioOracle::Check(const char* what, uint32_t offset, uint32_t wanted) {
  const uint32_t got = Read(offset);
  if (got != wanted) report_.Lost(what, got, wanted);
}

void GpioOracle::Acknowledge(uintptr_t) {
  const uint32_t active = Read(kMasked);
  if ((active & kLevelPin) != 0) {
    levels_ = levels_ + 1;
    Write(kEnable, kButton);
  }
  if ((active & kButton) != 0) {
    edges_ = edges_ + 1;
    Write(kClear, kButton);
  }
  if (active == 0 || (active & ~(kLevelPin | kButton)) != 0) {
    report_.Lost("an interrupt of no pin", active);
  }
}

void GpioOracle::Round() {
  const auto random = static_cast<uint32_t>(random_.Next());
  outputs_ = random & kOutputs;
  Write(kDirection, outputs_);
  Check("the direction register", kDirection, outputs_);
  const uint32_t pins = random >> 8 & kOutputs, value = random >> 16 & 0xff;
  Write(DataOf(pins), value);
  data_ = (data_ & ~(pins & outputs_)) | (value & pins & outputs_);
  Check("the pins", DataOf(kOutputs), data_ & outputs_);
  Write(kFunction, value);
  Check("the function register", kFunction, value);
  const uint64_t before = levels_;
  Write(kEnable, kButton | kLevelPin);
  if (!WaitFor([&] { return levels_ != before; })) report_.Lost("no interrupt of a level");
  if (levels_ != before + 1) report_.Lost("interrupts of a level", levels_ - before);
  Check("the mask", kEnable, kButton);
  if ((Read(kRaw) & kLevelPin) == 0) report_.Lost("the level is gone");
  report_.Done();
}

void GpioOracle::Finish() {
  if (!WaitFor([&] { return Read(DataOf(kButton)) == 0 && edges_ % 2 == 0; })) {
    report_.Lost("the button is not let go: edges", edges_);
  }
  report_.Begin();
  report_.Pair("edges", edges_);
  report_.End();
}

}  // namespace oracle
