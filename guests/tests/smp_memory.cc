// Memory, translation, devices and turns of all vCPUs at once (checklist: timer-cpu; pl011, pl031).
#include "guests/tests/translation.h"
#include "guests/tests/vcpus.h"

namespace bare {
namespace {

// Everything here but the device tests runs with the MMU on, so that exclusives are on Normal memory.
Table table;
alignas(4096) uint64_t middle[512];  // levels 2 and 3 of kMoving
alignas(4096) uint64_t last[512];
alignas(4096) volatile uint64_t pages[2][512];
inline constexpr uintptr_t kMoving = 0x8000'0000;

void MapMoving(uint32_t page) {
  last[0] = reinterpret_cast<uint64_t>(&pages[page]) | kTableOrPage | kNormalMemory;
  asm volatile("dsb ishst\n\tisb" ::: "memory");
}
void PrepareTables() {
  MapIdentity(table, k4K);
  middle[0] = reinterpret_cast<uint64_t>(last) | kTableOrPage;
  table.entry[2] = reinterpret_cast<uint64_t>(middle) | kTableOrPage;
}
// RunOnAll with the MMU on.
void (*volatile mapped_work)();
bool RunMapped(void (*work)()) {
  PrepareTables();
  mapped_work = work;
  return RunOnAll([] {
    EnableMmu(table, k4K);
    mapped_work();
    DisableMmu();
  });
}

TEST(CPU_01_ID_01_numbers_and_id_registers) {
  static uint64_t registers[kMostVcpus][12];
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    CHECK((BARE_READ("mpidr_el1") & 0xff'00ff'ffff) == self);
    const uint64_t found[] = {
        BARE_READ("id_aa64pfr0_el1"),  BARE_READ("id_aa64pfr1_el1"),  BARE_READ("id_aa64dfr0_el1"),
        BARE_READ("id_aa64isar0_el1"), BARE_READ("id_aa64isar1_el1"), BARE_READ("id_aa64mmfr0_el1"),
        BARE_READ("id_aa64mmfr1_el1"), BARE_READ("id_aa64mmfr2_el1"), BARE_READ("midr_el1"),
        BARE_READ("ctr_el0"),          BARE_READ("cntfrq_el0"),       BARE_READ("dczid_el0")};
    for (uint32_t i = 0; i < 12; ++i) registers[self][i] = found[i];
  }));
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    for (uint32_t i = 0; i < 12; ++i) EXPECT_EQ(registers[vcpu][i], registers[0][i]);
  }
}

// ---- exclusives and atomics ----------------------------------------------------------------------

inline constexpr uint32_t kAdds = 3000;

TEST(CPU_09_exclusives_of_all_vcpus_add_up) {
  static uint64_t word;
  word = 0;
  EXPECT(RunMapped([] {
    Meet();
    for (uint32_t i = 0; i < kAdds; ++i) {
      uint64_t value;
      uint32_t failed;
      asm volatile("1:\n\tldaxr %0, [%2]\n\tadd %0, %0, #1\n\tstlxr %w1, %0, [%2]\n\tcbnz %w1, 1b"
                   : "=&r"(value), "=&r"(failed)
                   : "r"(&word)
                   : "memory");
      if (i % 64 == 0) (void)Hvc(0x8400'0000);
    }
  }));
  EXPECT_EQ(word, uint64_t{kAdds} * VcpuCount());
}

TEST(CPU_09_single_instruction_atomics_of_all_vcpus_add_up) {
  if ((BARE_READ("id_aa64isar0_el1") >> 20 & 0xf) < 2) return;  // LSE
  static uint64_t word;
  static uint32_t bits;
  word = 0;
  bits = 0;
  EXPECT(RunMapped([] {
    const uint32_t mine = 1u << ThisVcpu();
    Meet();
    for (uint32_t i = 0; i < kAdds; ++i) {
      asm volatile("stadd %0, [%1]" ::"r"(uint64_t{1}), "r"(&word) : "memory");
      uint32_t old;
      asm volatile("ldsetal %w1, %w0, [%2]" : "=r"(old) : "r"(mine), "r"(&bits) : "memory");
      CHECK((old & mine) == 0);
      asm volatile("ldclral %w1, %w0, [%2]" : "=r"(old) : "r"(mine), "r"(&bits) : "memory");
      CHECK((old & mine) != 0);
    }
  }));
  EXPECT_EQ(word, uint64_t{kAdds} * VcpuCount());
  EXPECT_EQ(bits, 0);
}

TEST(TRAP_04_a_ticket_lock_serves_every_vcpu_in_its_turn) {
  static uint32_t next_ticket;
  static volatile uint32_t serving;
  static volatile uint64_t guarded[2];
  next_ticket = 0;
  serving = 0;
  guarded[0] = 0;
  guarded[1] = 0;
  constexpr uint32_t kRounds = 200;
  EXPECT(RunMapped([] {
    Meet();
    for (uint32_t i = 0; i < kRounds; ++i) {
      const uint32_t ticket = __atomic_fetch_add(&next_ticket, 1, __ATOMIC_ACQ_REL);
      while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != ticket) asm volatile("wfe");
      CHECK(guarded[0] == guarded[1]);
      guarded[0] = guarded[0] + 1;
      if (i % 16 == 0) (void)Load32(kRtc + 0xfe0);
      guarded[1] = guarded[1] + 1;
      __atomic_store_n(&serving, ticket + 1, __ATOMIC_RELEASE);
      asm volatile("dsb ishst\n\tsev" ::: "memory");
    }
  }));
  EXPECT_EQ(guarded[0], uint64_t{kRounds} * VcpuCount());
  EXPECT_EQ(guarded[1], uint64_t{kRounds} * VcpuCount());
}

TEST(CPU_09_stores_are_seen_in_the_order_of_their_release) {
  static volatile uint64_t data;
  static uint64_t flag;
  data = 0;
  flag = 0;
  EXPECT(RunMapped([] {
    Meet();
    if (ThisVcpu() == 0) {
      for (uint64_t i = 1; i <= 3000; ++i) {
        data = i;
        __atomic_store_n(&flag, i, __ATOMIC_RELEASE);
      }
      return;
    }
    for (uint64_t seen = 0; seen < 3000;) {
      seen = __atomic_load_n(&flag, __ATOMIC_ACQUIRE);
      CHECK(data >= seen);
      if (seen < 3000) asm volatile("wfe");
    }
  }));
}

// ---- translation -----------------------------------------------------------------------------------

inline constexpr uint64_t kPoison = 0xdead'dead'dead'dead;

// Level 0-3 translation faults of the moving page are waited out: the instruction is tried again.
bool RetryMoving(Frame& frame) {
  constexpr uint32_t kTranslationFault = 0x04;
  const auto exception_class = static_cast<uint32_t>(frame.esr >> 26) & 0x3f;
  return exception_class == kEcDataSame && (frame.esr & 0x3c) == kTranslationFault &&
         frame.far - kMoving < 4096;
}

volatile uint32_t flavour;
void InvalidateMoving() {
  const uint64_t page = kMoving >> 12;
  asm volatile("dsb ishst" ::: "memory");
  switch (flavour) {
    case 0: asm volatile("tlbi vaae1is, %0" ::"r"(page) : "memory"); break;
    case 1: asm volatile("tlbi vae1is, %0" ::"r"(page) : "memory"); break;
    case 2: asm volatile("tlbi vaale1is, %0" ::"r"(page) : "memory"); break;
    case 3: asm volatile("tlbi aside1is, xzr" ::: "memory"); break;
    default: asm volatile("tlbi vmalle1is" ::: "memory");
  }
  asm volatile("dsb ish\n\tisb" ::: "memory");
}

TEST(CACHE_06_a_page_moves_while_all_others_use_it) {
  constexpr uint64_t kMoves = 40;
  static volatile bool moved;
  static volatile uint64_t reads[kMostVcpus];
  SetFaultHook(RetryMoving);
  for (uint32_t which = 0; which < 5; ++which) {
    flavour = which;
    moved = false;
    pages[1][0] = 1;
    MapMoving(1);
    EXPECT(RunMapped([] {
      const uint32_t self = ThisVcpu();
      reads[self] = 0;
      uint64_t newest = 0;
      Meet();
      if (self != 0) {
        while (!moved) {
          const uint64_t value = Load<uint64_t>(kMoving);
          if (!CHECK(value != kPoison && value >= newest)) break;
          newest = value;
          reads[self] = reads[self] + 1;
          if (value % 8 == 0) asm volatile("wfe");  // lets the others run where one CPU serves all
        }
        return;
      }
      for (uint64_t i = 2; i <= kMoves; ++i) {
        const uint32_t page = i % 2;
        last[0] = 0;
        InvalidateMoving();
        // Nobody can reach the old page any more; whoever does reads this.
        pages[1 - page][0] = kPoison;
        pages[page][0] = i;
        MapMoving(page);
        if (i % 8 == 0) Spin(20);
      }
      for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu)
        CHECK(Patiently([=] { return reads[vcpu] != 0; }));
      moved = true;
    }));
  }
  SetFaultHook(nullptr);
}

TEST(CACHE_06_write_protection_holds_when_the_invalidation_is_done) {
  // The others store to the page; from protection on no store may change it.
  constexpr uint64_t kReadOnly = uint64_t{1} << 7;
  static volatile bool leave;
  static volatile uint64_t stores[kMostVcpus];
  leave = false;
  SetFaultHook([](Frame& frame) {
    if (frame.far - kMoving >= 4096 || (frame.esr & 0x3c) != 0x0c) return false;  // permission
    frame.elr += 4;
    return true;
  });
  MapMoving(0);
  for (uint32_t i = 0; i < kMostVcpus; ++i) stores[i] = 0;
  EXPECT(RunMapped([] {
    const uint32_t self = ThisVcpu();
    Meet();
    if (self != 0) {
      for (uint64_t i = 1; !leave; ++i) {
        Store<uint64_t>(kMoving + 8 * self, i);
        stores[self] = i;
        if (i % 64 == 0) asm volatile("wfe");
      }
      return;
    }
    for (int round = 0; round < 10; ++round) {
      const uint64_t writable = last[0];
      last[0] = writable | kReadOnly;
      flavour = 0;
      InvalidateMoving();
      uint64_t found[kMostVcpus] = {};
      for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) found[vcpu] = pages[0][vcpu];
      Spin(20);
      for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) CHECK(found[vcpu] == pages[0][vcpu]);
      last[0] = writable;
      InvalidateMoving();
      const uint64_t before = stores[1];
      CHECK(Patiently([=] { return stores[1] > before; }));
    }
    leave = true;
  }));
  SetFaultHook(nullptr);
}

TEST(CACHE_04_code_written_by_one_vcpu_runs_on_all) {
  alignas(64) static volatile uint32_t code[2];
  static volatile uint32_t results[kMostVcpus];
  EXPECT(RunMapped([] {
    const uint32_t self = ThisVcpu();
    for (uint32_t value = 1; value <= 8; ++value) {
      if (self == 0) {
        code[0] = 0x5280'0000 | value << 5;  // mov w0, #value
        code[1] = 0xd65f'03c0;               // ret
        asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0\n\tdsb ish" ::"r"(code) : "memory");
      }
      Meet();
      asm volatile("isb" ::: "memory");
      results[self] = reinterpret_cast<uint32_t (*)()>(reinterpret_cast<uintptr_t>(code))();
      CHECK(results[self] == value);
      Meet();
    }
  }));
}

TEST(MEM_11_first_touch_of_the_same_pages_by_all) {
  constexpr uintptr_t kFresh = kRam + 40 * 1024 * 1024;
  constexpr uint32_t kPages = 256;
  EXPECT(RunMapped([] {
    const uint32_t self = ThisVcpu();
    Meet();
    for (uint32_t page = 0; page < kPages; ++page) {
      const uintptr_t mine = kFresh + page * 4096 + 8 * self;
      CHECK(Load<uint64_t>(mine) == 0);
      Store<uint64_t>(mine, page + 1);
    }
  }));
  for (uint32_t page = 0; page < kPages; ++page) {
    for (uint32_t vcpu = 0; vcpu < kMostVcpus; ++vcpu)
      EXPECT_EQ(Load<uint64_t>(kFresh + page * 4096 + 8 * vcpu), vcpu < VcpuCount() ? page + 1 : 0);
  }
}

// ---- time and turns ------------------------------------------------------------------------------

TEST(TIMER_03_TIMER_04_counters_never_go_backwards_between_vcpus) {
  static volatile uint64_t newest;
  newest = 0;
  EXPECT(RunMapped([] {
    Meet();
    for (uint32_t i = 0; i < 2000; ++i) {
      const uint64_t before = newest;
      asm volatile("dmb ish" ::: "memory");
      const uint64_t virtual_count = Counter();
      CHECK(virtual_count >= before);
      asm volatile("isb");
      const uint64_t physical_count = BARE_READ("cntpct_el0");
      CHECK(physical_count >= virtual_count);
      newest = physical_count;
    }
  }));
}

TEST(TIMER_13_vcpus_that_only_spin_all_get_their_turns) {
  // No trap, no WFE: the machine's own tick alone lets the next one run.
  static volatile uint64_t progress[kMostVcpus];
  static volatile bool leave;
  leave = false;
  for (volatile uint64_t& number : progress) number = 0;
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    const uint64_t length = BARE_READ("cntfrq_el0") / 1000 * 10 * VcpuCount();
    Meet();
    const uint64_t end = Counter() + length;
    while (!leave) {
      progress[self] = progress[self] + 1;
      if (self == 0 && progress[self] % 64 == 0 && Counter() > end) leave = true;
    }
  }));
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) EXPECT(progress[vcpu] > 1000);
}

TEST(TRAP_03_a_spinning_vcpu_does_not_keep_another_from_its_timer) {
  static volatile bool leave;
  static volatile uint64_t late;
  leave = false;
  late = 0;
  CountPerVcpu([](uint32_t) { BARE_WRITE("cntv_ctl_el0", 0); });
  for (uint32_t vcpu = 2; vcpu < VcpuCount(); ++vcpu) {
    REQUIRE(StartVcpu(vcpu, [] {
      while (!leave) {
      }
    }));
  }
  REQUIRE(StartVcpu(1, [] {
    InitializeGic(1);
    EnableInterrupt(kVirtualTimerIntid, 1);
    for (uint32_t i = 1; i <= 10; ++i) {
      const uint64_t due = Counter() + BARE_READ("cntfrq_el0") / 500;
      BARE_WRITE("cntv_cval_el0", due);
      BARE_WRITE("cntv_ctl_el0", 1);
      SleepUntil([=] { return taken[1][kVirtualTimerIntid] >= i; });
      const uint64_t lateness = Counter() - due;
      late = lateness > late ? lateness : uint64_t{late};
    }
    DisableInterrupt(kVirtualTimerIntid, 1);
  }));
  EXPECT(Patiently([] { return IsOff(1); }));
  leave = true;
  EXPECT(JoinAll());
  EXPECT_EQ(taken[1][kVirtualTimerIntid], 10);
  // A turn is 1 ms; it waits for one of each of the others at most, on a machine that is not busy.
  EXPECT(late < BARE_READ("cntfrq_el0"));
}

// ---- the same service for several vCPUs --------------------------------------------------------

TEST(PL031_15_PL031_16_PL031_06_registers_of_the_clock_under_all_vcpus) {
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    uint32_t newest = 0;
    Meet();
    for (uint32_t i = 0; i < 300; ++i) {
      const uint32_t now = Load32(kRtc);
      CHECK(now >= newest);
      newest = now;
      CHECK(Load32(kRtc + 0xfe0 + i % 4 * 4) == (0x0014'1031u >> (i % 4 * 8) & 0xff));
      // Ahead: set to what it was, it would go back if a second ended since it was read.
      if (self == 0) Store32(kRtc + 8, now + 2);
      Store32(kRtc + 4, self << 16 | 0xffff);
      CHECK((Load32(kRtc + 4) & 0xffff) == 0xffff && Load32(kRtc + 4) >> 16 < VcpuCount());
    }
  }));
  Store32(kRtc + 4, 0);
  Store32(kRtc + 0x1c, 1);
}

TEST(PL011_63_PL011_35_all_vcpus_write_at_once_and_no_byte_is_lost) {
  constexpr uint32_t kFifo = 16;
  while ((Load32(kUart + 0x18) & 8) != 0) {
  }
  Store32(kUart + 0x2c, 0x70);
  Store32(kUart + 0x30, 0x301 | 0x80);  // loopback
  static volatile uint32_t wrong;
  wrong = 0;
  EXPECT(RunOnAll([] {
    const uint32_t self = ThisVcpu();
    const uint32_t share = kFifo / VcpuCount();
    for (uint32_t round = 0; round < 10; ++round) {
      Meet();
      for (uint32_t i = 0; i < share; ++i) Store32(kUart, self << 4 | i);
      Meet();
      if (self != 0) continue;
      // Each vCPU's bytes are there once, in its order.
      uint32_t next[kMostVcpus] = {};
      for (uint32_t i = 0; i < share * VcpuCount(); ++i) {
        CHECK((Load32(kUart + 0x18) & 1 << 4) == 0);
        const uint32_t byte = Load32(kUart);
        const uint32_t from = byte >> 4;
        if (!CHECK(from < VcpuCount() && (byte & 15) == next[from])) wrong = wrong + 1;
        if (from < kMostVcpus) ++next[from];
      }
      CHECK((Load32(kUart + 0x18) & 1 << 4) != 0);
    }
  }));
  Store32(kUart + 0x30, 0x301);
  EXPECT_EQ(wrong, 0);
}

TEST(MMIO_01_MMIO_02_virtio_registers_under_all_vcpus) {
  EXPECT(RunOnAll([] {
    const uintptr_t slot = kVirtio + ThisVcpu() % 2 * 0x1000;
    Meet();
    for (uint32_t i = 0; i < 200; ++i) {
      CHECK(Load32(slot) == 0x7472'6976);
      CHECK(Load32(slot + 4) == 2);
      CHECK(Load32(slot + 8) == 2);
      CHECK(Load32(slot + 0x100) == (1 << 20) / 512 && Load32(slot + 0x104) == 0);  // capacity
      (void)Load32(slot + 0x70);
    }
  }));
}

}  // namespace
}  // namespace bare
