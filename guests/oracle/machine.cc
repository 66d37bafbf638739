#include "guests/oracle/machine.h"

namespace oracle {
namespace {

using bare::kDistributor;
using bare::kRtc;
using bare::kUart;
using bare::Load32;
using bare::Store32;

// PL011 (DDI0183).
inline constexpr uint32_t kFlags = 0x18, kIntegerBaud = 0x24, kFractionalBaud = 0x28,
                          kLineControl = 0x2c, kControl = 0x30;
inline constexpr uint32_t kReceiveEmpty = 1 << 4, kFifos = 1 << 4 | 3 << 5;
inline constexpr uint32_t kEnabled = 1 | 1 << 8 | 1 << 9, kLoopback = 1 << 7;
inline constexpr uint32_t kUartBytes = 8;
// PL031 (DDI0224).
inline constexpr uint32_t kMatch = 4;
// GICD (IHI0069).
inline constexpr uint32_t kUnusedIntid = 63;
inline constexpr uint32_t kSetEnable = 0x100 + kUnusedIntid / 32 * 4,
                          kClearEnable = 0x180 + kUnusedIntid / 32 * 4,
                          kPriority = 0x400 + kUnusedIntid;
// PSCI 1.1 (DEN0022).
inline constexpr uint64_t kVersion = 0x8400'0000, kCpuOn = 0xc400'0003, kAffinityInfo = 0xc400'0004,
                          kVersionIs = 0x1'0001;

alignas(16) uint8_t second_stack[4096];
volatile uint64_t second_lives;

}  // namespace

bool UartOracle::IsTyped(char key) {
  Store32(kUart + kControl, kEnabled);  // else it takes nothing
  TakeTyped();
  return typed_ == static_cast<uint8_t>(key);
}

void UartOracle::TakeTyped() {
  for (uint32_t i = 0; i < 32 && (Load32(kUart + kFlags) & kReceiveEmpty) == 0; ++i) {
    typed_ = Load32(kUart);
  }
}

void UartOracle::Round() {
  Store32(kUart + kLineControl, kFifos);
  Store32(kUart + kControl, kEnabled | kLoopback);
  // Input of the console may be there: in loopback none follows.
  TakeTyped();
  const uint64_t bytes = random_.Next();
  for (uint32_t i = 0; i < kUartBytes; ++i) Store32(kUart, bytes >> (8 * i) & 0xff);
  for (uint32_t i = 0; i < kUartBytes; ++i) {
    const auto wanted = static_cast<uint32_t>(bytes >> (8 * i) & 0xff);
    if ((Load32(kUart + kFlags) & kReceiveEmpty) != 0) {
      report_.Lost("byte in loopback", i);
      break;
    }
    const uint32_t got = Load32(kUart);
    if (got != wanted) report_.Lost("byte in loopback: number, got, wanted", i, got, wanted);
  }
  if ((Load32(kUart + kFlags) & kReceiveEmpty) == 0) report_.Lost("byte in loopback came twice");
  Store32(kUart + kControl, kEnabled);
  const auto divisor = static_cast<uint32_t>(bytes >> 48);
  Store32(kUart + kIntegerBaud, divisor);
  Store32(kUart + kFractionalBaud, divisor & 0x3f);
  if (Load32(kUart + kIntegerBaud) != divisor ||
      Load32(kUart + kFractionalBaud) != (divisor & 0x3f) || Load32(kUart + kControl) != kEnabled) {
    report_.Lost("register of the UART", divisor, Load32(kUart + kIntegerBaud),
                 Load32(kUart + kControl));
  }
  report_.Done();
}

void UartOracle::Finish() const {
  report_.Begin();
  report_.End();
}

void ConsoleOracle::Finish() {
  report_.Done(lines_);
  report_.Begin();
  report_.End();
}

void RtcOracle::Start() {
  first_ = last_ = Load32(kRtc);
  counter_ = bare::Counter();
}

void RtcOracle::Round() {
  const uint32_t now = Load32(kRtc);
  const auto elapsed = static_cast<uint32_t>((bare::Counter() - counter_) / Ticks(1'000'000));
  if (now < last_) report_.Lost("the clock went back", last_, now);
  // Both count seconds from a moment of their own.
  if (now - first_ > elapsed + 1 || now - first_ + 1 < elapsed) {
    report_.Lost("the clock is wrong: seconds, of the counter", now - first_, elapsed);
  }
  last_ = now;
  const uint32_t match = ~now;
  Store32(kRtc + kMatch, match);
  if (Load32(kRtc + kMatch) != match) {
    report_.Lost("the match register", match, Load32(kRtc + kMatch));
  }
  report_.Done();
}

void RtcOracle::Finish() const {
  report_.Begin();
  report_.End();
}

void GicOracle::Round() {
  constexpr uint32_t kBit = 1u << (kUnusedIntid % 32);
  const uint32_t before = Load32(kDistributor + kSetEnable);
  Store32(kDistributor + kSetEnable, kBit);
  const uint32_t enabled = Load32(kDistributor + kSetEnable);
  Store32(kDistributor + kClearEnable, kBit);
  const uint32_t after = Load32(kDistributor + kSetEnable);
  if ((before & kBit) != 0 || enabled != (before | kBit) || after != before) {
    report_.Lost("enabled interrupts", before, enabled, after);
  }
  const auto priority = static_cast<uint8_t>(random_.Below(16) << 4);
  bare::Store<uint8_t>(kDistributor + kPriority, priority);
  const uint8_t got = bare::Load<uint8_t>(kDistributor + kPriority);
  if (got != priority) report_.Lost("priority of an interrupt", priority, got);
  report_.Done();
}

void GicOracle::Finish() const {
  report_.Begin();
  report_.End();
}

void PowerOracle::Round() {
  const uint64_t version = bare::Hvc(kVersion).x0;
  if (version != kVersionIs) report_.Lost("PSCI version", version);
  if (bare::Hvc(kAffinityInfo, 1).x0 != 1) report_.Lost("the second vCPU is not off");
  const uint64_t status = bare::Hvc(kCpuOn, 1, reinterpret_cast<uint64_t>(secondary_start),
                                    reinterpret_cast<uint64_t>(second_stack + sizeof(second_stack)))
                              .x0;
  if (status != 0) report_.Lost("CPU_ON", status);
  ++on_;
  // It wakes nobody, so this looks often.
  bool off = false;
  const uint64_t end = bare::Counter() + Ticks(patience);
  while (!off && bare::Counter() < end) {
    WaitFor([] { return false; }, 50);
    off = bare::Hvc(kAffinityInfo, 1).x0 == 1;
  }
  if (!off) report_.Lost("the second vCPU does not turn off", on_, second_lives);
  if (second_lives != on_) report_.Lost("life of the second vCPU", on_, second_lives);
  report_.Done();
}

void PowerOracle::Finish() const {
  report_.Begin();
  report_.End();
}

}  // namespace oracle

extern "C" void SecondaryMain() { oracle::second_lives = oracle::second_lives + 1; }
