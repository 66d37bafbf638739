// The machine as its device tree describes it.
#ifndef ATOLL_KERNEL_MACHINE_MACHINE_H_
#define ATOLL_KERNEL_MACHINE_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "ipc/address.h"
#include "kernel/log/line.h"
#include "kernel/machine/bounded_vector.h"
#include "kernel/machine/power.h"

namespace atoll {

// base + bytes never wraps.
struct PhysRange {
  PhysAddr base;
  uint64_t bytes = 0;

  constexpr PhysAddr end() const { return base + bytes; }
  constexpr bool Contains(const PhysRange& other) const {
    return other.base >= base && InBounds(other.base - base, other.bytes, bytes);
  }
  constexpr bool Overlaps(const PhysRange& other) const {
    return base < other.end() && other.base < end();
  }
};

struct ReservedRange {
  PhysRange range;
  bool no_map = false;  // must not even be mapped (/reserved-memory, no-map)
};

struct Device {
  PhysRange registers;
  uint32_t intid = 0;          // as the GIC counts: 32 + n for SPI n, 16 + n for PPI n
  bool edge = false;           // edge-triggered
  uint32_t virtio_device = 0;  // a virtio-mmio slot (version 2) in use: its DeviceID
};

inline constexpr uint32_t kVirtioNetworkDevice = 1;  // VIRTIO 1.2, 5
inline constexpr uint32_t kVirtioBlockDevice = 2;
inline constexpr uint32_t kVirtioConsoleDevice = 3;

// Private interrupts of the timers, INTIDs 16 to 31.
struct TimerInterrupts {
  uint32_t physical = 0;    // CNTP, EL1
  uint32_t virtual_ = 0;    // CNTV
  uint32_t hypervisor = 0;  // CNTHP
};

inline constexpr size_t kMaxMemoryRanges = 8;
inline constexpr size_t kMaxReservedRanges = 16;
inline constexpr size_t kMaxMachineCpus = 8;
inline constexpr size_t kMaxRedistributorRegions = 4;
inline constexpr size_t kMaxVirtioSlots = 64;
inline constexpr size_t kMaxBootArguments = 256;

struct Machine {
  BoundedVector<PhysRange, kMaxMemoryRanges> memory;  // ascending, disjoint, whole pages
  uint64_t memory_ignored = 0;                        // bytes above the kernel's direct map
  BoundedVector<ReservedRange, kMaxReservedRanges> reserved;
  BoundedVector<uint64_t, kMaxMachineCpus> cpus;  // MPIDR_EL1 affinity, in the tree's order
  uint32_t cpus_ignored = 0;                      // beyond kMaxMachineCpus
  PhysRange distributor;                          // GICD
  BoundedVector<PhysRange, kMaxRedistributorRegions> redistributors;  // GICR
  TimerInterrupts timers;
  PsciConduit psci = PsciConduit::kByLevel;
  std::optional<Device> uart;                     // PL011: /chosen stdout-path, else the first
  std::optional<Device> rtc;                      // PL031
  BoundedVector<Device, kMaxVirtioSlots> virtio;  // virtio-mmio, by ascending address
  std::optional<PhysRange> initrd;                // inside one memory range
  std::array<char, kMaxBootArguments> bootargs = {};
  size_t bootargs_length = 0;

  std::string_view boot_arguments() const { return {bootargs.data(), bootargs_length}; }
};

// Fills `machine` (fresh) from a flattened device tree, every byte of which may be wrong. The error
// is a sentence that names node and property. Devicetree Specification 0.4; Linux's bindings for
// the nodes.
std::expected<void, Line> ParseMachine(std::span<const std::byte> device_tree, Machine& machine);

using FreeMemory = BoundedVector<PhysRange, kMaxMemoryRanges + kMaxReservedRanges + 4>;

// Memory without no-map ranges: what may be mapped; without all reserved ranges and `taken`: what
// is nobody's yet. Whole pages. False if it falls into more pieces than fit.
[[nodiscard]] bool MappableMemory(const Machine& machine, FreeMemory& result);
[[nodiscard]] bool UnusedMemory(const Machine& machine, std::span<const PhysRange> taken,
                                FreeMemory& result);

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_MACHINE_H_
