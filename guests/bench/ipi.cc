// SGIs from one vCPU to another, there and back: from the write to the other's handler. Both wait in WFI, then both spin.
#include "guests/bench/bench.h"

namespace {

using namespace bare;

inline constexpr uint64_t kWaiting = 1'000;
inline constexpr uint64_t kSpinning =
    10;  // each takes the rest of a time slice if both are on one CPU
inline constexpr uint64_t kSgi1 = uint64_t{1} << 24;
inline constexpr uint64_t kCpuOn = 0xc400'0003;

alignas(16) char secondary_stack[16384];
volatile uint64_t sent_at;    // by either, just before it sends
volatile uint64_t total;      // of all ways in ticks
volatile uint32_t ready = 0;  // the secondary takes SGIs
volatile bool spinning = false;

uint64_t SgiTo(uint64_t vcpu) { return kSgi1 | uint64_t{1} << vcpu; }

void Prepare(uint32_t vcpu) {
  InitializeGic(vcpu);
  EnableInterrupt(1, vcpu);
  BARE_WRITE("vbar_el1", reinterpret_cast<uint64_t>(bench_vectors));
}

void Send(uint64_t vcpu) {
  const uint64_t sgi = SgiTo(vcpu);
  sent_at = Counter();
  asm volatile("msr icc_sgi1r_el1, %0\n\tisb" ::"r"(sgi) : "memory");
}

// Until an SGI was taken; the time of its handler's first instruction. Interrupts are masked outside.
uint64_t Take() {
  uint64_t taken_at;
  if (spinning) {
    asm volatile(
        "mov x11, #0\n\tmov x13, #0\n\tmsr daifclr, #2\n"
        "1:\tyield\n\tcbz x11, 1b\n\tmsr daifset, #2\n\tmov %0, x10"
        : "=r"(taken_at)
        :
        : BENCH_REGISTERS);
  } else {
    asm volatile(
        "mov x11, #0\n\tmov x13, #0\n"
        "1:\tdsb sy\n\twfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2\n\tcbz x11, 1b\n\tmov %0, "
        "x10"
        : "=r"(taken_at)
        :
        : BENCH_REGISTERS);
  }
  return taken_at;
}

void Measure(std::string_view name, uint64_t rounds) {
  total = 0;
  for (uint64_t i = 0; i < rounds; ++i) {
    Send(1);
    total = total + (Take() - sent_at);
  }
  Report(name, Hundredths(total, 2 * rounds));
}

}  // namespace

extern "C" void GuestMain(uint64_t) {
  Prepare(0);
  Hvc(kCpuOn, 1, reinterpret_cast<uint64_t>(secondary_start),
      reinterpret_cast<uint64_t>(secondary_stack + sizeof(secondary_stack)));
  while (ready == 0) asm volatile("yield");  // QEMU without a hypervisor runs the other one then
  Measure("ipi_waiting", kWaiting);
  spinning = true;
  Measure("ipi_spinning", kSpinning);
  Print("BENCH done 0\n");
}

extern "C" void SecondaryMain() {
  Prepare(1);
  ready = 1;
  for (;;) {
    total = total + (Take() - sent_at);
    Send(0);
  }
}
