// The drivers' tables of DMA windows (ipc/dma.h), as the supervisor keeps them.
#ifndef ATOLL_SERVICES_SUPERVISOR_DMA_WINDOWS_H_
#define ATOLL_SERVICES_SUPERVISOR_DMA_WINDOWS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/dma.h"
#include "proto/plan.pb.h"
#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/ledger.h"
#include "services/supervisor/objects.h"

namespace atoll {

class DmaWindows {
 public:
  constexpr DmaWindows(KernelCalls& kernel, Objects& objects)
      : kernel_(kernel), objects_(objects) {}

  // Opens the window, for the first time or again. `offset` is added to its guest_base. FAILED_PRECONDITION: it is
  // open, or not closed yet; NOT_FOUND: no such memory; OUT_OF_RANGE: the table is less than a page.
  Status Open(const atoll_PlanDma& plan, uint64_t offset);

  // Wants all windows of this VM closed and tells the drivers, again those that have not closed theirs yet.
  void BeginClose(Owner vm);

  // After the supervisor's own death (recovery_records.cc): a window that an earlier instance opened, and perhaps
  // closed, is as it was. To be asked of all windows in the order of the plan.
  Status Adopt(const atoll_PlanDma& plan, uint64_t offset);
  bool IsOpen(const atoll_PlanDma& plan);

  // A driver that has not let go of a window of this VM; nothing if all are closed.
  std::optional<uint32_t> Holder(Owner vm);

 private:
  // Where the supervisor maps the tables, a page each.
  static constexpr VirtAddr kTables{0x29'0000'0000};
  static constexpr size_t kMaxTables = 8;
  static constexpr size_t kMaxWindows = 256;

  struct Window {
    uint32_t table = 0;  // slot of its memory
    uint32_t entry = 0;
    Owner vm = kMachine;
    uint32_t driver = 0;
    uint32_t signal = 0;
    uint32_t generation = 0;  // the last one; the page's is the driver's to write
  };

  static constexpr uint32_t Place(uint32_t table, uint32_t entry) { return table << 16 | entry; }

  // In the journal before it is in the page.
  void SetGeneration(Window& window, uint32_t generation);
  Result<DmaTable*> Table(uint32_t slot);
  DmaTable& At(size_t table);
  DmaWindow& Shared(const Window& window) { return (**Table(window.table))[window.entry]; }
  bool IsClosed(const Window& window);

  KernelCalls& kernel_;
  Objects& objects_;
  FixedList<uint32_t, kMaxTables> tables_;
  FixedList<Window, kMaxWindows> windows_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_DMA_WINDOWS_H_
