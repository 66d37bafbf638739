#include "guests/tests/vcpus.h"

namespace bare {
namespace {

volatile uint32_t count;
volatile uint32_t running;  // how many work() runs on, with vCPU 0
volatile int wrong_line[kMostVcpus];
volatile uint32_t meetings[kMostVcpus];
void (*volatile all_work)();
InterruptHandler also_handle;

void OnInterrupt(uint32_t intid) {
  const uint32_t self = ThisVcpu();
  if (intid < kCountedIntids) taken[self][intid] = taken[self][intid] + 1;
  if (also_handle != nullptr) also_handle(intid);
}

void Work() {
  InitializeGic(ThisVcpu());
  all_work();
  MaskInterrupts();
}

bool Report() {
  bool good = true;
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) {
    if (wrong_line[vcpu] == 0) continue;
    good = ExpectEqual(vcpu, kMostVcpus, "a vCPU found wrong what is checked here; its number",
                       wrong_line[vcpu]);
    wrong_line[vcpu] = 0;
  }
  return good;
}

}  // namespace

volatile uint32_t taken[kMostVcpus][kCountedIntids];

uint32_t VcpuCount() {
  constexpr uint64_t kLast = 1 << 4;  // GICR_TYPER
  if (count == 0) {
    uint32_t found = 1;
    while (found < kMostVcpus &&
           (Load<uint64_t>(kRedistributor + (found - 1) * 0x2'0000 + 8) & kLast) == 0) {
      ++found;
    }
    count = found;
  }
  return count;
}

bool Check(bool holds, int line) {
  const uint32_t self = ThisVcpu();
  if (!holds && wrong_line[self] == 0) wrong_line[self] = line;
  return holds;
}

void Meet() {
  const uint32_t self = ThisVcpu();
  const uint32_t meeting = meetings[self] + 1;
  asm volatile("dsb ish" ::: "memory");
  meetings[self] = meeting;
  for (uint32_t vcpu = 0; vcpu < running; ++vcpu) {
    if (!Check(Patiently([=] { return meetings[vcpu] >= meeting; }), __LINE__)) return;
  }
  asm volatile("dsb ish" ::: "memory");
}

bool StartOne(uint32_t vcpu, void (*work)()) {
  wrong_line[vcpu] = 0;
  return ExpectTrue(StartVcpu(vcpu, work), "a vCPU starts", __LINE__);
}

bool JoinOne(uint32_t vcpu) {
  return ExpectTrue(Patiently([=] { return IsOff(vcpu); }), "a vCPU ends", __LINE__) && Report();
}

bool StartOthers(void (*work)()) {
  running = VcpuCount();
  for (uint32_t vcpu = 0; vcpu < running; ++vcpu) meetings[vcpu] = 0;
  wrong_line[0] = 0;
  all_work = work;
  for (uint32_t vcpu = 1; vcpu < running; ++vcpu) {
    if (!StartOne(vcpu, Work)) return false;
  }
  return true;
}

bool JoinAll() {
  bool ended = true;
  for (uint32_t vcpu = 1; vcpu < VcpuCount(); ++vcpu) {
    ended &= ExpectTrue(Patiently([=] { return IsOff(vcpu); }), "a vCPU ends", __LINE__);
  }
  return Report() && ended;
}

bool RunOnAll(void (*work)()) {
  if (!StartOthers(work)) return false;
  work();
  MaskInterrupts();
  return JoinAll();
}

void CountPerVcpu(InterruptHandler also) {
  also_handle = also;
  for (auto& row : taken) {
    for (volatile uint32_t& number : row) number = 0;
  }
  SetInterruptHandler(OnInterrupt);
}

uint32_t TakenByAll(uint32_t intid) {
  uint32_t sum = 0;
  for (uint32_t vcpu = 0; vcpu < VcpuCount(); ++vcpu) sum += taken[vcpu][intid];
  return sum;
}

}  // namespace bare
