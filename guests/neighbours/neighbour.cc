// One of the guests that share a CPU. The command line says what it is: "mode=worker" does some of everything and
// reports how much it got done, "mode=sender" does it with a network, for which "mode=sink" takes what comes; any other
// mode goes on for ever and, but for "busy", is as bad a neighbour as it can be.
#include "guests/neighbours/disk.h"
#include "guests/neighbours/network.h"

namespace bare {
namespace {

inline constexpr uint64_t kPhaseMilliseconds = 60;
// Frames come in as many as fit into a turn: of the 30 turns of a phase one or two would be 3 to 6 %. Neither is what is
// paid back of the time that frames took, 20 ms at most, to count for much in the phase behind it.
inline constexpr uint64_t kNetworkMilliseconds = 480;
inline constexpr uint64_t kWarmUpMilliseconds = 20;
inline constexpr uint64_t kSleepMicroseconds = 500;

uint64_t TicksOf(uint64_t microseconds) {
  return microseconds * (BARE_READ("cntfrq_el0") / 1000) / 1000;
}

// ---- the command line --------------------------------------------------------------------------

// The value of "mode=" in the device tree, wherever it is.
std::string_view Mode(uint64_t device_tree) {
  const char* const tree = reinterpret_cast<const char*>(device_tree);
  const uint32_t bytes = __builtin_bswap32(Load32(device_tree + 4));
  const std::string_view blob(tree, bytes);
  constexpr std::string_view kKey = "mode=";
  const size_t at = blob.find(kKey);
  if (at == std::string_view::npos) return {};
  const char* const value = tree + at + kKey.size();
  return {value, blob.find('\0', at) - at - kKey.size()};
}

// ---- the worker --------------------------------------------------------------------------------

volatile uint32_t wakes;
volatile uint64_t due;
volatile uint64_t latest;

void OnTimer(uint32_t) {
  const uint64_t now = Counter();
  const uint64_t late = now - due;
  if (late > latest) latest = late;
  wakes = wakes + 1;
  due = now + TicksOf(kSleepMicroseconds);
  BARE_WRITE("cntv_cval_el0", due);
}

// How often `step` is done until the phase is over.
template <typename Step>
void Phase(std::string_view name, uint64_t milliseconds, Step step) {
  const uint64_t end = Counter() + TicksOf(milliseconds * 1000);
  uint64_t steps = 0;
  while (Counter() < end) {
    step();
    ++steps;
  }
  if (name.empty()) return;
  Print("DID ");
  Print(name);
  Print(" ");
  PrintNumber(steps);
  Print("\n");
}

void Compute() {
  for (uint32_t i = 0; i < 1000; ++i) asm volatile("");
}
void ReadDevice() { (void)Load32(kRtc); }

// Sleeps by the timer again and again.
void Sleep(uint64_t microseconds, auto awake) {
  SetInterruptHandler(OnTimer);
  EnableInterrupt(kVirtualTimerIntid);
  due = Counter() + TicksOf(kSleepMicroseconds);
  BARE_WRITE("cntv_cval_el0", due);
  BARE_WRITE("cntv_ctl_el0", 1);
  const uint64_t end = Counter() + TicksOf(microseconds);
  while (Counter() < end) {
    WaitForInterrupt();
    UnmaskInterrupts();
    asm volatile("isb");
    MaskInterrupts();
    awake();
  }
}

void CountWakes() {
  Sleep(kPhaseMilliseconds * 1000, [] {});
  Print("DID wakes ");
  PrintNumber(wakes);
  Print("\nDID latest_us ");
  PrintNumber(latest / (BARE_READ("cntfrq_el0") / 1'000'000));
  Print("\nDONE\n");
}

void Work() {
  Phase("", kWarmUpMilliseconds, Compute);
  Phase("compute", kPhaseMilliseconds, Compute);
  Phase("device", kPhaseMilliseconds, ReadDevice);
  Disk disk;
  if (!disk.Start()) Print("FAILED the disk does not start\n");
  Phase("disk", kPhaseMilliseconds, [&] { disk.Read(1, 8); });
  CountWakes();
}

// Numbers of the VMs in the description.
inline constexpr uint8_t kSender = 0, kNeighbour = 1, kSink = 2;
inline constexpr uint16_t kBuffers = 64;
inline constexpr uint32_t kFrameBytes = 1000;

// Its frames go to a VM that takes them and, as many, to the neighbour, which may not.
void SendFrames() {
  Network network;
  if (!network.Start(kBuffers)) Print("FAILED the network does not start\n");
  const auto step = [&] {
    network.Send(kSink, kFrameBytes);
    network.Send(kNeighbour, kFrameBytes);
    network.Take();
  };
  Phase("", kWarmUpMilliseconds, step);
  Phase("network", kNetworkMilliseconds, step);
  Phase("compute", kNetworkMilliseconds, Compute);
  CountWakes();
}

void TakeFrames() {
  Network network;
  network.Start(kBuffers * 2);
  for (;;) Sleep(1'000'000, [&] { network.Take(); });
}

// ---- the others --------------------------------------------------------------------------------

[[noreturn]] void Forever(auto step) {
  for (;;) step();
}

// Well-behaved: wants the whole CPU, and takes what it gets.
[[noreturn]] void Busy() { Forever(Compute); }

[[noreturn]] void SpinMasked() {
  asm volatile("msr daifset, #15");
  for (;;) {
  }
}

[[noreturn]] void FloodDevice() {
  Forever([] {
    (void)Load32(kRtc + 4);
    Store32(kRtc + 4, 1);
  });
}

// An alarm set anew with each store: timers of a service.
[[noreturn]] void FloodAlarm() {
  Store32(kRtc + 0x10, 1);
  Forever([] { Store32(kRtc + 4, Load32(kRtc)); });
}

[[noreturn]] void FloodGic() {
  Forever([] {
    Store32(kDistributor + 0x100 + 4, ~0u);
    (void)Load32(kDistributor + 0x200 + 4);
    Store32(kDistributor + 0x180 + 4, ~0u);
  });
}

[[noreturn]] void FloodSgi() {
  SetInterruptHandler([](uint32_t) {});
  EnableInterrupt(1);
  UnmaskInterrupts();
  Forever([] { BARE_WRITE("icc_sgi1r_el1", 1 << 24 | 1); });
}

// Timers that are always due: each end of interrupt is followed by the next one.
[[noreturn]] void FloodPpi() {
  SetInterruptHandler([](uint32_t) {});
  for (const uint32_t intid : {kVirtualTimerIntid, kPhysicalTimerIntid}) EnableInterrupt(intid);
  BARE_WRITE("cntv_cval_el0", 0);
  BARE_WRITE("cntp_cval_el0", 0);
  BARE_WRITE("cntv_ctl_el0", 1);
  BARE_WRITE("cntp_ctl_el0", 1);
  UnmaskInterrupts();
  Forever([] {});
}

// Sleeps and is woken as often as it can.
[[noreturn]] void StormWfi() {
  EnableInterrupt(kVirtualTimerIntid);
  BARE_WRITE("cntv_ctl_el0", 1);
  Forever([] {
    BARE_WRITE("cntv_cval_el0", Counter() + TicksOf(3));
    WaitForInterrupt();
  });
}

[[noreturn]] void StormHvc() {
  Forever([] { (void)Hvc(0x8400'0000); });
}

[[noreturn]] void FloodUart() {
  Forever([] { Store32(kUart, 'x'); });
}

[[noreturn]] void FloodLines() {
  Forever([] {
    Store32(kUart, 'y');
    Store32(kUart, '\n');
  });
}

// Notifies a device of nothing.
[[noreturn]] void FloodDoorbell() {
  Disk disk;
  disk.Start();
  Forever([&] { disk.Notify(); });
}

// Has the device work for it all the time.
[[noreturn]] void FloodDisk() {
  Disk disk;
  disk.Start();
  Forever([&] { disk.Read(0, 2048); });
}

[[noreturn]] void FloodNetwork(uint8_t vm) {
  Network network;
  network.Start(kBuffers);
  Forever([&] {
    network.Send(vm, 60);
    network.Take();
  });
}

[[noreturn]] void FloodEverybody() { FloodNetwork(Network::kEverybody); }
[[noreturn]] void FloodSender() { FloodNetwork(kSender); }

// Has a network and takes nothing from it.
[[noreturn]] void TakeNothing() {
  Network network;
  network.Start(1);
  Busy();
}

struct ModeEntry {
  std::string_view name;
  void (*run)();
};
constexpr ModeEntry kModes[] = {
    {"worker", Work},
    {"busy", Busy},
    {"spin_masked", SpinMasked},
    {"device", FloodDevice},
    {"alarm", FloodAlarm},
    {"gic", FloodGic},
    {"sgi", FloodSgi},
    {"ppi", FloodPpi},
    {"wfi", StormWfi},
    {"hvc", StormHvc},
    {"uart", FloodUart},
    {"lines", FloodLines},
    {"doorbell", FloodDoorbell},
    {"disk", FloodDisk},
    {"sender", SendFrames},
    {"sink", TakeFrames},
    {"broadcast", FloodEverybody},
    {"unicast", FloodSender},
    {"deaf", TakeNothing},
};

}  // namespace
}  // namespace bare

extern "C" void GuestMain(uint64_t device_tree) {
  using namespace bare;
  InitializeGic();
  const std::string_view mode = Mode(device_tree);
  for (const ModeEntry& entry : kModes) {
    if (entry.name == mode) entry.run();
  }
  if (mode != "worker") Print("FAILED no such mode\n");
}

extern "C" void SecondaryMain() {}
