// A VM's other devices, which must not notice what becomes of the crasher: each access has one right answer.
#ifndef ATOLL_TESTS_FAULT_OTHERS_H_
#define ATOLL_TESTS_FAULT_OTHERS_H_

#include "guests/tests/test.h"

namespace crasher {

class OtherDevices {
 public:
  // What Use relies on; before it.
  void Prepare() {
    rounds_ = 0;
    wrong_ = 0;
    bare::EnableInterrupt(kSpareIntid);
    bare::Store<uint8_t>(kPriority, kPriorityValue);
    first_ = bare::Load32(bare::kRtc);
    last_ = first_;
  }

  // One round, on any vCPU.
  void Use() {
    const uint32_t now = bare::Load32(bare::kRtc);
    if (now < last_ || now - first_ > 60) wrong_ = 1;
    last_ = now;
    if (bare::Load32(bare::kVirtio) != kVirtioMagic) wrong_ = 2;
    const uint32_t flags = bare::Load32(kUartFlags);
    if ((flags & 0x20) != 0 && (flags & 0x80) != 0) wrong_ = 3;  // full and empty
    if ((bare::Load32(kSetEnable) & 1u << (kSpareIntid - 32)) == 0) wrong_ = 4;
    if (bare::Load<uint8_t>(kPriority) != kPriorityValue) wrong_ = 5;
    if (bare::Hvc(0x8400'0000).x0 != 0x1'0001) wrong_ = 6;  // PSCI_VERSION: 1.1
    rounds_ = rounds_ + 1;
  }

  void Finish() { bare::DisableInterrupt(kSpareIntid); }

  uint32_t rounds() const { return rounds_; }
  uint32_t wrong() const { return wrong_; }  // which of them gave a wrong answer; 0: none

 private:
  static constexpr uint32_t kVirtioMagic = 0x7472'6976;
  static constexpr uint32_t kSpareIntid = 40;
  static constexpr uint8_t kPriorityValue = 0x50;
  static constexpr uintptr_t kSetEnable =
      bare::kDistributor + 0x104;  // GICD_ISENABLER1: INTIDs 32..63
  static constexpr uintptr_t kPriority =
      bare::kDistributor + 0x400 + kSpareIntid;  // GICD_IPRIORITYR, by byte
  static constexpr uintptr_t kUartFlags = bare::kUart + 0x18;

  volatile uint32_t rounds_ = 0;
  volatile uint32_t wrong_ = 0;
  volatile uint32_t first_ = 0;
  volatile uint32_t last_ = 0;
};

}  // namespace crasher

#endif  // ATOLL_TESTS_FAULT_OTHERS_H_
