#include "services/supervisor/dma_windows.h"

#include <algorithm>

#include "services/supervisor/journal.h"

namespace atoll {

Status DmaWindows::Open(const atoll_PlanDma& plan, uint64_t offset) {
  if (!objects_.Exists(plan.target)) return Status::kNotFound;
  const Ledger::Object& target = objects_.ledger().objects[plan.target];
  if (target.memory_bytes == 0) return Status::kInvalidArgument;  // no memory
  const Result<DmaTable*> table = Table(plan.table);
  if (!table.has_value()) return table.error();

  const auto windows = windows_.entries();
  const auto found = std::ranges::find_if(windows, [&](const Window& window) {
    return window.table == plan.table && window.entry == plan.entry;
  });
  Window* window = found != windows.end() ? &*found : nullptr;
  if (window == nullptr) {
    window = windows_.Add({.table = plan.table,
                           .entry = plan.entry,
                           .vm = plan.vm,
                           .driver = plan.driver,
                           .signal = plan.signal});
    if (window == nullptr) return Status::kResourceExhausted;
  } else if (!IsClosed(*window)) {
    return Status::kFailedPrecondition;
  }
  SetGeneration(*window, window->generation + 1 + window->generation % 2);  // the next odd number
  OpenDmaWindow((**table)[plan.entry], plan.guest_base + offset, target.memory_bytes, target.memory,
                window->generation);
  return Status::kOk;
}

void DmaWindows::BeginClose(Owner vm) {
  for (Window& window : windows_.entries()) {
    if (window.vm != vm) continue;
    if (IsOpenDmaGeneration(window.generation)) SetGeneration(window, window.generation + 1);
    if (IsClosed(window)) continue;
    CloseDmaWindow(Shared(window), window.generation);
    // A driver without such a signal is told by nobody and looks by itself.
    if (window.signal != 0) (void)kernel_.SetSignal(abi::Handle{window.signal});
  }
}

std::optional<uint32_t> DmaWindows::Holder(Owner vm) {
  for (const Window& window : windows_.entries()) {
    if (window.vm == vm && !IsClosed(window)) return window.driver;
  }
  return std::nullopt;
}

void DmaWindows::SetGeneration(Window& window, uint32_t generation) {
  window.generation = generation;
  const auto index = static_cast<size_t>(&window - windows_.entries().data());
  JournaledWindow& journaled = JournalOf(kernel_).windows[index];
  journaled.place = Place(window.table, window.entry);
  Journal(journaled.generation, generation);
}

bool DmaWindows::IsClosed(const Window& window) {
  return !IsOpenDmaGeneration(window.generation) &&
         IsDmaWindowClosed(Shared(window), window.generation);
}

// Maps it when it is named for the first time. It stays as long as the machine.
Result<DmaTable*> DmaWindows::Table(uint32_t slot) {
  const auto tables = tables_.entries();
  const auto index = static_cast<size_t>(std::ranges::find(tables, slot) - tables.begin());
  const VirtAddr address = kTables + index * kPageSize;
  if (index == tables.size()) {
    if (tables_.full()) return std::unexpected(Status::kResourceExhausted);
    if (!objects_.Exists(slot)) return std::unexpected(Status::kNotFound);
    if (objects_.ledger().objects[slot].memory_bytes < kPageSize) {
      return std::unexpected(Status::kOutOfRange);
    }
    if (objects_.ledger().objects[slot].owner != kMachine) {
      return std::unexpected(Status::kFailedPrecondition);  // it would go with its VM
    }
    if (!objects_.IsMapped(slot, kOwnTask.slot, address.value)) {
      objects_.set_owner(kMachine);
      const Status status = objects_.Map(slot, kOwnTask.slot, 0, address.value, kPageSize,
                                         Rights(Right::kRead, Right::kWrite));
      if (!IsOk(status)) return std::unexpected(status);
    }
    (void)tables_.Add(slot);
  }
  return &At(index);
}

DmaTable& DmaWindows::At(size_t table) {
  return *reinterpret_cast<DmaTable*>(
      kernel_.OwnMemory(kTables + table * kPageSize, kPageSize).data());
}

}  // namespace atoll
