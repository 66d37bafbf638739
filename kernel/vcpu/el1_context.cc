#include "kernel/vcpu/el1_context.h"

#include "kernel/system_register.h"

namespace atoll {
namespace {

// SCTLR_EL1 bits that are RES1 without the features that define them: LSMAOE, nTLSMD, SPAN, EIS,
// TSCXT, EOS.
inline constexpr uint64_t kSctlrReset = 0x30d0'0800;

// A register and the field that keeps it.
template <typename Register, uint64_t El1Context::* kField>
struct Kept {
  static void Save(El1Context& context) { context.*kField = Register::Read(); }
  static void Load(const El1Context& context) { Register::Write(context.*kField); }
};

template <typename... Registers>
struct List {
  static void Save(El1Context& context) { (Registers::Save(context), ...); }
  static void Load(const El1Context& context) { (Registers::Load(context), ...); }
};

using Always =
    List<Kept<SctlrEl12, &El1Context::sctlr>, Kept<CpacrEl12, &El1Context::cpacr>,
         Kept<Ttbr0El12, &El1Context::ttbr0>, Kept<Ttbr1El12, &El1Context::ttbr1>,
         Kept<TcrEl12, &El1Context::tcr>, Kept<MairEl12, &El1Context::mair>,
         Kept<AmairEl12, &El1Context::amair>, Kept<VbarEl12, &El1Context::vbar>,
         Kept<EsrEl12, &El1Context::esr>, Kept<FarEl12, &El1Context::far>,
         Kept<Afsr0El12, &El1Context::afsr0>, Kept<Afsr1El12, &El1Context::afsr1>,
         Kept<ElrEl12, &El1Context::elr>, Kept<SpsrEl12, &El1Context::spsr>,
         Kept<SpEl1, &El1Context::sp_el1>, Kept<TpidrEl1, &El1Context::tpidr_el1>,
         Kept<ContextidrEl12, &El1Context::contextidr>, Kept<CsselrEl1, &El1Context::csselr>,
         Kept<CntkctlEl12, &El1Context::cntkctl>, Kept<ParEl1, &El1Context::par>,
         Kept<VmpidrEl2, &El1Context::vmpidr>, Kept<VpidrEl2, &El1Context::vpidr>>;

using WithRas = List<Kept<VsesrEl2, &El1Context::vsesr>, Kept<VdisrEl2, &El1Context::vdisr>>;

template <typename Register, size_t kIndex>
struct KeptKey {
  static void Save(El1Context& context) { context.keys[kIndex] = Register::Read(); }
  static void Load(const El1Context& context) { Register::Write(context.keys[kIndex]); }
};

using Keys = List<KeptKey<ApiaKeyLoEl1, 0>, KeptKey<ApiaKeyHiEl1, 1>, KeptKey<ApibKeyLoEl1, 2>,
                  KeptKey<ApibKeyHiEl1, 3>, KeptKey<ApdaKeyLoEl1, 4>, KeptKey<ApdaKeyHiEl1, 5>,
                  KeptKey<ApdbKeyLoEl1, 6>, KeptKey<ApdbKeyHiEl1, 7>, KeptKey<ApgaKeyLoEl1, 8>,
                  KeptKey<ApgaKeyHiEl1, 9>>;

void SaveTimers(TimerContext& timers) {
  timers.virtual_control = CntvCtlEl02::Read();
  timers.virtual_compare = CntvCvalEl02::Read();
  timers.physical_control = CntpCtlEl02::Read();
  timers.physical_compare = CntpCvalEl02::Read();
  CntvCtlEl02::Write(0);
  CntpCtlEl02::Write(0);
  Isb();  // the lines are low before anybody looks at pending interrupts
}

void LoadTimers(const TimerContext& timers) {
  // Compare values first: an enabled timer never compares with the last vCPU's value.
  CntvCvalEl02::Write(timers.virtual_compare);
  CntpCvalEl02::Write(timers.physical_compare);
  CntvCtlEl02::Write(timers.virtual_control);
  CntpCtlEl02::Write(timers.physical_control);
}

}  // namespace

void El1Context::Reset(uint64_t mpidr, uint64_t midr) {
  *this = El1Context{};
  sctlr = kSctlrReset;
  vmpidr = mpidr;
  vpidr = midr;
}

void El1Context::Save(const CpuFeatures& cpu) {
  Always::Save(*this);
  if (cpu.ras) WithRas::Save(*this);
  if (cpu.pointer_auth) Keys::Save(*this);
  SaveTimers(timers);
  DebugRegisters::Disable();  // memory holds them already
  SaveFpContext(&fp);
}

void El1Context::Load(const CpuFeatures& cpu) const {
  Always::Load(*this);
  if (cpu.ras) WithRas::Load(*this);
  if (cpu.pointer_auth) Keys::Load(*this);
  LoadTimers(timers);
  debug.Load(cpu.breakpoints, cpu.watchpoints);
  LoadFpContext(&fp);
}

}  // namespace atoll
