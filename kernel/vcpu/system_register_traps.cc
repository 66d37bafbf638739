#include "kernel/vcpu/system_register_traps.h"

#include <optional>

#include "kernel/system_register.h"

namespace atoll {
namespace {

using Read = std::optional<uint64_t> (*)(TrappedVcpu&, RegisterEncoding);  // nothing: undefined
using Write = bool (*)(TrappedVcpu&, RegisterEncoding, uint64_t value);    // false: undefined

// ---- values that are always the same ------------------------------------------------------------

std::optional<uint64_t> ReadZero(TrappedVcpu&, RegisterEncoding) { return 0; }
bool Ignore(TrappedVcpu&, RegisterEncoding, uint64_t) { return true; }

// ---- ID registers -------------------------------------------------------------------------------

std::optional<uint64_t> ReadId(TrappedVcpu& vcpu, RegisterEncoding encoding) {
  return vcpu.id_registers.Get({encoding.crm(), encoding.op2()});
}

// The CPU's own: guests choose workarounds by it.
std::optional<uint64_t> ReadRevision(TrappedVcpu&, RegisterEncoding) {
  return EncodedRegister<3, 0, 0, 0, 6>::Read();
}

// ---- GIC CPU interface --------------------------------------------------------------------------

bool WriteSgi1(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.backend.GenerateSgi(TrappedSgi::kGroup1, value);
  return true;
}
bool WriteAliasSgi1(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.backend.GenerateSgi(TrappedSgi::kAliasGroup1, value);
  return true;
}
bool WriteSgi0(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.backend.GenerateSgi(TrappedSgi::kGroup0, value);
  return true;
}
bool WriteDeactivate(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.backend.DeactivateInterrupt(value);
  return true;
}

// SRE, DFB, DIB: system registers only.
std::optional<uint64_t> ReadSystemRegisterEnable(TrappedVcpu&, RegisterEncoding) { return 7; }

// ---- debug --------------------------------------------------------------------------------------

void LoadDebug(const TrappedVcpu& vcpu) {
  vcpu.debug.Load(vcpu.cpu.breakpoints, vcpu.cpu.watchpoints);
}

std::optional<uint64_t> ReadMdscr(TrappedVcpu& vcpu, RegisterEncoding) {
  return vcpu.debug.mdscr();
}
bool WriteMdscr(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.debug.SetMdscr(value);
  LoadDebug(vcpu);
  return true;
}

bool WriteOsLockAccess(TrappedVcpu& vcpu, RegisterEncoding, uint64_t value) {
  vcpu.debug.SetOsLock((value & 1) != 0);
  LoadDebug(vcpu);
  return true;
}
std::optional<uint64_t> ReadOsLockStatus(TrappedVcpu& vcpu, RegisterEncoding) {
  constexpr uint64_t kOslm = 1u << 3;  // OSLM = 0b10: the lock exists
  constexpr uint64_t kOslk = 1u << 1;
  return kOslm | (vcpu.debug.os_locked() ? kOslk : 0);
}

DebugRow RowOf(RegisterEncoding encoding) { return static_cast<DebugRow>(encoding.op2()); }
bool Exists(const TrappedVcpu& vcpu, RegisterEncoding encoding) {
  const bool breakpoint = encoding.op2() <= static_cast<uint32_t>(DebugRow::kBreakpointControl);
  return encoding.crm() < (breakpoint ? vcpu.cpu.breakpoints : vcpu.cpu.watchpoints);
}
std::optional<uint64_t> ReadDebugRow(TrappedVcpu& vcpu, RegisterEncoding encoding) {
  if (!Exists(vcpu, encoding)) return std::nullopt;
  return vcpu.debug.Get(RowOf(encoding), encoding.crm());
}
bool WriteDebugRow(TrappedVcpu& vcpu, RegisterEncoding encoding, uint64_t value) {
  if (!Exists(vcpu, encoding)) return false;
  vcpu.debug.Set(RowOf(encoding), encoding.crm(), value);
  LoadDebug(vcpu);
  return true;
}

// ---- the table ----------------------------------------------------------------------------------

struct Entry {
  RegisterEncoding encoding;
  uint16_t mask;  // bits of the encoding that must match
  Read read;      // null: undefined
  Write write;    // null: undefined
};

inline constexpr uint16_t kExact = 0xffff;
inline constexpr uint16_t kAnyCrm = 0xffff & ~(0xf << 3);
inline constexpr uint16_t kAnyOp2 = 0xffff & ~0x7;
inline constexpr uint16_t kAnyCrmBelow8AndOp2 = 0xffff & ~(0x7 << 3 | 0x7);

constexpr RegisterEncoding E(unsigned op0, unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
  return RegisterEncoding::Of(op0, op1, crn, crm, op2);
}

// The first match counts; what is frequent comes first.
constexpr Entry kTable[] = {
    {E(3, 0, 12, 11, 5), kExact, nullptr, WriteSgi1},                // ICC_SGI1R_EL1
    {E(3, 0, 12, 11, 1), kExact, nullptr, WriteDeactivate},          // ICC_DIR_EL1
    {E(3, 0, 12, 11, 6), kExact, nullptr, WriteAliasSgi1},           // ICC_ASGI1R_EL1
    {E(3, 0, 12, 11, 7), kExact, nullptr, WriteSgi0},                // ICC_SGI0R_EL1
    {E(3, 0, 12, 12, 5), kExact, ReadSystemRegisterEnable, Ignore},  // ICC_SRE_EL1

    {E(3, 0, 0, 0, 6), kExact, ReadRevision, nullptr},         // REVIDR_EL1
    {E(3, 0, 0, 0, 0), kAnyOp2, nullptr, nullptr},             // MIDR_EL1, MPIDR_EL1: not trapped
    {E(3, 0, 0, 0, 0), kAnyCrmBelow8AndOp2, ReadId, nullptr},  // ID_*, CRm 1-7
    {E(3, 1, 0, 0, 7), kExact, ReadZero, nullptr},             // AIDR_EL1

    {E(3, 0, 1, 0, 1), kExact, ReadZero, Ignore},  // ACTLR_EL1

    {E(2, 0, 0, 2, 2), kExact, ReadMdscr, WriteMdscr},         // MDSCR_EL1
    {E(2, 0, 0, 0, 4), kAnyCrm, ReadDebugRow, WriteDebugRow},  // DBGBVR<n>_EL1
    {E(2, 0, 0, 0, 5), kAnyCrm, ReadDebugRow, WriteDebugRow},  // DBGBCR<n>_EL1
    {E(2, 0, 0, 0, 6), kAnyCrm, ReadDebugRow, WriteDebugRow},  // DBGWVR<n>_EL1
    {E(2, 0, 0, 0, 7), kAnyCrm, ReadDebugRow, WriteDebugRow},  // DBGWCR<n>_EL1
    {E(2, 0, 1, 0, 4), kExact, nullptr, WriteOsLockAccess},    // OSLAR_EL1
    {E(2, 0, 1, 1, 4), kExact, ReadOsLockStatus, nullptr},     // OSLSR_EL1
    {E(2, 0, 1, 3, 4), kExact, ReadZero, Ignore},              // OSDLR_EL1: no double lock
    {E(2, 0, 1, 4, 4), kExact, ReadZero, Ignore},              // DBGPRCR_EL1
    {E(2, 0, 1, 0, 0), kExact, ReadZero, nullptr},             // MDRAR_EL1: no debug ROM
    {E(2, 0, 7, 8, 6), kExact, ReadZero, Ignore},              // DBGCLAIMSET_EL1: no claim tags
    {E(2, 0, 7, 9, 6), kExact, ReadZero, Ignore},              // DBGCLAIMCLR_EL1
    {E(2, 0, 7, 14, 6), kExact, ReadZero, nullptr},  // DBGAUTHSTATUS_EL1: no external debug
    // The debug communications channel: no debugger at its other end.
    {E(2, 0, 0, 2, 0), kExact, ReadZero, Ignore},   // MDCCINT_EL1
    {E(2, 0, 0, 0, 2), kExact, ReadZero, Ignore},   // OSDTRRX_EL1
    {E(2, 0, 0, 3, 2), kExact, ReadZero, Ignore},   // OSDTRTX_EL1
    {E(2, 0, 0, 6, 2), kExact, ReadZero, Ignore},   // OSECCR_EL1
    {E(2, 3, 0, 1, 0), kExact, ReadZero, nullptr},  // MDCCSR_EL0
    {E(2, 3, 0, 4, 0), kExact, ReadZero, Ignore},   // DBGDTR_EL0
    {E(2, 3, 0, 5, 0), kExact, ReadZero, Ignore},   // DBGDTRRX_EL0, DBGDTRTX_EL0
};

const Entry* Find(RegisterEncoding encoding) {
  for (const Entry& entry : kTable) {
    if ((encoding.value & entry.mask) == entry.encoding.value) return &entry;
  }
  return nullptr;
}

inline constexpr uint32_t kXzr = 31;
inline constexpr uint32_t kOp1OfEl0 = 3;

}  // namespace

TrapOutcome HandleSystemRegister(uint64_t esr_value, bool from_el0, TrappedVcpu& vcpu,
                                 std::span<uint64_t, 31> x) {
  const SystemRegisterAccess access = SystemRegisterAccess::Decode(esr_value);
  const Entry* const entry = Find(access.encoding);
  if (entry == nullptr || (from_el0 && access.encoding.op1() != kOp1OfEl0))
    return TrapOutcome::kUndefined;
  if (access.read) {
    const std::optional<uint64_t> value =
        entry->read ? entry->read(vcpu, access.encoding) : std::nullopt;
    if (!value) return TrapOutcome::kUndefined;
    if (access.register_number != kXzr) x[access.register_number] = *value;
    return TrapOutcome::kCompleted;
  }
  const uint64_t value = access.register_number == kXzr ? 0 : x[access.register_number];
  const bool written = entry->write && entry->write(vcpu, access.encoding, value);
  return written ? TrapOutcome::kCompleted : TrapOutcome::kUndefined;
}

}  // namespace atoll
