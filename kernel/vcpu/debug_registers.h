// A vCPU's hardware debug: breakpoints, watchpoints, software step, OS lock (DDI0487, self-hosted
// debug).
//
// The guest's accesses trap (MDCR_EL2.TDA, TDOSA), so memory holds the truth and nothing is ever
// read back. The hardware registers are written only while the guest really uses them: IsActive().
//
// While MDSCR_EL1 holds a guest's value, a task at EL0 would take that guest's breakpoints and
// steps to EL2 (TGE = 1). So for an active vCPU, Disable() must run before a task does and Load()
// before the guest goes on; for all others there is nothing to do on an exit. At EL2 itself
// PSTATE.D masks all of them.
#ifndef ATOLL_KERNEL_VCPU_DEBUG_REGISTERS_H_
#define ATOLL_KERNEL_VCPU_DEBUG_REGISTERS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace atoll {

// One row of registers: <n> = 0..15, at S2_0_C0_C<n>_<row>.
enum class DebugRow : uint32_t {
  kBreakpointValue = 4,    // DBGBVR<n>_EL1
  kBreakpointControl = 5,  // DBGBCR<n>_EL1
  kWatchpointValue = 6,    // DBGWVR<n>_EL1
  kWatchpointControl = 7,  // DBGWCR<n>_EL1
};

class DebugRegisters {
 public:
  static constexpr size_t kMaxPerRow = 16;

  // As firmware leaves them: OS lock open, nothing enabled.
  DebugRegisters() = default;

  uint64_t mdscr() const { return mdscr_; }
  bool os_locked() const { return os_locked_; }
  uint64_t Get(DebugRow row, size_t n) const { return rows_[RowIndex(row)][n]; }

  // As the guest writes them; bits that it may not have read back 0.
  void SetMdscr(uint64_t value);
  void SetOsLock(bool locked) { os_locked_ = locked; }
  void Set(DebugRow row, size_t n, uint64_t value);

  // A breakpoint, watchpoint or step may happen.
  bool IsActive() const;

  // Into this CPU, which has that many of each. MDSCR_EL1 alone (0) if not active.
  void Load(size_t breakpoints, size_t watchpoints) const;
  // None of a guest's debug events happens on this CPU.
  static void Disable();
  // Once per CPU at boot: opens the CPU's own OS lock, which would keep all of it from working.
  static void InitializeCpu();

 private:
  static constexpr size_t RowIndex(DebugRow row) {
    return static_cast<size_t>(row) - static_cast<size_t>(DebugRow::kBreakpointValue);
  }

  uint64_t mdscr_ = 0;
  bool os_locked_ = false;
  std::array<std::array<uint64_t, kMaxPerRow>, 4> rows_ = {};
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VCPU_DEBUG_REGISTERS_H_
