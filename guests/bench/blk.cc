// A virtio-blk driver that polls: 32 reads or writes of 4 KiB at a time, one notification for all of them, no interrupt.
// The device is the first of the virtio-mmio slots that has one.
#include "guests/bench/bench.h"

namespace {

using namespace bare;

// Registers and bits (VIRTIO 1.2, 4.2.2, 2.1, 2.7).
inline constexpr uint32_t kDeviceId = 0x08, kDriverFeatures = 0x20, kDriverFeaturesSel = 0x24,
                          kQueueSel = 0x30, kQueueNum = 0x38, kQueueReady = 0x44,
                          kQueueNotify = 0x50, kStatus = 0x70, kQueueDesc = 0x80,
                          kQueueDriver = 0x90, kQueueDevice = 0xa0;
inline constexpr uint32_t kBlockDevice = 2, kFeaturesOk = 11, kDriverOk = 15, kSlots = 32,
                          kSlotBytes = 0x200;
inline constexpr uint16_t kNext = 1, kWrite = 2, kNoInterrupt = 1;

inline constexpr uint32_t kDepth = 32, kEntries = 128, kPerRequest = 3;
inline constexpr uint32_t kBatches = 128;
inline constexpr uint32_t kBytes = 4096, kSectors = kBytes / 512, kBlocks = 128;
inline constexpr uint32_t kIn = 0, kOut = 1;

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
struct Request {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
struct alignas(4096) Queue {
  Descriptor descriptors[kEntries];
  struct {
    uint16_t flags;
    volatile uint16_t index;
    uint16_t ring[kEntries];
  } avail;
  alignas(64) struct {
    uint16_t flags;
    volatile uint16_t index;
    struct {
      uint32_t id, length;
    } ring[kEntries];
  } used;
};
Queue queue;
Request requests[kDepth];
volatile uint8_t status[kDepth];
alignas(4096) char data[kDepth][kBytes];
uintptr_t device;

template <typename T>
uint64_t Address(T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

void WriteAddress(uint32_t offset, uint64_t address) {
  Store32(device + offset, static_cast<uint32_t>(address));
  Store32(device + offset + 4, static_cast<uint32_t>(address >> 32));
}

// Atoll's first disk is in slot 0; QEMU's own machine has its slots 512 bytes apart, and disks in the last ones.
uintptr_t FindDevice() {
  for (uintptr_t slot = 0; slot < kSlots; ++slot) {
    const uintptr_t base = kVirtio + slot * kSlotBytes;
    if (Load32(base + kDeviceId) == kBlockDevice) return base;
  }
  Print("FAIL there is no virtio-blk device\n");
  PowerOff();
}

void StartDevice() {
  Store32(device + kStatus, 0);
  Store32(device + kStatus, 3);  // ACKNOWLEDGE, DRIVER
  Store32(device + kDriverFeaturesSel, 0);
  Store32(device + kDriverFeatures, 0);
  Store32(device + kDriverFeaturesSel, 1);
  Store32(device + kDriverFeatures, 1);  // VERSION_1
  Store32(device + kStatus, kFeaturesOk);
  Store32(device + kQueueSel, 0);
  Store32(device + kQueueNum, kEntries);
  WriteAddress(kQueueDesc, Address(queue.descriptors));
  WriteAddress(kQueueDriver, Address(queue.avail));
  WriteAddress(kQueueDevice, Address(queue.used));
  Store32(device + kQueueReady, 1);
  queue.avail.flags = kNoInterrupt;
  Store32(device + kStatus, kDriverOk);
}

void Prepare(uint32_t type) {
  for (uint16_t i = 0; i < kDepth; ++i) {
    const auto head = static_cast<uint16_t>(i * kPerRequest);
    const auto second = static_cast<uint16_t>(head + 1), third = static_cast<uint16_t>(head + 2);
    requests[i] = {.type = type, .reserved = 0, .sector = 0};
    queue.descriptors[head] = {Address(requests[i]), sizeof(Request), kNext, second};
    queue.descriptors[second] = {Address(data[i]), kBytes,
                                 static_cast<uint16_t>(type == kIn ? kNext | kWrite : kNext),
                                 third};
    queue.descriptors[third] = {reinterpret_cast<uint64_t>(&status[i]), 1, kWrite, 0};
  }
}

void RunBatch(uint32_t batch) {
  const uint16_t first = queue.avail.index;
  for (uint32_t i = 0; i < kDepth; ++i) {
    requests[i].sector = (batch * 37 + i * 5) % kBlocks * kSectors;
    queue.avail.ring[(first + i) % kEntries] = static_cast<uint16_t>(i * kPerRequest);
  }
  asm volatile("dmb ish" ::: "memory");
  queue.avail.index = static_cast<uint16_t>(first + kDepth);
  asm volatile("dsb ish" ::: "memory");
  Store32(device + kQueueNotify, 0);
  while (queue.used.index != static_cast<uint16_t>(first + kDepth)) {
  }
}

void Measure(std::string_view name, uint32_t type) {
  Prepare(type);
  RunBatch(0);
  MarkBegin();
  const uint64_t start = Counter();
  for (uint32_t batch = 0; batch < kBatches; ++batch) RunBatch(batch);
  const uint64_t ticks = Counter() - start;
  MarkEnd();
  for (const volatile uint8_t& one : status) {
    if (one != 0) Print("FAIL a request was refused\n");
  }
  Report(name, Hundredths(ticks, kBatches * kDepth));
}

}  // namespace

extern "C" void GuestMain(uint64_t) {
  device = FindDevice();
  StartDevice();
  Measure("polling_read_32", kIn);
  Measure("polling_write_32", kOut);
  Print("BENCH done 0\n");
}

extern "C" void SecondaryMain() {}
