// VMs and vCPUs: what their calls refuse, and how a guest's accesses reach a service and come back.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "proto/device.atoll.h"
#include "tests/kernel/harness.h"

extern "C" const std::byte GuestAccesses[], GuestAccesses_end[], GuestDoorbell[],
    GuestDoorbell_end[];
extern "C" const std::byte GuestSpin[], GuestSpin_end[], GuestCalls[], GuestCalls_end[];

namespace atoll::test {
namespace {

inline constexpr uint64_t kRam = 0x4000'0000;
inline constexpr uint64_t kRamBytes = 0x4000;
inline constexpr uint64_t kResults = 0x1000;  // offset of the guest's page
inline constexpr size_t kDone = 6;            // word there
inline constexpr uint64_t kGood = 0x600d;
inline constexpr uint64_t kVmBit = 1ul << 45;

struct Machine {
  uint32_t vm = 0;
  uint32_t ram = 0;
  std::array<uint32_t, 2> vcpus = {};
};

Machine MakeMachine(const std::byte* code, const std::byte* end) {
  Machine machine;
  machine.vm = CreateVm(2, kVmBit);
  machine.ram = CreateMemory(kRamBytes);
  std::byte* const ram = Open(machine.ram, kRamBytes);
  std::memset(ram, 0, kRamBytes);
  std::memcpy(ram, code, static_cast<size_t>(end - code));
  Close();
  Map(machine.ram, machine.vm, kRam, kRamBytes, kReadWrite | Rights(Right::kExecute));
  for (uint32_t i = 0; i < 2; ++i) machine.vcpus[i] = CreateVcpu(machine.vm, i);
  return machine;
}

Status StartVcpu(uint32_t vcpu, uint64_t entry = kRam) {
  return kernel::StartVcpu({vcpu}, {.entry = entry, .context = 1});
}

uint64_t Result(const Machine& machine, size_t word) {
  const auto* const words =
      reinterpret_cast<const volatile uint64_t*>(Open(machine.ram, kRamBytes) + kResults);
  const uint64_t value = words[word];
  Close();
  return value;
}

// Records each call from word 10 on (8 words each) and answers with the words 1000...
void DeviceServer(uint32_t argument, uint64_t) {
  uint64_t token = 0;
  uint64_t x[31] = {};
  for (;;) {
    for (size_t i = 11; i < 31; ++i) x[i] = 0x5e12'0000'0000'0000 | i;
    x[0] = token;
    x[1] = 0;
    x[2] = 0x1'4321;
    x[3] = 1001;
    x[4] = 1002;
    x[5] = 1003;
    x[6] = x[7] = 0;
    x[8] = abi::kReplyWait;
    CallWithRegisters(x);
    token = x[9];
    const uint64_t n = Shared()[0];
    volatile uint64_t* const record = Shared() + 10 + 8 * n;
    for (size_t i = 0; i < 6; ++i) record[i] = x[1 + i];
    record[6] = x[8];
    record[7] = x[10];
    for (size_t i = 11; i < 31; ++i)
      Shared()[1] = Shared()[1] + (x[i] >> 48 == 0xc0de || x[i] >> 38 == ~0ul >> 38);
    Shared()[0] = n + 1;
    if (argument != 0) static_cast<void>(abi::ReplyWait(0, {}));  // keeps the call
  }
}

void BindAll(const Machine& machine, const Child& server) {
  EXPECT_OK(kernel::BindMmio(
      {machine.vm},
      {.address = 0x0900'0000, .bytes = 0x1000, .endpoint = server.endpoint, .badge = 77}));
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
}

TEST(device_accesses_and_hypercalls_reach_their_server) {
  const Child server = StartServer(DeviceServer);
  const Machine machine = MakeMachine(GuestAccesses, GuestAccesses_end);
  BindAll(machine, server);
  EXPECT_OK(StartVcpu(machine.vcpus[1]));
  Sleep(1000);
  EXPECT_EQ(Shared()[0], 3ul);
  const auto expect = [](size_t call, const std::array<uint64_t, 8>& words) {
    for (size_t i = 0; i < 8; ++i) EXPECT_EQ(Shared()[10 + 8 * call + i], words[i]);
  };
  const uint64_t mmio = abi::MakeLabel(DeviceInterface::kMmioAccess);
  const uint64_t smccc = abi::MakeLabel(HypercallInterface::kSmccc);
  expect(0, {mmio, 0x10, 4, 1, 0xabcd'0102, 0, 77, 1});
  expect(1, {mmio, 0x20, 1, 0, 0, 0, 77, 1});
  expect(2, {smccc, 0x1234, 0x1111, 0x2222, 0x3333, 0, 1, 1});
  EXPECT_EQ(Shared()[1], 0ul);  // nothing of the guest's registers but the message
  EXPECT_EQ(Result(machine, 0), 0x21ul);
  EXPECT_EQ(Result(machine, 1), 0x1'4321ul);
  EXPECT_EQ(Result(machine, 2), 1001ul);
  EXPECT_EQ(Result(machine, 3), 1002ul);
  EXPECT_EQ(Result(machine, 4), 1003ul);
  EXPECT_EQ(Result(machine, 5), 0ul);  // and the guest kept its own
  EXPECT_EQ(Result(machine, kDone), kGood);
}

TEST(an_access_comes_again_to_a_restarted_server_and_fails_at_the_second_death) {
  Child server = StartServer(DeviceServer, 1);
  const Machine machine = MakeMachine(GuestAccesses, GuestAccesses_end);
  BindAll(machine, server);
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  Sleep(1000);
  EXPECT_EQ(Shared()[0], 1ul);
  EXPECT_OK(Kill(server));
  Start(server);
  EXPECT_EQ(Shared()[0], 2ul);
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(Shared()[18 + i], Shared()[10 + i]);
  EXPECT_EQ(Shared()[17], 1ul);
  EXPECT_EQ(Shared()[25], 2ul);
  EXPECT_OK(Kill(server));
  Sleep(1000);
  EXPECT_EQ(Result(machine, 7) >> 26, 0x25ul);  // an external abort from EL1
  EXPECT_EQ(Result(machine, 7) & 0x3f, 0x10ul);
}

TEST(stopping_a_vcpu_cancels_its_call) {
  const Child server = StartServer([](uint32_t, uint64_t) {
    const uint64_t token = abi::ReplyWait(0, {}).call.token;
    Shared()[0] = token;
    static_cast<void>(abi::ReplyWait(0, {}));  // a signal
    Shared()[1] = 0x100 + AsNumber(abi::Reply(token, {}));
  });
  const uint32_t wake = Restricted(CreateSignal(server.task), kSend, 1);
  const Machine machine = MakeMachine(GuestAccesses, GuestAccesses_end);
  BindAll(machine, server);
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  Sleep(1000);
  EXPECT_TRUE(Shared()[0] != 0);
  EXPECT_OK(kernel::StopVcpu({machine.vcpus[0]}));
  EXPECT_OK(kernel::StopVcpu({machine.vcpus[0]}));
  EXPECT_OK(kernel::SetSignal({wake}));
  EXPECT_EQ(Shared()[1], 0x100 + AsNumber(Status::kCancelled));
  EXPECT_EQ(Result(machine, kDone), 0ul);
}

inline constexpr uint32_t kVcpuSlot = 6;  // of the server

// Counts calls, and suspends who makes them: the first instance, which never answers, and later ones when they are told to.
void SuspendingServer(uint32_t, uint64_t generation) {
  uint64_t token = 0;
  uint64_t next = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, {.words = {0, next}});
    token = received.call.token;
    next = received.message.words[1] + 1;
    Shared()[0] = Shared()[0] + 1;
    if (generation == 0 || Shared()[1] != 0)
      Shared()[2] = 0x100 + AsNumber(kernel::SuspendVcpu({kVcpuSlot}));
    if (generation == 0) static_cast<void>(abi::ReplyWait(0, {}));
  }
}

TEST(a_vcpu_is_suspended_at_the_reply_of_who_asked_for_it_and_not_if_that_dies) {
  Child server = StartServer(SuspendingServer);
  const Machine machine = MakeMachine(GuestCalls, GuestCalls_end);
  const abi::Handle vcpu{machine.vcpus[0]};
  Grant(vcpu.slot, server.task, kVcpuSlot, Rights(Right::kPower));
  EXPECT_OK(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}));
  EXPECT_EQ(kernel::SuspendVcpu(vcpu), Status::kFailedPrecondition);  // it is off
  EXPECT_OK(kernel::StartVcpu(vcpu, {.entry = kRam, .context = kRam + kResults}));
  Sleep(1000);
  EXPECT_EQ(Shared()[0], 1ul);
  EXPECT_EQ(Shared()[2], 0x100 + AsNumber(Status::kOk));
  EXPECT_EQ(kernel::SuspendVcpu(vcpu), Status::kFailedPrecondition);  // another's call
  EXPECT_OK(Kill(server));
  Start(server);
  Sleep(1000);
  EXPECT_TRUE(Shared()[0] > 10);
  Shared()[1] = 1;
  Sleep(1000);
  const uint64_t calls = Shared()[0];
  Sleep(1000);
  EXPECT_EQ(Shared()[0], calls);
  EXPECT_EQ(Shared()[2], 0x100 + AsNumber(Status::kOk));
  EXPECT_EQ(Result(machine, 0), calls - 2);  // one came twice, the last one's answer waits
  EXPECT_EQ(Result(machine, 1) + Result(machine, 2), 0ul);
}

TEST(a_vcpu_that_computes_is_not_suspended) {
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  Sleep(1000);
  EXPECT_EQ(kernel::SuspendVcpu({machine.vcpus[0]}), Status::kFailedPrecondition);
  Sleep(1000);
  const uint64_t count = Result(machine, kDone);
  Sleep(1000);
  EXPECT_TRUE(Result(machine, kDone) > count);
}

void DoorbellServer(uint32_t, uint64_t) {
  uint64_t token = 0;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, {});
    token = received.call.token;
    if (token == 0) {
      Shared()[0] = Shared()[0] | received.message.words[0];
    } else {
      Shared()[1] = Shared()[1] + 1;
      Shared()[2] =
          Shared()[2] | 1ul << (received.message.words[1] * 2 + received.message.words[2]);
    }
  }
}

TEST(a_doorbell_signals_and_the_guest_goes_on) {
  Child server = MakeChild(DoorbellServer, 0, {.endpoint = true});
  const uint32_t signal = CreateSignal(server.task);
  const Machine machine = MakeMachine(GuestDoorbell, GuestDoorbell_end);
  EXPECT_OK(kernel::BindMmio(
      {machine.vm}, {.address = 0x0a00'0000, .bytes = 0x1000, .endpoint = server.endpoint}));
  EXPECT_OK(kernel::BindDoorbell(
      {machine.vm}, {.address = 0x0a00'0050, .signal = signal, .first_bit = 60, .bits = 3}));
  Start(server);
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  Sleep(1000);
  EXPECT_EQ(Shared()[0], 7ul << 60);
  // The value beyond the bits, the narrow store and the load are calls.
  EXPECT_EQ(Shared()[1], 3ul);
  EXPECT_EQ(Shared()[2], 1ul << 9 | 1ul << 5 | 1ul << 8);
  EXPECT_EQ(Result(machine, kDone), kGood);
}

// It ends and recovers services of all VMs, whoever gives it work.
TEST(the_root_waits_for_no_guest) {
  constexpr uint64_t kAnyBell = 15ul << 50;
  const Machine other = MakeMachine(GuestSpin, GuestSpin_end);
  const Machine ringing = MakeMachine(GuestDoorbell, GuestDoorbell_end);
  const Child server = StartChild(DoorbellServer, 0, {.endpoint = true});
  EXPECT_OK(kernel::BindMmio(
      {ringing.vm}, {.address = 0x0a00'0000, .bytes = 0x1000, .endpoint = server.endpoint}));
  EXPECT_OK(kernel::BindDoorbell(
      {ringing.vm},
      {.address = 0x0a00'0050, .signal = kOwnSignal.slot, .first_bit = 50, .bits = 4}));
  EXPECT_OK(StartVcpu(other.vcpus[0]));
  EXPECT_OK(StartVcpu(ringing.vcpus[0]));
  const abi::Received rung = abi::ReplyWait(0, {});
  EXPECT_TRUE((rung.message.words[0] & kAnyBell) != 0);
  uint64_t longest = 0;
  uint64_t last = Now();
  for (const uint64_t end = last + Ticks(20'000); last < end;) {
    const uint64_t now = Now();
    longest = std::max(longest, now - last);
    last = now;
  }
  EXPECT_TRUE(longest < Ticks(200));
}

TEST(bindings_do_not_overlap) {
  const Child server = MakeChild(nullptr, 0, {.endpoint = true});
  const uint32_t vm = CreateVm();
  const auto bind = [&](uint64_t address, uint64_t bytes) {
    return kernel::BindMmio({vm},
                            {.address = address, .bytes = bytes, .endpoint = server.endpoint});
  };
  EXPECT_EQ(bind(0x10000, 0x3000), Status::kOk);
  for (const uint64_t begin : {0xe000ul, 0xf000ul, 0x10000ul, 0x11000ul, 0x12000ul}) {
    for (const uint64_t bytes : {0x1000ul, 0x2000ul, 0x3000ul, 0x6000ul}) {
      if (begin + bytes <= 0x10000) continue;
      EXPECT_EQ(bind(begin, bytes), Status::kAlreadyExists);
    }
  }
  EXPECT_EQ(bind(0xf000, 0x1000), Status::kOk);
  EXPECT_EQ(bind(0x13000, 0x1000), Status::kOk);
  EXPECT_EQ(bind(0x20008, 0x1000), Status::kInvalidArgument);
  EXPECT_EQ(bind(0x20000, 0x800), Status::kInvalidArgument);
  EXPECT_EQ(bind(0x20000, 0), Status::kInvalidArgument);
  EXPECT_EQ(bind((1ul << 40) - 0x1000, 0x2000), Status::kOutOfRange);
  EXPECT_EQ(bind(1ul << 40, 0x1000), Status::kOutOfRange);
  EXPECT_EQ(bind(~0xffful, 0x2000), Status::kOutOfRange);
  EXPECT_EQ(bind(0x1000, ~0xffful), Status::kOutOfRange);
  EXPECT_EQ(bind((1ul << 40) - 0x1000, 0x1000), Status::kOk);
  const uint32_t weak = Restricted(server.endpoint, kSend);
  EXPECT_EQ(kernel::BindMmio({vm}, {.address = 0, .bytes = 0x1000, .endpoint = weak}),
            Status::kPermissionDenied);
  EXPECT_EQ(kernel::BindMmio({vm}, {.address = 0, .bytes = 0x1000, .endpoint = vm}),
            Status::kInvalidArgument);
  EXPECT_EQ(kernel::BindHypercall({vm}, {.endpoint = weak}), Status::kPermissionDenied);

  const auto ring = [&](uint64_t address, uint32_t first_bit, uint32_t bits) {
    return kernel::BindDoorbell(
        {vm},
        {.address = address, .signal = kOwnSignal.slot, .first_bit = first_bit, .bits = bits});
  };
  EXPECT_EQ(ring(0x30000, 0, 1), Status::kNotFound);
  EXPECT_EQ(ring(~0x3ul, 0, 1), Status::kNotFound);
  EXPECT_EQ(ring(0x10002, 0, 1), Status::kInvalidArgument);
  EXPECT_EQ(ring(0x10000, 63, 2), Status::kInvalidArgument);
  EXPECT_EQ(ring(0x10000, 1, 64), Status::kInvalidArgument);
  EXPECT_EQ(ring(0x10000, 0, 64), Status::kOk);
  EXPECT_EQ(ring(0x10000, 0, 64), Status::kAlreadyExists);
  // The table has an end.
  Status last = Status::kOk;
  uint64_t count = 0;
  for (; IsOk(last) && count < 1000; ++count) last = bind(0x100000 + count * 0x2000, 0x1000);
  EXPECT_EQ(last, Status::kResourceExhausted);
}

TEST(bindings_hold_still_while_the_vm_runs) {
  const Child server = MakeChild(nullptr, 0, {.endpoint = true});
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  EXPECT_OK(kernel::BindMmio({machine.vm},
                             {.address = 0x1000, .bytes = 0x1000, .endpoint = server.endpoint}));
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  EXPECT_EQ(
      kernel::BindMmio({machine.vm}, {.address = 0, .bytes = 0x1000, .endpoint = server.endpoint}),
      Status::kFailedPrecondition);
  EXPECT_EQ(
      kernel::BindDoorbell({machine.vm}, {.address = 0x1000, .signal = kOwnSignal.slot, .bits = 1}),
      Status::kFailedPrecondition);
  EXPECT_EQ(kernel::BindHypercall({machine.vm}, {.endpoint = server.endpoint}),
            Status::kFailedPrecondition);
  EXPECT_EQ(kernel::DestroyObject({machine.vcpus[0]}), Status::kFailedPrecondition);
  EXPECT_EQ(kernel::ResetVm({machine.vm}), Status::kFailedPrecondition);
}

TEST(a_vcpu_starts_in_executable_memory_of_its_vm) {
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  const uint32_t data = CreateMemory(kPageSize);
  Map(data, machine.vm, 0x8000'0000, kPageSize, kReadWrite);
  const uint32_t vcpu = machine.vcpus[0];
  for (const uint64_t entry : {0ul, kRam - 4, kRam + kRamBytes, kRam + 2, 0x8000'0000ul, 1ul << 40,
                               1ul << 40 | kRam, 1ul << 63 | kRam, ~0ul, ~3ul}) {
    EXPECT_EQ(StartVcpu(vcpu, entry), Status::kOutOfRange);
  }
  EXPECT_EQ(kernel::GetVcpuState({vcpu})->state, VcpuState::kOff);
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kCreated);
  EXPECT_OK(StartVcpu(vcpu));
  EXPECT_EQ(StartVcpu(vcpu), Status::kAlreadyExists);
  EXPECT_EQ(kernel::GetVcpuState({vcpu})->state, VcpuState::kOn);
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kRunning);
  Sleep(2000);
  const uint64_t count = Result(machine, kDone);
  EXPECT_TRUE(count > 1000);
  EXPECT_OK(kernel::StopVcpu({vcpu}));
  EXPECT_EQ(kernel::GetVcpuState({vcpu})->state, VcpuState::kOff);
  const uint64_t stopped = Result(machine, kDone);
  Sleep(2000);
  EXPECT_EQ(Result(machine, kDone), stopped);
  EXPECT_OK(StartVcpu(vcpu));
}

TEST(a_vm_stops_once_and_says_so) {
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  const auto stop = [&](VmState state) { return kernel::StopVm({machine.vm}, {.state = state}); };
  EXPECT_EQ(stop(VmState::kOff), Status::kFailedPrecondition);
  EXPECT_EQ(stop(VmState::kReset), Status::kFailedPrecondition);
  EXPECT_EQ(stop(VmState::kCreated), Status::kInvalidArgument);
  EXPECT_EQ(stop(VmState::kRunning), Status::kInvalidArgument);
  for (const uint32_t vcpu : machine.vcpus) EXPECT_OK(StartVcpu(vcpu));
  Sleep(2000);
  EXPECT_EQ(WaitFor(kVmBit, 10), 0ul);
  EXPECT_OK(stop(VmState::kReset));
  EXPECT_EQ(WaitFor(kVmBit, 10), kVmBit);
  EXPECT_EQ(stop(VmState::kOff), Status::kFailedPrecondition);  // the first one counts
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kReset);
  for (const uint32_t vcpu : machine.vcpus) {
    EXPECT_EQ(kernel::GetVcpuState({vcpu})->state, VcpuState::kOff);
    EXPECT_EQ(StartVcpu(vcpu), Status::kFailedPrecondition);
  }
  EXPECT_OK(kernel::ResetVm({machine.vm}));
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kCreated);
  EXPECT_OK(StartVcpu(machine.vcpus[1]));
  EXPECT_OK(stop(VmState::kCrashed));
  EXPECT_EQ(kernel::GetVmState({machine.vm})->state, VmState::kCrashed);
}

TEST(vcpus_are_distinct) {
  const uint32_t vm = CreateVm(2);
  const auto create = [&](uint64_t index, uint64_t affinity, uint64_t priority = 5) {
    return StatusOf(TryCreate({.type = ObjectType::kVcpu,
                               .pages = 2,
                               .owner = vm,
                               .a = index | priority << 8,
                               .b = affinity}));
  };
  EXPECT_EQ(create(2, 0), Status::kInvalidArgument);
  EXPECT_EQ(create(255, 0), Status::kInvalidArgument);
  EXPECT_EQ(create(0, 0, 32), Status::kInvalidArgument);
  for (const uint64_t affinity : {1ul << 24, 1ul << 31, 1ul << 30, 1ul << 40, ~0ul}) {
    EXPECT_EQ(create(0, affinity), Status::kInvalidArgument);
  }
  EXPECT_EQ(create(0, 0x1'0203), Status::kOk);
  EXPECT_EQ(create(0, 1), Status::kAlreadyExists);
  EXPECT_EQ(create(1, 0x1'0203), Status::kAlreadyExists);  // two of one affinity
  EXPECT_EQ(create(1, 1ul << 32), Status::kOk);
}

TEST(vms_are_made_within_their_limits) {
  const auto create = [](uint64_t intids, uint64_t vcpus, uint64_t pages = 32) {
    return StatusOf(
        TryCreate({.type = ObjectType::kVm, .pages = pages, .a = intids | vcpus << 32}));
  };
  for (const uint64_t intids : {0ul, 32ul, 63ul, 65ul, 1023ul, 1056ul, 0xffe0ul}) {
    EXPECT_EQ(create(intids, 1), Status::kInvalidArgument);
  }
  for (const uint64_t vcpus : {0ul, 9ul, 0xfffful})
    EXPECT_EQ(create(64, vcpus), Status::kInvalidArgument);
  for (const uint64_t pages : {1ul, 2ul, 3ul})
    EXPECT_EQ(create(64, 1, pages), Status::kResourceExhausted);
  EXPECT_EQ(create(64, 1), Status::kOk);
  EXPECT_EQ(create(1024, 8, 64), Status::kOk);
  const uint32_t vm = CreateVm();
  for (const uint64_t intid : {0ul, 15ul, 31ul, 64ul, 1023ul, 1ul << 32 | 40}) {
    EXPECT_EQ(StatusOf(TryCreate({.type = ObjectType::kIrqLine, .owner = vm, .a = intid})),
              Status::kOutOfRange);
  }
}

TEST(features_are_only_hidden_and_only_before_the_start) {
  const Machine machine = MakeMachine(GuestSpin, GuestSpin_end);
  const auto get = [&](uint32_t crm, uint32_t op2) {
    return kernel::GetIdRegister({machine.vm}, {.crm = crm, .op2 = op2})->value;
  };
  const auto set = [&](uint32_t crm, uint32_t op2, uint64_t value) {
    return kernel::SetIdRegister({machine.vm}, {.crm = crm, .op2 = op2, .value = value});
  };
  const uint64_t isar0 = get(6, 0);  // ID_AA64ISAR0_EL1: CRC32 in [19:16]
  EXPECT_EQ(isar0 >> 16 & 0xf, 1ul);
  EXPECT_OK(set(6, 0, isar0));
  EXPECT_EQ(set(6, 0, isar0 | 2ul << 16), Status::kInvalidArgument);
  EXPECT_EQ(set(6, 0, isar0 | 0xful << 60), Status::kInvalidArgument);
  EXPECT_EQ(set(6, 0, ~0ul), Status::kInvalidArgument);
  EXPECT_EQ(get(6, 0), isar0);
  EXPECT_OK(set(6, 0, isar0 & ~(0xful << 16)));
  EXPECT_EQ(get(6, 0), isar0 & ~(0xful << 16));
  EXPECT_OK(StartVcpu(machine.vcpus[0]));
  EXPECT_EQ(set(6, 0, isar0), Status::kFailedPrecondition);
  EXPECT_EQ(get(6, 0), isar0 & ~(0xful << 16));
}

TEST(interrupt_state_is_checked) {
  const uint32_t vm = CreateVm(2);
  static_cast<void>(CreateVcpu(vm, 0));
  const auto get = [&](InterruptField field, uint32_t first, uint32_t count, uint32_t vcpu) {
    return kernel::GetInterrupts({vm},
                                 {.field = field, .first = first, .count = count, .vcpu = vcpu});
  };
  EXPECT_TRUE(!get(InterruptField::kEnabled, 0, 32, 7).has_value());  // no such vCPU
  EXPECT_TRUE(!get(InterruptField::kEnabled, 0, 32, 511).has_value());
  EXPECT_EQ(get(InterruptField::kLines, 0, 1, 0)->value, 64ul);
  EXPECT_EQ(get(InterruptField::kEnabled, 992, 32, 0)->value, 0ul);  // beyond: reads as zero
  EXPECT_OK(kernel::SetInterrupts(
      {vm}, {.field = InterruptField::kEnabled, .first = 992, .mask = ~0u, .value = ~0u}));
  EXPECT_EQ(get(InterruptField::kEnabled, 992, 32, 0)->value, 0ul);
  EXPECT_OK(kernel::SetInterrupts(
      {vm}, {.field = InterruptField::kEnabled, .first = 32, .mask = 0xf0, .value = 0xff}));
  EXPECT_EQ(get(InterruptField::kEnabled, 32, 32, 0)->value, 0xf0ul);
  EXPECT_EQ(get(InterruptField::kEnabled, 36, 3, 0)->value, 7ul);
  const uint32_t line = Create({.type = ObjectType::kIrqLine, .owner = vm, .a = 40});
  EXPECT_OK(kernel::SetIrqLine({line}, {.level = true}));
  EXPECT_OK(kernel::SetIrqLine({line}, {.level = true}));
  EXPECT_EQ(get(InterruptField::kPending, 32, 32, 0)->value, 1ul << 8);
  EXPECT_OK(kernel::SetIrqLine({line}, {.level = false}));
  EXPECT_EQ(get(InterruptField::kPending, 32, 32, 0)->value, 0ul);
  EXPECT_OK(kernel::SetIrqLine({line}, {.level = true}));
  EXPECT_OK(Destroy(line));  // nobody is left to lower it
  EXPECT_EQ(get(InterruptField::kPending, 32, 32, 0)->value, 0ul);
}

}  // namespace
}  // namespace atoll::test
