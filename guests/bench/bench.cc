// Microbenchmarks as a guest sees them. Under -icount shift=0 the counter shows instructions of all exception
// levels together (1 ns each); each row is an average over many operations, the loop subtracted.
//
// Prints one line per row: BENCH <name> <hundredths of an instruction>.
#include "guests/bare/bare.h"

extern "C" char guest_end[];  // bare.ld

namespace {

using namespace bare;

inline constexpr uint64_t kOperations = 10'000;
inline constexpr uint64_t kFewer = 1'000;
inline constexpr uint64_t kLoopInstructions = 2;  // subs, b.ne

uint64_t nanoseconds_per_tick;

void Report(std::string_view name, uint64_t hundredths) {
  Print("BENCH ");
  Print(name);
  Print(" ");
  PrintNumber(hundredths);
  Print("\n");
}

uint64_t Hundredths(uint64_t ticks, uint64_t operations) {
  return ticks * nanoseconds_per_tick * 100 / operations;
}

// Repeats one instruction sequence with nothing else in the loop but its counter.
#define MEASURE(name, setup, body, ...)                                                              \
  do {                                                                                               \
    uint64_t count = kOperations;                                                                    \
    const uint64_t start = Counter();                                                                \
    asm volatile(setup "\n1:\n\t" body "\n\tsubs %0, %0, #1\n\tb.ne 1b" : "+r"(count) : __VA_ARGS__  \
                 : "x0", "x1", "x2", "x3", "x9", "memory", "cc");                                    \
    const uint64_t ticks = Counter() - start;                                                        \
    Report(name, Hundredths(ticks, kOperations) - kLoopInstructions * 100);                          \
  } while (0)

void MeasureAccesses() {
  MEASURE("hvc_psci_version", "", "mov x0, %1\n\thvc #0", "r"(0x8400'0000ull));
  MEASURE("uart_status_read", "", "ldr w9, [%1]", "r"(kUart + 0x18));
  MEASURE("rtc_data_read", "", "ldr w9, [%1]", "r"(kRtc));
  MEASURE("gicd_typer_read", "", "ldr w9, [%1]", "r"(kDistributor + 4));
  MEASURE("virtio_magic_read", "", "ldr w9, [%1]", "r"(kVirtio));
  MEASURE("id_register_read", "", "mrs x9, id_aa64pfr0_el1", "r"(0ull));
}

volatile uint64_t taken;
volatile uint64_t taken_at;

void MeasureSgi() {
  SetInterruptHandler([](uint32_t) { taken = taken + 1; });
  EnableInterrupt(1);
  UnmaskInterrupts();
  uint64_t total = 0;
  for (uint64_t i = 0; i < kFewer; ++i) {
    const uint64_t before = taken;
    const uint64_t start = Counter();
    BARE_WRITE("icc_sgi1r_el1", uint64_t{1} << 24 | 1);
    while (taken == before) {
    }
    total += Counter() - start;
  }
  MaskInterrupts();
  DisableInterrupt(1);
  Report("sgi_to_self", Hundredths(total, kFewer));
}

void ArmTimer(uint64_t deadline) {
  BARE_WRITE("cntv_cval_el0", deadline);
  BARE_WRITE("cntv_ctl_el0", 1);
}

// From the moment that the timer is due to the guest's handler.
void MeasureTimer(std::string_view name, bool wait) {
  SetInterruptHandler([](uint32_t) {
    taken_at = Counter();
    BARE_WRITE("cntv_ctl_el0", 0);
    taken = taken + 1;
  });
  EnableInterrupt(kVirtualTimerIntid);
  UnmaskInterrupts();
  const uint64_t millisecond = BARE_READ("cntfrq_el0") / 1000;
  uint64_t total = 0;
  for (uint64_t i = 0; i < kFewer; ++i) {
    const uint64_t before = taken;
    const uint64_t deadline = Counter() + millisecond;
    ArmTimer(deadline);
    while (taken == before) {
      if (wait) WaitForInterrupt();
    }
    total += taken_at - deadline;
  }
  MaskInterrupts();
  DisableInterrupt(kVirtualTimerIntid);
  Report(name, Hundredths(total, kFewer));
}

void MeasureFirstTouch() {
  const uintptr_t start = (reinterpret_cast<uintptr_t>(guest_end) + 0x1f'ffff) & ~uintptr_t{0x1f'ffff};
  constexpr uint64_t kPages = 2048;
  const uint64_t begin = Counter();
  for (uint64_t i = 0; i < kPages; ++i) Store<uint64_t>(start + i * 4096, i);
  Report("first_touch_4k", Hundredths(Counter() - begin, kPages));
}

}  // namespace

extern "C" void GuestMain(uint64_t) {
  nanoseconds_per_tick = 1'000'000'000 / BARE_READ("cntfrq_el0");
  InitializeGic();
  MeasureFirstTouch();
  MeasureAccesses();
  MeasureSgi();
  MeasureTimer("timer_lateness", false);
  MeasureTimer("wfi_wake", true);
  Print("BENCH done 0\n");
}

extern "C" void SecondaryMain() {}
