#include "kernel/vcpu/debug_registers.h"

#include <utility>

#include "kernel/system_register.h"
#include "kernel/vcpu/sanitize.h"

namespace atoll {
namespace {

inline constexpr uint64_t kMdscrSs = 1u << 0;
inline constexpr uint64_t kMdscrMde = 1u << 15;

// A register name is part of the instruction, hence one instruction per register.
template <DebugRow kRow, size_t kNumber>
bool WriteOne(const DebugRegisters& registers) {
  EncodedRegister<2, 0, 0, kNumber, static_cast<unsigned>(kRow)>::Write(
      registers.Get(kRow, kNumber));
  return true;
}

template <DebugRow kValues, DebugRow kControls, size_t... kNumbers>
void WriteFirst(const DebugRegisters& registers, size_t count, std::index_sequence<kNumbers...>) {
  static_cast<void>(((kNumbers != count && WriteOne<kValues, kNumbers>(registers) &&
                      WriteOne<kControls, kNumbers>(registers)) &&
                     ...));
}

}  // namespace

void DebugRegisters::SetMdscr(uint64_t value) { mdscr_ = SaneMdscr(value); }

void DebugRegisters::Set(DebugRow row, size_t n, uint64_t value) {
  if (row == DebugRow::kBreakpointControl) value = SaneBreakpointControl(value);
  if (row == DebugRow::kWatchpointControl) value = SaneWatchpointControl(value);
  rows_[RowIndex(row)][n] = value;
}

bool DebugRegisters::IsActive() const {
  return !os_locked_ && (mdscr_ & (kMdscrSs | kMdscrMde)) != 0;
}

void DebugRegisters::Load(size_t breakpoints, size_t watchpoints) const {
  if (!IsActive()) return Disable();
  constexpr auto kNumbers = std::make_index_sequence<kMaxPerRow>();
  WriteFirst<DebugRow::kBreakpointValue, DebugRow::kBreakpointControl>(*this, breakpoints,
                                                                       kNumbers);
  WriteFirst<DebugRow::kWatchpointValue, DebugRow::kWatchpointControl>(*this, watchpoints,
                                                                       kNumbers);
  MdscrEl1::Write(mdscr_);  // synchronised by eret
}

void DebugRegisters::Disable() { MdscrEl1::Write(0); }

void DebugRegisters::InitializeCpu() {
  Disable();
  OslarEl1::Write(0);
  Isb();
}

}  // namespace atoll
