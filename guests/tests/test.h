// How test guests are written: TEST(CHECKLIST_ID_what_it_shows) { EXPECT_EQ(...); }. Every test runs in the order of
// the source, starts with interrupts masked, and reports one line on the console:
//   TESTS <number>, for each PASS <name>, or FAILED line <number>: <what> and FAIL <name>; DONE
#ifndef ATOLL_GUESTS_TESTS_TEST_H_
#define ATOLL_GUESTS_TESTS_TEST_H_

#include "guests/bare/bare.h"

namespace bare {

struct Test {
  const char* name;
  void (*run)();
};

#define TEST(name)                                                                             \
  static void name();                                                                          \
  [[gnu::section(".tests"), gnu::used]] static const ::bare::Test name##_test = {#name, name}; \
  static void name()

// The first failed expectation of a test is reported; the test goes on. They return whether they held.
bool ExpectTrue(bool holds, std::string_view text, int line);
bool ExpectEqual(uint64_t actual, uint64_t wanted, std::string_view text, int line);
#define EXPECT(condition) ::bare::ExpectTrue(static_cast<bool>(condition), #condition, __LINE__)
#define EXPECT_EQ(actual, wanted)                                                            \
  ::bare::ExpectEqual(static_cast<uint64_t>(actual), static_cast<uint64_t>(wanted), #actual, \
                      __LINE__)
#define REQUIRE(condition) \
  if (!EXPECT(condition)) return

// ---- exceptions --------------------------------------------------------------------------------

// ESR_ELx.EC (DDI0487).
inline constexpr uint32_t kEcUnknown = 0x00;
inline constexpr uint32_t kEcWfx = 0x01;
inline constexpr uint32_t kEcFp = 0x07;
inline constexpr uint32_t kEcIllegalState = 0x0e;
inline constexpr uint32_t kEcSvc32 = 0x11;
inline constexpr uint32_t kEcSvc = 0x15;
inline constexpr uint32_t kEcSystemRegister = 0x18;
inline constexpr uint32_t kEcFetchLower = 0x20;
inline constexpr uint32_t kEcFetchSame = 0x21;
inline constexpr uint32_t kEcPcAlignment = 0x22;
inline constexpr uint32_t kEcDataLower = 0x24;
inline constexpr uint32_t kEcDataSame = 0x25;
inline constexpr uint32_t kEcBreakpointSame = 0x31;
inline constexpr uint32_t kEcStepLower = 0x32;
inline constexpr uint32_t kEcStepSame = 0x33;
inline constexpr uint32_t kEcWatchpointSame = 0x35;
inline constexpr uint32_t kEcBrk = 0x3c;
inline constexpr uint32_t kFaultExternal = 0x10;

// The exceptions that a body took, each recorded and its instruction skipped; a failed instruction fetch returns to
// the caller instead.
struct Faults {
  uint32_t count = 0;
  uint64_t vector = 0, esr = 0, elr = 0, spsr = 0, far = 0, daif = 0;  // of the last one

  uint32_t Class() const { return static_cast<uint32_t>(esr >> 26) & 0x3f; }
  uint32_t Status() const { return static_cast<uint32_t>(esr) & 0x3f; }  // FSC of an abort
  bool Undefined() const { return count == 1 && Class() == kEcUnknown; }
  bool ExternalAbort(bool from_el0 = false) const {
    return count == 1 && Class() == (from_el0 ? kEcDataLower : kEcDataSame) &&
           Status() == kFaultExternal;
  }
};
extern Faults recorded_faults;
void RecordFaults(bool on);
// Sees every exception first; true: it was handled. null: none.
void SetFaultHook(FaultHandler hook);

template <typename Body>
Faults FaultsOf(Body body) {
  recorded_faults = {};
  RecordFaults(true);
  body();
  RecordFaults(false);
  return recorded_faults;
}

// Whether reading or writing the system register `name` is undefined.
#define READ_IS_UNDEFINED(name) \
  ::bare::FaultsOf([] { asm volatile("mrs x0, " name ::: "x0"); }).Undefined()
#define WRITE_IS_UNDEFINED(name) \
  ::bare::FaultsOf([] { asm volatile("msr " name ", xzr"); }).Undefined()

// ---- interrupts --------------------------------------------------------------------------------

// Acknowledged interrupts since the last call of CountInterrupts, by INTID below 64, and in which order.
struct Interrupts {
  uint32_t total;
  uint32_t count[64];
  uint32_t order[64];
};
extern volatile Interrupts interrupts;
// From here on interrupts are counted. `handler`, if any, is called too.
void CountInterrupts(InterruptHandler handler = nullptr);

// Spins for `microseconds` with interrupts unmasked.
void Listen(uint64_t microseconds);
void Spin(uint64_t microseconds);
// Until `done` holds or `milliseconds` are over. Interrupts as the caller has them.
template <typename Predicate>
bool WaitUntil(Predicate done, uint64_t milliseconds = 1000) {
  const uint64_t end = Counter() + milliseconds * (BARE_READ("cntfrq_el0") / 1000);
  while (!done()) {
    if (Counter() > end) return false;
    asm volatile("wfe");
  }
  return true;
}

inline bool IsPending(uint32_t intid, uint32_t vcpu = 0) {
  const uintptr_t bank = intid < 32 ? kRedistributor + vcpu * 0x2'0000 + 0x1'0000 : kDistributor;
  return (Load32(bank + 0x200 + intid / 32 * 4) >> (intid % 32) & 1) != 0;
}
void SendSgi(uint32_t intid, uint32_t target_list);

// ---- EL0 ---------------------------------------------------------------------------------------

// Runs `entry(argument)` at EL0; its result. It may use no more than 16 KiB of stack. `spsr`: its PSTATE. AArch32 code
// ends with svc.
using El0Entry = uint64_t (*)(uint64_t);
inline constexpr uint64_t kEl0Masked = 0x3c0;    // AArch64, all of DAIF masked
inline constexpr uint64_t kAarch32User = 0x1d0;  // A32, user mode, A I F masked
extern "C" uint64_t RunAtEl0(El0Entry entry, uint64_t argument, uint64_t spsr = kEl0Masked);

// ---- further vCPUs -----------------------------------------------------------------------------

inline constexpr int64_t kPsciSuccess = 0;
inline constexpr int64_t kPsciNotSupported = -1;
inline constexpr int64_t kPsciInvalidParameters = -2;
inline constexpr int64_t kPsciAlreadyOn = -4;
inline constexpr int64_t kPsciOnPending = -5;
inline constexpr int64_t kPsciInvalidAddress = -9;

int64_t Psci(uint32_t function, uint64_t x1 = 0, uint64_t x2 = 0, uint64_t x3 = 0);
int64_t CpuOn(uint64_t target, uintptr_t entry, uint64_t context);
bool IsOff(uint64_t target);

// A vCPU runs `work` with its interrupts masked, then turns itself off. False if it did not start.
bool StartVcpu(uint32_t vcpu, void (*work)());
int64_t TryStartVcpu(uint32_t vcpu, void (*work)());  // what CPU_ON answered
// vCPU 1.
bool StartSecondary(void (*work)());
// Waits until vCPU 1 is off.
bool JoinSecondary();
inline uint32_t ThisVcpu() { return static_cast<uint32_t>(BARE_READ("mpidr_el1") & 0xff); }

}  // namespace bare

#endif  // ATOLL_GUESTS_TESTS_TEST_H_
