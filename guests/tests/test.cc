#include "guests/tests/test.h"

extern "C" const bare::Test tests_begin[], tests_end[];  // bare.ld

namespace bare {
namespace {

bool failed;
bool recording;
FaultHandler hook;
InterruptHandler also_call;
constexpr uint32_t kVcpus = 8;
constinit void (*volatile vcpu_work[kVcpus])() = {};
struct alignas(16) Stack {
  char bytes[16384];
};
Stack vcpu_stacks[kVcpus];

bool Fail(std::string_view text, int line) {
  if (failed) return false;
  failed = true;
  Print("\nFAILED line ");
  PrintNumber(static_cast<uint64_t>(line));
  Print(": ");
  Print(text);
  return true;
}

extern "C" char El0Return[];  // el0.S

bool OnFault(Frame& frame) {
  if (hook != nullptr && hook(frame)) return true;
  const auto exception_class = static_cast<uint32_t>(frame.esr >> 26) & 0x3f;
  if (exception_class == kEcSvc || exception_class == kEcSvc32) {  // the end of RunAtEl0
    constexpr uint64_t kEl1h = 0x3c5;
    frame.elr = reinterpret_cast<uint64_t>(El0Return);
    frame.spsr = kEl1h;
    return true;
  }
  if (!recording) return false;
  recorded_faults = {.count = recorded_faults.count + 1,
                     .vector = frame.vector,
                     .esr = frame.esr,
                     .elr = frame.elr,
                     .spsr = frame.spsr,
                     .far = frame.far,
                     .daif = BARE_READ("daif")};
  if (exception_class == kEcFetchSame || exception_class == kEcFetchLower ||
      exception_class == kEcPcAlignment) {
    frame.elr = frame.x[30];
  } else {
    frame.elr += 4;
  }
  frame.spsr &= ~(uint64_t{1} << 20);  // IL: an illegal state would fault again
  return true;
}

void OnInterrupt(uint32_t intid) {
  const uint32_t total = interrupts.total;
  if (intid < 64) interrupts.count[intid] = interrupts.count[intid] + 1;
  if (total < 64) interrupts.order[total] = intid;
  interrupts.total = total + 1;
  if (also_call != nullptr) also_call(intid);
}

uint64_t TicksOf(uint64_t microseconds) {
  return microseconds * BARE_READ("cntfrq_el0") / 1'000'000;
}

}  // namespace

Faults recorded_faults;
volatile Interrupts interrupts;

bool ExpectTrue(bool holds, std::string_view text, int line) {
  if (!holds) Fail(text, line);
  return holds;
}

bool ExpectEqual(uint64_t actual, uint64_t wanted, std::string_view text, int line) {
  if (actual == wanted) return true;
  if (Fail(text, line)) {
    Print(" is ");
    PrintHex(actual);
    Print(", not ");
    PrintHex(wanted);
  }
  return false;
}

void RecordFaults(bool on) { recording = on; }
void SetFaultHook(FaultHandler new_hook) { hook = new_hook; }

void CountInterrupts(InterruptHandler handler) {
  also_call = handler;
  interrupts.total = 0;
  for (volatile uint32_t& count : interrupts.count) count = 0;
  SetInterruptHandler(OnInterrupt);
}

void Spin(uint64_t microseconds) {
  const uint64_t end = Counter() + TicksOf(microseconds);
  while (Counter() < end) {
  }
}

void Listen(uint64_t microseconds) {
  UnmaskInterrupts();
  Spin(microseconds);
  MaskInterrupts();
}

void SendSgi(uint32_t intid, uint32_t target_list) {
  asm volatile("dsb ishst" ::: "memory");
  BARE_WRITE("icc_sgi1r_el1", uint64_t{intid} << 24 | target_list);
}

int64_t Psci(uint32_t function, uint64_t x1, uint64_t x2, uint64_t x3) {
  return static_cast<int64_t>(Hvc(function, x1, x2, x3).x0);
}

int64_t CpuOn(uint64_t target, uintptr_t entry, uint64_t context) {
  return Psci(0xc400'0003, target, entry, context);
}

bool IsOff(uint64_t target) { return Psci(0xc400'0004, target, 0) == 1; }

int64_t TryStartVcpu(uint32_t vcpu, void (*work)()) {
  if (vcpu >= kVcpus) return kPsciInvalidParameters;
  vcpu_work[vcpu] = work;
  return CpuOn(vcpu, reinterpret_cast<uintptr_t>(secondary_start),
               reinterpret_cast<uint64_t>(&vcpu_stacks[vcpu] + 1));
}

bool StartVcpu(uint32_t vcpu, void (*work)()) { return TryStartVcpu(vcpu, work) == kPsciSuccess; }

bool StartSecondary(void (*work)()) { return StartVcpu(1, work); }

bool JoinSecondary() {
  return WaitUntil([] { return IsOff(1); });
}

}  // namespace bare

extern "C" void SecondaryMain() { bare::vcpu_work[bare::ThisVcpu()](); }

extern "C" void GuestMain(uint64_t) {
  using namespace bare;
  SetFaultHandler(OnFault);
  InitializeGic();
  Print("TESTS ");
  PrintNumber(static_cast<uint64_t>(tests_end - tests_begin));
  Print("\n");
  for (const Test* test = tests_begin; test != tests_end; ++test) {
    failed = false;
    test->run();
    MaskInterrupts();
    SetInterruptHandler(nullptr);
    Print(failed ? "\nFAIL " : "PASS ");
    Print(test->name);
    Print("\n");
  }
  Print("DONE\n");
}
