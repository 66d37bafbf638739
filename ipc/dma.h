// Which memory a driver's device may access: a table of windows in one page that the supervisor shares with the driver.
//
// A driver of a device that masters DMA has to know physical addresses, and it has to let go of memory before that is
// given to somebody else. Entry 0 is the driver's own DMA memory (its mapping DMA), entry 1 + i the RAM of the VM of
// instance i of the service whose requests it serves. Guest physical addresses [guest_base, guest_base + bytes) of that
// VM are the physical ones from `physical` on. In entry 0, guest_base is the offset of the device's registers within
// the page that is mapped for them.
//
// Opening a window: the supervisor writes the three words, then an odd `generation`.
// Closing it (the VM has ended and its memory is wanted back): the supervisor makes `generation` even and signals the
// driver. The driver takes no more requests for the window, waits until its device has finished those that it has, or
// resets the device, fails what is left, stores the generation to `closed_generation` and signals the supervisor. If
// that takes longer than kDmaCloseSeconds, the supervisor kills the driver; a driver that starts resets its device
// before anything else, so after its start nothing of an earlier instance is under way.
//
// A new instance of the driver finds windows that are to be closed as any other: it acknowledges them when it has
// reset its device. A driver that found no device acknowledges at once.
#ifndef ATOLL_IPC_DMA_H_
#define ATOLL_IPC_DMA_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "ipc/address.h"

namespace atoll {

struct DmaWindow {
  uint64_t guest_base;
  uint64_t bytes;
  uint64_t physical;
  uint32_t generation;  // odd: open; even: closed, or to be closed. Written by the supervisor
  uint32_t closed_generation;  // the last one that the driver has let go of. Written by the driver
};
static_assert(sizeof(DmaWindow) == 32 && offsetof(DmaWindow, generation) == 24);

inline constexpr size_t kDmaWindows = kPageSize / sizeof(DmaWindow);
inline constexpr size_t kOwnDmaWindow = 0;          // the driver's own DMA memory
inline constexpr size_t kFirstClientDmaWindow = 1;  // + index of the client's instance
inline constexpr uint64_t kDmaCloseSeconds = 1;

using DmaTable = std::array<DmaWindow, kDmaWindows>;
static_assert(sizeof(DmaTable) == kPageSize);

constexpr bool IsOpenDmaGeneration(uint32_t generation) { return (generation & 1) != 0; }

namespace dma_internal {

template <typename T>
T Load(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_acquire);
}
template <typename T>
void Store(T& word, T value) {
  std::atomic_ref<T>(word).store(value, std::memory_order_release);
}

}  // namespace dma_internal

// ---- the supervisor's side. It keeps the generations in private memory: the page is writable for the driver ----

// `generation` is odd and new.
inline void OpenDmaWindow(DmaWindow& window, uint64_t guest_base, uint64_t bytes, PhysAddr physical,
                          uint32_t generation) {
  dma_internal::Store(window.guest_base, guest_base);
  dma_internal::Store(window.bytes, bytes);
  dma_internal::Store(window.physical, physical.value);
  dma_internal::Store(window.generation, generation);
}

// `generation` is even and new. The driver is to be signalled afterwards.
inline void CloseDmaWindow(DmaWindow& window, uint32_t generation) {
  dma_internal::Store(window.generation, generation);
}

// The driver has let go of the window.
inline bool IsDmaWindowClosed(DmaWindow& window, uint32_t generation) {
  return dma_internal::Load(window.closed_generation) == generation;
}

// ---- the driver's side ---------------------------------------------------------------------------------------

// A private copy of an open window.
struct OpenDma {
  uint64_t guest_base = 0;
  uint64_t bytes = 0;
  PhysAddr physical;
  uint32_t generation = 0;

  // Physical address of [guest, guest + length), nothing if that is not all inside.
  std::optional<PhysAddr> Translate(GuestPhys guest, uint64_t length) const {
    if (guest.value < guest_base || !InBounds(guest.value - guest_base, length, bytes)) {
      return std::nullopt;
    }
    return physical + (guest.value - guest_base);
  }
};

// Nothing unless it is open. The supervisor does not open a window again before its end was acknowledged, so the
// words belong to the generation if that is the same before and after.
inline std::optional<OpenDma> ReadDmaWindow(DmaWindow& window) {
  const uint32_t generation = dma_internal::Load(window.generation);
  if (!IsOpenDmaGeneration(generation)) return std::nullopt;
  const OpenDma open{.guest_base = dma_internal::Load(window.guest_base),
                     .bytes = dma_internal::Load(window.bytes),
                     .physical = PhysAddr(dma_internal::Load(window.physical)),
                     .generation = generation};
  if (dma_internal::Load(window.generation) != generation) return std::nullopt;
  return open;
}

// The generation to be acknowledged if the supervisor wants the window closed and has no answer yet.
inline std::optional<uint32_t> DmaWindowToClose(DmaWindow& window) {
  const uint32_t generation = dma_internal::Load(window.generation);
  if (IsOpenDmaGeneration(generation)) return std::nullopt;
  if (dma_internal::Load(window.closed_generation) == generation) return std::nullopt;
  return generation;
}

// No request with the window is under way any more, and none will be. The supervisor is to be signalled afterwards.
inline void AcknowledgeDmaClosed(DmaWindow& window, uint32_t generation) {
  dma_internal::Store(window.closed_generation, generation);
}

}  // namespace atoll

#endif  // ATOLL_IPC_DMA_H_
