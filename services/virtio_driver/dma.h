// Memory that a device reads and writes by itself.
//
// Devices are coherent with the CPUs' caches, as QEMU's are ("dma-coherent" in its device tree), so
// nothing is ever cleaned or invalidated. What remains is order: a device is another observer in
// the outer shareable domain, so the barriers are those of DMA (`osh`), not those between CPUs.
#ifndef ATOLL_SERVICES_VIRTIO_DRIVER_DMA_H_
#define ATOLL_SERVICES_VIRTIO_DRIVER_DMA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/address.h"

namespace atoll::virtio_driver {

// Physically contiguous memory of the driver, as it sees it and as its device does. The device may
// write to it at any time: read each word once and check the copy.
struct DmaMemory {
  std::span<std::byte> bytes;
  PhysAddr physical;

  // [offset, offset + length), which lies inside.
  DmaMemory Part(size_t offset, size_t length) const {
    return {bytes.subspan(offset, length), physical + offset};
  }
};

#if __STDC_HOSTED__
inline void DmaWriteBarrier() { std::atomic_thread_fence(std::memory_order_release); }
inline void DmaReadBarrier() { std::atomic_thread_fence(std::memory_order_acquire); }
inline void DmaFullBarrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }
#else
// Stores before it are seen by the device before stores after it: those to memory and those to its
// registers alike.
inline void DmaWriteBarrier() { asm volatile("dmb oshst" ::: "memory"); }
// Loads before it are done before loads and stores after it.
inline void DmaReadBarrier() { asm volatile("dmb oshld" ::: "memory"); }
// Stores before it are seen before loads after it are done.
inline void DmaFullBarrier() { asm volatile("dmb osh" ::: "memory"); }
#endif

}  // namespace atoll::virtio_driver

#endif  // ATOLL_SERVICES_VIRTIO_DRIVER_DMA_H_
