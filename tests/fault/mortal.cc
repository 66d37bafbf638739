// Counts its lives on its disk, looks whether all but that is as new, and ends: by a reset, by turning itself off, or
// by a device whose service is lost for good. It rests in its last life.
#include "guests/bare/bare.h"
#include "tests/fault/crasher/guest.h"

namespace {

using bare::Load32;
using bare::Store32;

inline constexpr uint32_t kLives = 6;

// A virtio-blk driver with one request at a time (VIRTIO 1.2, 2.7 and 4.2.2).
struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags, next;
};
struct alignas(4096) Queue {
  Descriptor descriptors[4];
  struct {
    uint16_t flags, index, ring[4], used_event;
  } avail;
  alignas(64) struct {
    uint16_t flags, index;
    struct {
      uint32_t id, length;
    } ring[4];
    uint16_t avail_event;
  } used;
};
struct Header {
  uint32_t type, reserved;
  uint64_t sector;
};
Queue queue;
Header header;
volatile uint8_t status;
alignas(512) uint32_t sector[128];

template <typename T>
uint64_t Address(T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

void Write(uint32_t offset, uint32_t value) { Store32(bare::kVirtio + offset, value); }
void WriteAddress(uint32_t offset, uint64_t address) {
  Write(offset, static_cast<uint32_t>(address));
  Write(offset + 4, static_cast<uint32_t>(address >> 32));
}

void StartDisk() {
  Write(0x70, 0);
  Write(0x70, 3);  // ACKNOWLEDGE, DRIVER
  Write(0x24, 1);
  Write(0x20, 1);   // VIRTIO_F_VERSION_1
  Write(0x70, 11);  // FEATURES_OK
  Write(0x30, 0);
  Write(0x38, 4);
  WriteAddress(0x80, Address(queue.descriptors));
  WriteAddress(0x90, Address(queue.avail));
  WriteAddress(0xa0, Address(queue.used));
  Write(0x44, 1);
  Write(0x70, 15);  // DRIVER_OK
}

bool Transfer(uint32_t type) {
  header = {.type = type, .reserved = 0, .sector = 7};
  status = 0xff;
  queue.descriptors[0] = {Address(header), sizeof(header), 1, 1};
  queue.descriptors[1] = {Address(sector), sizeof(sector), static_cast<uint16_t>(type == 0 ? 3 : 1),
                          2};
  queue.descriptors[2] = {reinterpret_cast<uint64_t>(&status), 1, 2, 0};
  queue.avail.ring[queue.avail.index % 4] = 0;
  asm volatile("dmb ish" ::: "memory");
  ++queue.avail.index;
  asm volatile("dsb ish" ::: "memory");
  Write(0x50, 0);
  while (status == 0xff) {
  }
  Write(0x64, 3);
  return status == 0;
}

// Whatever an earlier life left is gone: RAM, the crasher's journal, the UART's registers.
bool IsNew() {
  constexpr uintptr_t kFirst = bare::kRam + 8 * 1024 * 1024, kStep = 64 * 1024;
  bool is_new = crasher::Read(crasher::kScratch) == 0 && Load32(bare::kUart + 0x24) == 0;
  for (uintptr_t address = kFirst; address < bare::kRam + 60 * 1024 * 1024; address += kStep) {
    is_new = is_new && bare::Load<uint64_t>(address) == 0;
    bare::Store<uint64_t>(address, ~address);
  }
  crasher::Write(crasher::kScratch, 0x1234'5678);
  Store32(bare::kUart + 0x24, 0x55);
  return is_new;
}

[[noreturn]] void End(uint32_t life) {
  switch (life % 3) {
    case 0: (void)bare::Hvc(0x8400'0009); break;  // SYSTEM_RESET
    case 1: bare::PowerOff();
    default:
      crasher::Write(crasher::kEndAtStart, crasher::kEndAtStartValue);
      crasher::Command(crasher::kNullWrite);
  }
  bare::Print("FAIL it lives on\n");
  for (;;) asm volatile("wfi");
}

}  // namespace

extern "C" void SecondaryMain() {
  for (;;) (void)Load32(bare::kRtc);  // in the middle of an access at the end
}

extern "C" void GuestMain(uint64_t) {
  const bool is_new = IsNew();
  StartDisk();
  if (!Transfer(0)) bare::Print("FAIL read\n");
  const uint32_t life = sector[5];
  sector[5] = life + 1;
  if (!Transfer(1)) bare::Print("FAIL write\n");
  bare::Print("LIFE ");
  bare::PrintNumber(life);
  bare::Print(is_new ? " is new\n" : " remembers\n");
  if (life == kLives) {
    for (;;) asm volatile("wfi");
  }
  End(life);
}
