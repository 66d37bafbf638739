// VMs that come and go, whatever they are doing at their end: nothing of them is left.
#include <array>
#include <cstring>
#include <span>

#include "tests/kernel/harness.h"

extern "C" const std::byte GuestAccesses[], GuestAccesses_end[], GuestSpin[], GuestSpin_end[];

namespace atoll::test {
namespace {

inline constexpr uint64_t kRam = 0x4000'0000;
inline constexpr uint64_t kRamBytes = 0x8000;
inline constexpr uint64_t kSecondCode = 0x4000;  // offset of the code of vCPU 1
inline constexpr uint64_t kUart = 0x0900'0000;
inline constexpr uint64_t kVmBit = 1ul << 45;

// Keeps the first call for ever and takes no other.
void SilentServer(uint32_t, uint64_t) {
  Shared()[0] = abi::ReplyWait(0, {}).call.token;
  for (;;) Sleep(1'000'000);
}

// Answers everything.
void GoodServer(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    token = abi::ReplyWait(token, {}).call.token;
    Shared()[0] = Shared()[0] + 1;
  }
}

struct Machine {
  uint32_t vm = 0;
  std::array<uint32_t, 2> vcpus = {};
  uint32_t line = 0;
  Child server;
};

void CopyCode(std::byte* to, const std::byte* code, const std::byte* end) {
  std::memcpy(to, code, static_cast<size_t>(end - code));
}

// A VM with all that a VM has: RAM, a second mapping of it in its server, bindings, a line, handles.
Machine MakeMachine(Entry server) {
  Machine machine;
  machine.server = MakeChild(server, 0, {.endpoint = true});
  const uint32_t signal = CreateSignal(machine.server.task);
  machine.vm = CreateVm(2, kVmBit);
  const uint32_t ram = CreateMemory(kRamBytes);
  std::byte* const memory = Open(ram, kRamBytes);
  std::memset(memory, 0, kRamBytes);
  CopyCode(memory, GuestAccesses, GuestAccesses_end);
  CopyCode(memory + kSecondCode, GuestSpin, GuestSpin_end);
  Close();
  Map(ram, machine.vm, kRam, kRamBytes, kReadWrite | Rights(Right::kExecute));
  Map(ram, machine.server.task, 0x7000'0000, kRamBytes, kReadWrite);
  for (uint32_t i = 0; i < 2; ++i) machine.vcpus[i] = CreateVcpu(machine.vm, i);
  machine.line = Create({.type = ObjectType::kIrqLine, .owner = machine.vm, .a = 40});
  EXPECT_OK(kernel::BindMmio(
      {machine.vm}, {.address = kUart, .bytes = 0x1000, .endpoint = machine.server.endpoint}));
  EXPECT_OK(kernel::BindDoorbell(
      {machine.vm}, {.address = kUart + 0x50, .signal = signal, .first_bit = 0, .bits = 1}));
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = machine.server.endpoint}));
  Grant(machine.vm, machine.server.task, 20, Rights(Right::kInterrupts, Right::kPower));
  Grant(machine.vcpus[0], machine.server.task, 21, Rights(Right::kPower));
  Grant(machine.line, machine.server.task, 22, Rights(Right::kDrive));
  Start(machine.server);
  return machine;
}

Status StartVcpu(uint32_t vcpu, uint64_t entry) {
  return kernel::StartVcpu({vcpu}, {.entry = entry, .context = 1});
}

TEST(a_hundred_vms_come_and_go_and_every_page_comes_back) {
  for (uint32_t round = 0; round < 100; ++round) {
    Shared()[0] = 0;
    const bool silent = round % 2 != 0;
    const Machine machine = MakeMachine(silent ? SilentServer : GoodServer);
    // Never started; one in a call or in WFI; the other in its loop; both queued for the same server.
    if (round % 4 != 0) EXPECT_OK(StartVcpu(machine.vcpus[0], kRam));
    if (round % 3 == 1) EXPECT_OK(StartVcpu(machine.vcpus[1], kRam + kSecondCode));
    if (round % 3 == 2) EXPECT_OK(StartVcpu(machine.vcpus[1], kRam));
    EXPECT_OK(kernel::SetIrqLine({machine.line}, {.level = round % 5 != 0}));
    Sleep(300);
    if (round % 4 != 0) EXPECT_TRUE(Shared()[0] != 0);
    if (round % 4 != 0 || round % 3 != 0) {
      EXPECT_OK(kernel::StopVm({machine.vm}, {.state = VmState::kReset}));
      EXPECT_EQ(WaitFor(kVmBit, 10), kVmBit);
    }
    DiscardEverything();  // says so if a page is missing
  }
}

TEST(what_a_vm_needs_is_not_destroyed_under_it) {
  const Machine machine = MakeMachine(GoodServer);
  EXPECT_OK(StartVcpu(machine.vcpus[0], kRam));
  EXPECT_OK(StartVcpu(machine.vcpus[1], kRam + kSecondCode));
  Sleep(300);
  EXPECT_OK(kernel::StopVm({machine.vm}, {.state = VmState::kCrashed}));
  const auto refused = [](uint32_t slot) {
    EXPECT_EQ(kernel::DestroyObject({slot}), Status::kFailedPrecondition);
  };
  refused(machine.vm);               // vCPUs, a line, a mapping, a handle
  refused(machine.server.endpoint);  // bindings
  refused(machine.server.task);      // runs
  refused(machine.vcpus[0]);         // a handle
  EXPECT_OK(Kill(machine.server));
  refused(machine.server.task);  // its endpoint, its signal, its mappings
  refused(machine.vcpus[0]);     // dead tasks keep their handles
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kCrashed);
}

}  // namespace
}  // namespace atoll::test
