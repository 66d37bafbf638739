#include "kernel/exits.h"

#include <array>

#include "kernel/cpu.h"
#include "kernel/cpu_setup.h"
#include "kernel/guest_faults.h"
#include "kernel/interrupts.h"
#include "kernel/ipc.h"
#include "kernel/log/panic.h"
#include "kernel/scheduler.h"
#include "kernel/task_life.h"
#include "kernel/vcpu/exception_syndrome.h"
#include "kernel/vcpu/mmio_access.h"
#include "kernel/vcpu/system_register_traps.h"

namespace atoll {
namespace {

inline constexpr uint64_t kNotSupported = ~uint64_t{0};  // -1, DEN0028

bool DataIsBigEndian(const Vcpu& vcpu) { return IsBigEndian(vcpu.frame.pstate, SctlrEl12::Read()); }

// A store to a doorbell: the peer is signalled, the guest goes on.
bool RingDoorbell(Vcpu& vcpu, const Range& range, uint64_t offset, const MmioAccess& access,
                  uint64_t esr_value) ATOLL_KERNEL_LOCKED {
  if (!access.write || access.size != sizeof(uint32_t) || offset != range.doorbell) return false;
  const uint64_t value = access.register_number == kZeroRegister
                             ? 0
                             : access.Outgoing(vcpu.frame.x[access.register_number]);
  if (value >= range.bits) return false;  // the device decides what to do with it
  SkipInstruction(ProgressOf(vcpu), esr_value);
  RaiseSignalFor(Cpu::This().shares.account(), *range.signal->owner,
                 uint64_t{1} << (range.first_bit + value), range.patient);
  return true;
}

void OnDataAbort(Vcpu& vcpu, uint64_t esr_value) {
  kernel_lock.AssertHeld();
  const uint64_t far = FarEl2::Read();
  const GuestPhys address = FaultAddress(HpfarEl2::Read(), far);
  const std::optional<MmioAccess> access =
      IsFaultAddressValid(esr_value) ? MmioAccess::Decode(esr_value, DataIsBigEndian(vcpu))
                                     : std::nullopt;
  Range* const range = access ? vcpu.vm->ranges.Find(address) : nullptr;
  const uint64_t offset = range != nullptr ? address.value - range->base : 0;
  if (range == nullptr || !InBounds(offset, access->size, range->size)) {
    // Another CPU may just have split a block, whose addresses are invalid for a moment (kernel/memory/page_table.h):
    // then the instruction runs again.
    if (IsMapped(*vcpu.vm, address, esr_value)) return;
    return FailUnclaimed(vcpu, esr_value, address, far);
  }
  if (RingDoorbell(vcpu, *range, offset, *access, esr_value)) return;
  // Big-endian and single-stepped guests stay on this path: the fast one knows neither.
  if (!access->big_endian && !vcpu.context.debug.IsActive()) vcpu.last_range = range;
  vcpu.mmio_syndrome = esr_value;
  vcpu.mmio_far = far;
  vcpu.mmio_range = range;
  vcpu.mmio_offset = offset;
  vcpu.mmio_big_endian = access->big_endian;
  if (access->big_endian || (vcpu.frame.pstate & (pstate::kAarch32 | pstate::kBtype)) != 0)
    vcpu.work |= kWorkMmio;
  BeginCall(vcpu, *range->endpoint, BlockedOn::kMmio);
}

void Hypercall(Vcpu& vcpu, bool smc) ATOLL_KERNEL_LOCKED {
  if (vcpu.vm->hypercall == nullptr) {
    vcpu.frame.x[0] = kNotSupported;
    return;
  }
  BeginCall(vcpu, *vcpu.vm->hypercall, smc ? BlockedOn::kSecureCall : BlockedOn::kHypercall);
}

// The preferred return address of HVC is the next instruction already.
void OnHvc(Vcpu& vcpu, uint64_t esr_value) {
  kernel_lock.AssertHeld();
  if ((esr_value & 0xffff) != 0) {
    vcpu.frame.x[0] = kNotSupported;
    return;
  }
  Hypercall(vcpu, false);
}

void OnSmc(Vcpu& vcpu, uint64_t esr_value) {
  kernel_lock.AssertHeld();
  SkipInstruction(ProgressOf(vcpu), esr_value);
  if ((esr_value & 0xffff) != 0) {
    vcpu.frame.x[0] = kNotSupported;
    return;
  }
  Hypercall(vcpu, true);
}

void OnWaitFor(Vcpu& vcpu, uint64_t esr_value) {
  kernel_lock.AssertHeld();
  if ((esr_value & esr::kWfxTimed) != 0) {  // WFIT, WFET: hidden
    return InjectUndefined(vcpu);
  }
  SkipInstruction(ProgressOf(vcpu), esr_value);
  Cpu& cpu = Cpu::This();
  if ((esr_value & esr::kWfxEvent) != 0) {  // WFE: let an equal run, then go on
    BlockCurrent(cpu);
    MakeReady(vcpu);
    return;
  }
  if (HasDeliverableInterrupt(vcpu)) return;
  vcpu.waiting_for_interrupt = true;
  BlockCurrent(cpu);
}

class Backend final : public SystemRegisterBackend {
 public:
  explicit Backend(Vcpu& vcpu) : vcpu_(vcpu) {}
  void GenerateSgi(TrappedSgi which, uint64_t value) override {
    kernel_lock.AssertHeld();
    SendSgi(vcpu_, value,
            which == TrappedSgi::kGroup1   ? SgiRegister::kSgi1
            : which == TrappedSgi::kGroup0 ? SgiRegister::kSgi0
                                           : SgiRegister::kAsgi1);
  }
  void DeactivateInterrupt(uint64_t value) override {
    kernel_lock.AssertHeld();
    atoll::DeactivateInterrupt(vcpu_, static_cast<uint32_t>(value & 0xff'ffff));
  }

 private:
  Vcpu& vcpu_;
};

// ISS of a write of ICC_SGI1R_EL1, but for the register: what a running guest traps on most, taken out of the
// table's way.
inline constexpr uint64_t kSgi1Write =
    uint64_t{3} << 20 | uint64_t{5} << 17 | uint64_t{12} << 10 | uint64_t{11} << 1;
inline constexpr uint64_t kSystemRegisterMask = 0x3f'fc1f;

void OnSystemRegister(Vcpu& vcpu, uint64_t esr_value) {
  kernel_lock.AssertHeld();
  if ((esr_value & kSystemRegisterMask) == kSgi1Write) [[likely]] {
    const size_t source = (esr_value >> 5) & 31;
    SkipInstruction(ProgressOf(vcpu), esr_value);
    return SendSgi(vcpu, source == kZeroRegister ? 0 : vcpu.frame.x[source], SgiRegister::kSgi1);
  }
  Backend backend(vcpu);
  TrappedVcpu trapped = {.cpu = ThisCpuFeatures(),
                         .id_registers = vcpu.vm->id_registers,
                         .debug = vcpu.context.debug,
                         .backend = backend};
  const TrapOutcome outcome = HandleSystemRegister(esr_value, pstate::IsEl0(vcpu.frame.pstate),
                                                   trapped, std::span<uint64_t, 31>(vcpu.frame.x));
  if (outcome == TrapOutcome::kUndefined) return InjectUndefined(vcpu);
  SkipInstruction(ProgressOf(vcpu), esr_value);
  UpdateDebug(vcpu);
}

// A task was stepped on this CPU just before. The guest takes its own debug exception next, if it was one.
void OnStrayStep(Vcpu&, uint64_t) { StepNothingHere(); }

using Handler = void (*)(Vcpu&, uint64_t);

constexpr std::array<Handler, 64> MakeTable() {
  std::array<Handler, 64> table;
  table.fill(OnUndefined);
  const auto set = [&](ExceptionClass exception_class, Handler handler) {
    table[static_cast<size_t>(exception_class)] = handler;
  };
  set(ExceptionClass::kWfx, OnWaitFor);
  set(ExceptionClass::kHvc64, OnHvc);
  set(ExceptionClass::kSmc64, OnSmc);
  set(ExceptionClass::kSystemRegister, OnSystemRegister);
  set(ExceptionClass::kInstructionAbortLower, OnInstructionAbort);
  set(ExceptionClass::kDataAbortLower, OnDataAbort);
  for (const ExceptionClass exception :
       {ExceptionClass::kBreakpointLower, ExceptionClass::kSoftwareStepLower,
        ExceptionClass::kWatchpointLower, ExceptionClass::kBreakpoint32,
        ExceptionClass::kVectorCatch32, ExceptionClass::kBrk64}) {
    set(exception, OnStrayStep);
  }
  return table;
}
constexpr std::array<Handler, 64> kTable = MakeTable();

}  // namespace

namespace {

MmioAccess DecodeMmio(const Vcpu& vcpu) {
  return *MmioAccess::Decode(vcpu.mmio_syndrome,
                             (vcpu.work & kWorkMmio) != 0 && vcpu.mmio_big_endian);
}

}  // namespace

MmioAccessRequest MmioRequest(const Vcpu& vcpu) {
  const MmioAccess access = DecodeMmio(vcpu);
  const bool has_value = access.write && access.register_number != kZeroRegister;
  return {.offset = vcpu.mmio_offset,
          .size = access.size,
          .write = access.write,
          .value = has_value ? access.Outgoing(vcpu.frame.x[access.register_number]) : 0};
}

void CompleteMmio(Vcpu& vcpu, bool ok, uint64_t value) {
  const MmioAccess access = DecodeMmio(vcpu);
  vcpu.work &= ~kWorkMmio;
  if (!ok) {
    vcpu.work |= kWorkAbort;  // its EL1 registers may be on another CPU, or in memory
    return;
  }
  if (!access.write && access.register_number != kZeroRegister) {
    vcpu.frame.x[access.register_number] = access.Complete(value);
  }
  SkipInstruction(ProgressOf(vcpu), vcpu.mmio_syndrome);
}

void CompleteHypercall(Vcpu& vcpu, bool ok, const abi::Words& words) {
  if (!ok) {
    vcpu.frame.x[0] = kNotSupported;
    return;
  }
  for (size_t i = 0; i < 4; ++i) vcpu.frame.x[i] = words[i];
}

void UpdateDebug(Vcpu& vcpu) {
  if (!vcpu.context.debug.IsActive()) {
    if ((vcpu.work & kWorkDebug) == 0) return;
    vcpu.work &= ~kWorkDebug;
    vcpu.hypercall = vcpu.vm->hypercall;
    DebugRegisters::Disable();
    return;
  }
  // While debug events may happen, every exit takes the slow path, which keeps them away from tasks.
  vcpu.work |= kWorkDebug;
  vcpu.last_range = &no_range;
  vcpu.hypercall = nullptr;
}

// From kernel/vectors.S: a synchronous exception that the fast path left alone. All registers are in the frame.
extern "C" Thread* HandleSynchronous() ABSL_EXCLUSIVE_LOCK_FUNCTION(kernel_lock) {
  Cpu& cpu = Cpu::This();
  const uint64_t esr_value = EsrEl2::Read();
  kernel_lock.Lock(cpu);
  if (cpu.current == nullptr) return Schedule(cpu);  // stopped by another CPU meanwhile
  if (cpu.current->vcpu) {
    Vcpu& vcpu = *static_cast<Vcpu*>(cpu.current);
    kTable[static_cast<size_t>(esr::Class(esr_value))](vcpu, esr_value);
  } else {
    Task& task = *static_cast<Task*>(cpu.current);
    const uint64_t far = FarEl2::Read();
    if (IsMapped(task, VirtAddr(far), esr_value) || OnStep(task, esr_value)) return Schedule(cpu);
    task.death_esr = esr_value;
    task.death_far = far;
    Die(task, DeathCause::kFault);
  }
  return Schedule(cpu);
}

// A physical SError while a thread ran: nobody can say whose data it was.
extern "C" Thread* HandleSystemError() {
  Panic("SError: the machine reports an error that no thread can be blamed for");
}

extern "C" void HandleKernelException(PanicFrame* frame) { PanicException(*frame); }

}  // namespace atoll
