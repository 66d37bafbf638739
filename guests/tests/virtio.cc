// A block device behind virtio-mmio, by a minimal driver and by a hostile one (checklists: virtio-core, virtio-blk).
// Slot 0 is disk 0, slot 1 disk 1; both hold what tests/guest/run_guest_test.py wrote.
#include "guests/tests/test.h"

namespace bare {
namespace {

// Registers (VIRTIO 1.2, 4.2.2).
inline constexpr uint32_t kDeviceFeatures = 0x10, kDeviceFeaturesSel = 0x14, kDriverFeatures = 0x20,
                          kDriverFeaturesSel = 0x24, kQueueSel = 0x30, kQueueNum = 0x38,
                          kQueueReady = 0x44, kQueueNotify = 0x50, kInterruptStatus = 0x60,
                          kInterruptAck = 0x64, kStatus = 0x70, kQueueDesc = 0x80,
                          kQueueDriver = 0x90, kQueueDevice = 0xa0, kConfigGeneration = 0xfc,
                          kConfig = 0x100;
inline constexpr uint32_t kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8,
                          kNeedsReset = 64;
inline constexpr uint32_t kRunning = kAcknowledge | kDriver | kFeaturesOk | kDriverOk;
inline constexpr uintptr_t kRamEnd = kRam + 64 * 1024 * 1024;

inline constexpr uint32_t kEntries = 8;
inline constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
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
    uint16_t flags, index, ring[kEntries], used_event;
  } avail;
  alignas(64) struct {
    uint16_t flags, index;
    struct {
      uint32_t id, length;
    } ring[kEntries];
    uint16_t avail_event;
  } used;
};
Queue queues[2];
Request request;
alignas(512) uint8_t data[2][4096];
volatile uint8_t status;

uintptr_t Slot(uint32_t disk) { return kVirtio + disk * 0x1000; }
uint32_t Read(uint32_t offset, uint32_t disk = 0) { return Load32(Slot(disk) + offset); }
void Write(uint32_t offset, uint32_t value, uint32_t disk = 0) {
  Store32(Slot(disk) + offset, value);
}
void WriteAddress(uint32_t offset, uint64_t address, uint32_t disk = 0) {
  Write(offset, static_cast<uint32_t>(address), disk);
  Write(offset + 4, static_cast<uint32_t>(address >> 32), disk);
}
template <typename T>
uint64_t Address(T& object) {
  return reinterpret_cast<uint64_t>(&object);
}

bool Negotiate(uint32_t disk = 0, uint32_t low = 1u << 9) {
  Write(kStatus, 0, disk);
  Write(kStatus, kAcknowledge | kDriver, disk);
  Write(kDriverFeaturesSel, 0, disk);
  Write(kDriverFeatures, low, disk);
  Write(kDriverFeaturesSel, 1, disk);
  Write(kDriverFeatures, 1, disk);
  Write(kStatus, kAcknowledge | kDriver | kFeaturesOk, disk);
  return (Read(kStatus, disk) & kFeaturesOk) != 0;
}
void SetQueue(uint64_t descriptors, uint64_t avail, uint64_t used, uint32_t size = kEntries,
              uint32_t disk = 0) {
  Write(kQueueSel, 0, disk);
  Write(kQueueNum, size, disk);
  WriteAddress(kQueueDesc, descriptors, disk);
  WriteAddress(kQueueDriver, avail, disk);
  WriteAddress(kQueueDevice, used, disk);
  Write(kQueueReady, 1, disk);
}
// From reset to DRIVER_OK with an empty queue.
bool Start(uint32_t disk = 0) {
  if (!Negotiate(disk)) return false;
  Queue& queue = queues[disk];
  queue = {};
  SetQueue(Address(queue.descriptors), Address(queue.avail), Address(queue.used), kEntries, disk);
  if (Read(kQueueReady, disk) != 1) return false;
  Write(kStatus, kRunning, disk);
  return Read(kStatus, disk) == kRunning;
}
void Offer(uint16_t head, uint32_t disk = 0) {
  Queue& queue = queues[disk];
  queue.avail.ring[queue.avail.index % kEntries] = head;
  asm volatile("dmb ish" ::: "memory");
  queue.avail.index = static_cast<uint16_t>(queue.avail.index + 1);
  asm volatile("dsb ish" ::: "memory");
  Write(kQueueNotify, 0, disk);
}
uint16_t UsedIndex(uint32_t disk = 0) {
  return *const_cast<volatile uint16_t*>(&queues[disk].used.index);
}

volatile uint32_t waiting_disk;
volatile uint16_t waiting_index;
bool Completed(uint32_t disk, uint16_t index) {
  waiting_disk = disk;
  waiting_index = index;
  return WaitUntil([] { return UsedIndex(waiting_disk) == waiting_index; }, 200);
}
// A request of type `type`; its status, or 0xff if it was not completed.
uint8_t Transfer(uint32_t type, uint64_t sector, uint64_t address, uint32_t bytes, bool into_memory,
                 uint32_t disk = 0) {
  Queue& queue = queues[disk];
  request = {.type = type, .reserved = 0, .sector = sector};
  status = 0xff;
  queue.descriptors[0] = {Address(request), sizeof(Request), kNext, 1};
  uint16_t last = 1;
  if (bytes != 0) {
    queue.descriptors[1] = {address, bytes,
                            static_cast<uint16_t>(kNext | (into_memory ? kWrite : 0)), 2};
    last = 2;
  }
  queue.descriptors[last] = {reinterpret_cast<uint64_t>(&status), 1, kWrite, 0};
  const auto before = UsedIndex(disk);
  Offer(0, disk);
  if (!Completed(disk, static_cast<uint16_t>(before + 1))) return 0xff;
  Write(kInterruptAck, 3, disk);
  return status;
}
uint8_t ReadSector(uint64_t sector, uint32_t disk = 0) {
  return Transfer(0, sector, Address(data[disk]), 512, true, disk);
}
uint32_t SectorNumber(uint32_t disk = 0) {
  return *reinterpret_cast<volatile uint32_t*>(data[disk]);
}

// The device works after a reset, whatever was done to it.
bool WorksAgain(uint32_t disk = 0) {
  return Start(disk) && ReadSector(3, disk) == 0 && SectorNumber(disk) == 3 &&
         data[disk][4] == disk;
}
bool NeedsReset() {
  return WaitUntil([] { return (Read(kStatus) & kNeedsReset) != 0; }, 200);
}

TEST(MMIO_01_MMIO_02_MMIO_03_MMIO_04_identity) {
  for (uint32_t disk = 0; disk < 2; ++disk) {
    EXPECT_EQ(Read(0, disk), 0x7472'6976);
    EXPECT_EQ(Read(4, disk), 2);
    EXPECT_EQ(Read(8, disk), 2);
    EXPECT_EQ(Read(0xc, disk), Read(0xc, 0));
    EXPECT_EQ(Read(kStatus, disk), 0);
  }
}

TEST(MMIO_05_CORE_10_BLK_02_features_and_configuration) {
  Write(kDeviceFeaturesSel, 1);
  EXPECT_EQ(Read(kDeviceFeatures) & 1, 1);
  Write(kDeviceFeaturesSel, 2);
  EXPECT_EQ(Read(kDeviceFeatures), 0);
  Write(kDeviceFeaturesSel, 0);
  EXPECT_EQ(Read(kDeviceFeatures) >> 9 & 1, 1);  // FLUSH
  EXPECT_EQ(Read(kConfig), 2048);
  EXPECT_EQ(Read(kConfig + 4), 0);
  EXPECT_EQ(Load<uint8_t>(Slot(0) + kConfig + 1), 8);
  EXPECT_EQ(Load<uint16_t>(Slot(0) + kConfig + 0), 2048);
  const uint32_t generation = Read(kConfigGeneration);
  EXPECT_EQ(Read(kConfigGeneration), generation);
}

TEST(BLK_27_BLK_28_BLK_29_MEM_12_reads_writes_and_flushes) {
  REQUIRE(Start());
  for (const uint32_t sector : {0u, 1u, 7u, 2047u}) {
    data[0][4] = 0xff;
    EXPECT_EQ(ReadSector(sector), 0);
    EXPECT_EQ(SectorNumber(), sector);
    EXPECT_EQ(data[0][4], 0);
  }
  for (uint32_t i = 0; i < 512; ++i) data[0][i] = static_cast<uint8_t>(i * 7);
  EXPECT_EQ(Transfer(1, 100, Address(data[0]), 512, false), 0);
  EXPECT_EQ(Transfer(4, 0, 0, 0, false), 0);
  for (uint8_t& byte : data[0]) byte = 0;
  EXPECT_EQ(ReadSector(100), 0);
  for (uint32_t i = 0; i < 512; ++i) EXPECT_EQ(data[0][i], static_cast<uint8_t>(i * 7));
  EXPECT_EQ(ReadSector(101), 0);  // its neighbour is as it was
  EXPECT_EQ(SectorNumber(), 101);
}

TEST(MMIO_22_BLK_76_disks_are_separate) {
  REQUIRE(Start(0) && Start(1));
  for (uint32_t disk = 0; disk < 2; ++disk) {
    EXPECT_EQ(ReadSector(5, disk), 0);
    EXPECT_EQ(SectorNumber(disk), 5);
    EXPECT_EQ(data[disk][4], disk);
  }
  Write(kStatus, 0, 0);  // the other runs on
  EXPECT_EQ(ReadSector(6, 1), 0);
  EXPECT_EQ(SectorNumber(1), 6);
}

TEST(MMIO_14_MMIO_16_MMIO_18_interrupt_is_a_level) {
  REQUIRE(Start());
  EnableInterrupt(kVirtioIntid);
  CountInterrupts([](uint32_t) { Write(kInterruptAck, Read(kInterruptStatus)); });
  UnmaskInterrupts();
  for (uint32_t i = 1; i <= 10; ++i) {
    request = {.type = 0, .reserved = 0, .sector = i};
    queues[0].descriptors[0] = {Address(request), sizeof(Request), kNext, 1};
    queues[0].descriptors[1] = {Address(data[0]), 512, kNext | kWrite, 2};
    queues[0].descriptors[2] = {reinterpret_cast<uint64_t>(&status), 1, kWrite, 0};
    Offer(0);
    while (interrupts.total < i) WaitForInterrupt();
    EXPECT_EQ(UsedIndex(), i);
  }
  MaskInterrupts();
  EXPECT_EQ(interrupts.total, 10);
  EXPECT(!IsPending(kVirtioIntid));
  EXPECT_EQ(Read(kInterruptStatus), 0);
  // Not acknowledged: the line stays, until reset at the latest (MMIO_20).
  Offer(0);
  EXPECT(Completed(0, 11));
  EXPECT_EQ(Read(kInterruptStatus), 1);
  EXPECT(IsPending(kVirtioIntid));
  Write(kInterruptAck, 0xffff'fffe);
  EXPECT(IsPending(kVirtioIntid));
  Write(kStatus, 0);
  EXPECT(!IsPending(kVirtioIntid));
  EXPECT_EQ(Read(kInterruptStatus), 0);
  DisableInterrupt(kVirtioIntid);
}

TEST(HOSTILE_32_HOSTILE_33_accesses_of_every_size_and_alignment) {
  REQUIRE(Start());
  const uintptr_t slot = Slot(0);
  for (uintptr_t offset = 0; offset < kConfig; offset += 1) {
    if (offset % 4 != 0) {
      EXPECT_EQ(Load<uint8_t>(slot + offset), 0);
      if (offset % 2 == 0) EXPECT_EQ(Load<uint16_t>(slot + offset), 0);
      (void)FaultsOf([=] { (void)Load32(slot + offset); });
    }
    Store<uint8_t>(slot + offset, 0xff);
    if (offset % 2 == 0) Store<uint16_t>(slot + offset, 0);
    if (offset % 8 == 0) Store<uint64_t>(slot + offset, 0);
  }
  EXPECT_EQ(Load<uint64_t>(slot), 0);
  EXPECT_EQ(Load<uint8_t>(slot), 0);
  EXPECT_EQ(Read(kStatus), kRunning);
  EXPECT_EQ(Load<uint64_t>(slot + kConfig), 2048);
  EXPECT_EQ(Load<uint32_t>(slot + kConfig + 1), 8);
  EXPECT_EQ(Load<uint64_t>(slot + 0xff8), 0);
  EXPECT_EQ(ReadSector(9), 0);
  EXPECT_EQ(SectorNumber(), 9);
}

TEST(HOSTILE_36_accesses_without_syndrome_abort_and_change_nothing) {
  REQUIRE(Start());
  const auto aborts = [](auto body) { return FaultsOf(body).ExternalAbort(); };
  EXPECT(aborts([] { asm volatile("stp wzr, wzr, [%0]" ::"r"(Slot(0) + kStatus) : "memory"); }));
  EXPECT(aborts([] {
    asm volatile("ldp w9, w10, [%0]" ::"r"(Slot(0) + kStatus) : "w9", "w10", "memory");
  }));
  EXPECT(aborts([] {
    asm volatile("mov x9, %0\n\tstr wzr, [x9], #4" ::"r"(Slot(0) + kStatus) : "x9", "memory");
  }));
  EXPECT(aborts([] {
    asm volatile("swp wzr, w9, [%0]" ::"r"(Slot(0) + kStatus) : "w9", "memory");
  }));
  EXPECT(aborts([] { asm volatile("ldxr w9, [%0]" ::"r"(Slot(0) + kStatus) : "w9", "memory"); }));
  EXPECT(aborts([] {
    asm volatile(".arch_extension fp\n\tstr s0, [%0]" ::"r"(Slot(0) + kStatus) : "memory");
  }));
  EXPECT_EQ(Read(kStatus), kRunning);
  EXPECT_EQ(ReadSector(4), 0);
  EXPECT_EQ(SectorNumber(), 4);
}

TEST(HOSTILE_06_HOSTILE_05_BLK_72_buffers_that_are_no_ram) {
  for (const uint64_t address :
       {0x0ull, 0x0800'0000ull, 0x0900'0000ull, 0x0a00'0000ull, 0x3fff'ff00ull, 0x43ff'ff00ull,
        0x4400'0000ull, 0x1'0000'0000ull, 1ull << 48, ~0ull - 255, ~0ull}) {
    for (const uint32_t type : {0u, 1u}) {
      REQUIRE(Start());
      EXPECT(Transfer(type, 2, address, 512, type == 0) != 0);
      EXPECT(WorksAgain());
    }
  }
  EXPECT_EQ(Load<uint64_t>(kRamEnd - 256), 0);  // nothing of what fitted was written
  // The header, the status byte, the chain's own descriptors.
  REQUIRE(Start());
  queues[0].descriptors[0] = {0x0900'0000, sizeof(Request), kNext, 1};
  queues[0].descriptors[1] = {0x0900'0000, 1, kWrite, 0};
  Offer(0);
  EXPECT(NeedsReset());
  EXPECT(WorksAgain());
}

TEST(HOSTILE_08_HOSTILE_22_HOSTILE_23_bad_queues) {
  const uint64_t good = Address(queues[0].descriptors);
  for (const uint32_t size : {0u, 3u, 0x8000u, 0x1'0000u, 0xffff'ffffu, 0x8000'0000u}) {
    REQUIRE(Negotiate());
    SetQueue(good, Address(queues[0].avail), Address(queues[0].used), size);
    EXPECT_EQ(Read(kQueueReady), 0);
  }
  for (const uint64_t area : {0x0ull, 0x0800'0000ull, 0x4400'0000ull, 0x43ff'fff0ull,
                              ~0ull & ~0xfull, 1ull << 52, 0x4000'0001ull}) {
    for (int which = 0; which < 3; ++which) {
      REQUIRE(Negotiate());
      SetQueue(which == 0 ? area : good, which == 1 ? area : Address(queues[0].avail),
               which == 2 ? area : Address(queues[0].used));
      Write(kStatus, kRunning);
      Write(kQueueNotify, 0);
      EXPECT(Read(kQueueReady) == 0 || (Read(kStatus) & kNeedsReset) != 0);
      EXPECT(WorksAgain());
    }
  }
}

TEST(HOSTILE_01_HOSTILE_02_HOSTILE_03_HOSTILE_11_broken_rings) {
  const auto breaks = [](auto set_up) {
    if (!Start()) return false;
    set_up(queues[0]);
    asm volatile("dsb sy" ::: "memory");
    Write(kQueueNotify, 0);
    return NeedsReset() && (Read(kInterruptStatus) & 2) != 0 && WorksAgain();
  };
  EXPECT(breaks([](Queue& q) {
    q.avail.ring[0] = kEntries;
    q.avail.index = 1;
  }));
  EXPECT(breaks([](Queue& q) {
    q.avail.ring[0] = 0xffff;
    q.avail.index = 1;
  }));
  EXPECT(breaks([](Queue& q) {
    q.descriptors[0] = {Address(request), 16, kNext, 0xffff};
    q.avail.index = 1;
  }));
  EXPECT(breaks([](Queue& q) {
    for (uint16_t i = 0; i < kEntries; ++i) {
      q.descriptors[i] = {Address(data[0]), 16, kNext, static_cast<uint16_t>((i + 1) % kEntries)};
    }
    q.avail.index = 1;
  }));
  EXPECT(breaks([](Queue& q) { q.avail.index = kEntries + 1; }));
  EXPECT(breaks([](Queue& q) { q.avail.index = 0x8000; }));
  EXPECT(breaks([](Queue& q) {  // INDIRECT was not negotiated
    q.descriptors[0] = {Address(data[0]), 64, kIndirect, 0};
    q.avail.index = 1;
  }));
}

TEST(BLK_31_BLK_63_BLK_64_bad_requests) {
  REQUIRE(Start());
  EXPECT_EQ(Transfer(99, 0, Address(data[0]), 512, true), 2);
  for (const uint64_t sector : {2048ull, 1ull << 32, 1ull << 55, ~0ull, ~0ull >> 9}) {
    EXPECT_EQ(Transfer(0, sector, Address(data[0]), 512, true), 1);
    EXPECT_EQ(Transfer(1, sector, Address(data[0]), 512, false), 1);
  }
  EXPECT_EQ(Transfer(0, 2047, Address(data[0]), 1024, true), 1);
  EXPECT_EQ(Transfer(0, 0, Address(data[0]), 511, true), 1);
  EXPECT_EQ(ReadSector(2047), 0);
  EXPECT_EQ(SectorNumber(), 2047);
}

TEST(HOSTILE_26_HOSTILE_27_notifications_of_every_kind) {
  Write(kStatus, 0);
  for (const uint32_t value : {0u, 1u, 7u, 63u, 64u, 0x1'0000u, 0xffff'ffffu})
    Write(kQueueNotify, value);
  EXPECT_EQ(Read(kStatus), 0);
  REQUIRE(Start());
  for (uint32_t i = 0; i < 5000; ++i) Write(kQueueNotify, 0);
  for (const uint32_t value : {1u, 7u, 63u, 64u, 0x1'0000u, 0xffff'ffffu})
    Write(kQueueNotify, value);
  EXPECT_EQ(Read(kStatus), kRunning);
  EXPECT_EQ(UsedIndex(), 0);
  EXPECT_EQ(ReadSector(8), 0);
}

TEST(HOSTILE_35_CORE_21_CORE_22_reset_under_requests) {
  for (uint32_t i = 0; i < 100; ++i) {
    REQUIRE(Start());
    request = {.type = 0, .reserved = 0, .sector = 0};
    queues[0].descriptors[0] = {Address(request), sizeof(Request), kNext, 1};
    queues[0].descriptors[1] = {Address(data[0]), 4096, kNext | kWrite, 2};
    queues[0].descriptors[2] = {reinterpret_cast<uint64_t>(&status), 1, kWrite, 0};
    for (int j = 0; j < 4; ++j) Offer(0);
    Write(kStatus, 0);
    EXPECT_EQ(Read(kStatus), 0);
    const uint16_t index = UsedIndex();
    if (i % 10 == 0) Spin(500);
    EXPECT_EQ(UsedIndex(), index);
  }
  EXPECT(WorksAgain());
}

TEST(HOSTILE_25_HOSTILE_31_random_register_writes) {
  uint64_t random = 0x1234'5678'9abc'def1;
  for (int i = 0; i < 5000; ++i) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    Store32(Slot(0) + (random >> 8 & 0xffc),
            static_cast<uint32_t>(random >> 32 & (i % 2 == 0 ? 0xff : ~0u)));
    (void)Read(random >> 20 & 0xffc);
  }
  EXPECT(WorksAgain(0));
  EXPECT(WorksAgain(1));
}

}  // namespace
}  // namespace bare
