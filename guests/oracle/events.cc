#include "guests/oracle/events.h"

namespace oracle {
namespace {

inline constexpr uint32_t kSlots = 8;
inline constexpr uint32_t kInterruptStatus = 0x60, kInterruptAck = 0x64;  // VIRTIO 1.2, 4.2.2
Device* devices[kSlots];
volatile bool noted[kSlots];

void OnInterrupt(uint32_t intid) {
  if (intid == bare::kVirtualTimerIntid) {
    BARE_WRITE("cntv_ctl_el0", 0);
    return;
  }
  const uint32_t slot = intid - bare::kVirtioIntid;
  if (slot >= kSlots) return;
  devices[slot]->Acknowledge(bare::kVirtio + slot * uintptr_t{0x1000});
  noted[slot] = true;
}

}  // namespace

void Device::Acknowledge(uintptr_t base) {
  bare::Store32(base + kInterruptAck, bare::Load32(base + kInterruptStatus));
}

void StartEvents() {
  bare::InitializeGic();
  bare::SetInterruptHandler(OnInterrupt);
  bare::EnableInterrupt(bare::kVirtualTimerIntid);
}

void Attach(uint32_t slot, Device& device) {
  devices[slot] = &device;
  bare::EnableInterrupt(bare::kVirtioIntid + slot);
}

void ServeDevices() {
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    if (!noted[slot]) continue;
    noted[slot] = false;
    devices[slot]->OnInterrupt();
  }
}

void SleepUntil(uint64_t counter) {
  BARE_WRITE("cntv_cval_el0", counter);
  BARE_WRITE("cntv_ctl_el0", 1);
  bare::WaitForInterrupt();  // one that is masked wakes, too
  bare::UnmaskInterrupts();
  asm volatile("isb");
  bare::MaskInterrupts();
}

}  // namespace oracle
