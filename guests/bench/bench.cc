// Operations as a guest sees them: each row is an average over many, the loop subtracted.
#include "guests/bench/bench.h"

namespace {

using namespace bare;

inline constexpr uint64_t kOperations = 10'000;
inline constexpr uint64_t kFewer = 1'000;
inline constexpr uint64_t kLoopInstructions = 2;  // subs, b.ne

// Repeats one instruction sequence with nothing else in the loop but its counter.
#define MEASURE(name, setup, body, ...)                                     \
  do {                                                                      \
    uint64_t count = kOperations;                                           \
    const uint64_t start = Counter();                                       \
    asm volatile(setup "\n1:\n\t" body "\n\tsubs %0, %0, #1\n\tb.ne 1b"     \
                 : "+r"(count)                                              \
                 : __VA_ARGS__                                              \
                 : "x0", "x1", "x2", "x3", "x9", "memory", "cc");           \
    const uint64_t ticks = Counter() - start;                               \
    Report(name, Hundredths(ticks, kOperations) - kLoopInstructions * 100); \
  } while (0)

void MeasureAccesses() {
  MEASURE("hvc_psci_version", "", "mov x0, %1\n\thvc #0", "r"(0x8400'0000ull));
  MEASURE("uart_status_read", "", "ldr w9, [%1]", "r"(kUart + 0x18));
  MEASURE("rtc_data_read", "", "ldr w9, [%1]", "r"(kRtc));
  MEASURE("gicd_typer_read", "", "ldr w9, [%1]", "r"(kDistributor + 4));
  // No device: an external abort, which HandleException reports.
  MEASURE("virtio_magic_read", "", "ldr w9, [%1]", "r"(kVirtio));
  MEASURE("id_register_read", "", "mrs x9, id_aa64pfr0_el1", "r"(0ull));
}

void MeasureSgi() {
  EnableInterrupt(1);
  uint64_t count = kFewer;
  const uint64_t start = Counter();
  asm volatile(
      "mov x11, #0\n\tmov x13, #0\n\tmsr daifclr, #2\n"
      "1:\tmov x12, x11\n\tmsr icc_sgi1r_el1, %1\n\tisb\n"
      "2:\tcmp x11, x12\n\tb.eq 2b\n\tsubs %0, %0, #1\n\tb.ne 1b\n\tmsr daifset, #2"
      : "+r"(count)
      : "r"(uint64_t{1} << 24 | 1)
      : BENCH_REGISTERS);
  const uint64_t ticks = Counter() - start;
  DisableInterrupt(1);
  Report("sgi_to_self", Hundredths(ticks, kFewer) - kLoopInstructions * 100);
}

// From the moment that the timer is due to the guest's handler.
void MeasureTimer(std::string_view name, bool wait) {
  EnableInterrupt(kVirtualTimerIntid);
  const uint64_t millisecond = BARE_READ("cntfrq_el0") / 1000;
  uint64_t total = 0;
  for (uint64_t i = 0; i < kFewer; ++i) {
    const uint64_t deadline = Counter() + millisecond;
    BARE_WRITE("cntv_cval_el0", deadline);
    BARE_WRITE("cntv_ctl_el0", 1);
    uint64_t late;
    if (wait) {
      asm volatile(
          "mov x11, #0\n\tmov x13, #1\n\tmsr daifclr, #2\n"
          "1:\tdsb sy\n\twfi\n\tcbz x11, 1b\n\tmsr daifset, #2\n\tsub %0, x10, %1"
          : "=r"(late)
          : "r"(deadline)
          : BENCH_REGISTERS);
    } else {
      asm volatile(
          "mov x11, #0\n\tmov x13, #1\n\tmsr daifclr, #2\n"
          "1:\tcbz x11, 1b\n\tmsr daifset, #2\n\tsub %0, x10, %1"
          : "=r"(late)
          : "r"(deadline)
          : BENCH_REGISTERS);
    }
    total += late;
  }
  DisableInterrupt(kVirtualTimerIntid);
  Report(name, Hundredths(total, kFewer));
}

void MeasureFirstTouch() {
  const uintptr_t start =
      (reinterpret_cast<uintptr_t>(guest_end) + 0x1f'ffff) & ~uintptr_t{0x1f'ffff};
  constexpr uint64_t kPages = 2048;
  const uint64_t begin = Counter();
  for (uint64_t i = 0; i < kPages; ++i) Store<uint64_t>(start + i * 4096, i);
  Report("first_touch_4k", Hundredths(Counter() - begin, kPages));
}

}  // namespace

extern "C" void GuestMain(uint64_t) {
  InitializeGic();
  MeasureFirstTouch();
  MeasureAccesses();
  BARE_WRITE("vbar_el1", reinterpret_cast<uint64_t>(bench_vectors));
  MeasureSgi();
  MeasureTimer("timer_lateness", false);
  MeasureTimer("wfi_wake", true);
  Print("BENCH done 0\n");
}

extern "C" void SecondaryMain() {}
