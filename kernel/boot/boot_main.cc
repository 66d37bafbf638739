// The second half of boot, at the kernel's virtual addresses: reads the device tree, maps the
// machine, and hands over to KernelMain.
#include <array>

#include "kernel/boot/boot_info.h"
#include "kernel/boot/boot_phases.h"
#include "kernel/boot/image.h"
#include "kernel/boot/kernel_map.h"
#include "kernel/direct_map.h"
#include "kernel/log/log.h"
#include "kernel/log/log_output.h"
#include "kernel/log/panic.h"
#include "kernel/machine/machine.h"
#include "kernel/machine/power.h"
#include "kernel/system_register.h"

namespace atoll::boot {
namespace {

constexpr uint64_t kPl011Bytes = 0x1000;

// Written once, before KernelMain.
constinit Machine machine;

// Not a bug of ours, so no backtrace: one sentence and the failing exit.
[[noreturn]] void Refuse(std::string_view sentence) {
  Line line;
  line << "atoll: " << sentence << '\n';
  LogEmergency(line.view());
  PowerOff(1);
}

void Require(Status status, std::string_view what) {
  if (IsOk(status)) return;
  Line line;
  line << "cannot map " << what << ": " << StatusName(status);
  Refuse(line.view());
}

// From here on the log has its UART. boot_check_machine guessed well on any machine with one PL011.
void OpenEarlyUart(PhysAddr image_base) {
  if (early_uart.value == 0) return;
  const Result<VirtAddr> registers = MapDevice(image_base, early_uart, kPl011Bytes);
  if (registers) LogSetUart(Pl011(registers->value));
}

void OpenUart(PhysAddr image_base) {
  if (!machine.uart || machine.uart->registers.base == early_uart) return;
  const Result<VirtAddr> registers =
      MapDevice(image_base, machine.uart->registers.base, kPl011Bytes);
  if (!registers) Require(registers.error(), "the UART");
  LogSetUart(Pl011(registers->value));
}

// The blob, where the kernel reads it; boot_check_machine has checked its header.
std::span<const std::byte> MapDeviceTree(PhysAddr image_base, PhysRange pages, uint64_t address) {
  Require(MapKernel(image_base, kDeviceTreeWindowBase, pages.base, pages.bytes,
                    MemoryAttribute::kNormalWriteBack, Access::kReadOnly),
          "the device tree");
  const VirtAddr tree = kDeviceTreeWindowBase + (address - pages.base.value);
  return {reinterpret_cast<const std::byte*>(tree.value), device_tree_bytes};
}

void MapMemory(PhysAddr image_base) {
  FreeMemory mappable;
  if (!MappableMemory(machine, mappable)) Refuse("the device tree's memory is in too many pieces");
  for (const PhysRange& range : mappable) {
    Require(MapDirect(image_base, range.base, range.bytes), "memory");
  }
}

// VIRTIO 1.2, 4.2.2.
constexpr uint64_t kVirtioMagic = 0x000;
constexpr uint64_t kVirtioVersion = 0x004;
constexpr uint64_t kVirtioDeviceId = 0x008;
constexpr uint32_t kVirtioMagicValue = 0x7472'6976;
constexpr uint32_t kVirtioVersionMmio2 = 2;
constexpr uint64_t kMaxVirtioBytes = 0x20'0000;  // of the kernel's device window

// Which devices are in the virtio-mmio slots: drivers are started for what is there.
void ProbeVirtio(PhysAddr image_base) {
  if (machine.virtio.empty()) return;
  const PhysAddr first = machine.virtio[0].registers.base;
  const uint64_t bytes = machine.virtio[machine.virtio.size() - 1].registers.end() - first;
  if (bytes > kMaxVirtioBytes)
    return LogWarning("the virtio-mmio slots are too far apart and not used");
  const Result<VirtAddr> window = MapDevice(image_base, first, bytes);
  if (!window) Require(window.error(), "the virtio-mmio slots");
  for (Device& slot : machine.virtio.span()) {
    const uint64_t base = window->value + (slot.registers.base - first);
    const auto read = [base](uint64_t offset) {
      return *reinterpret_cast<const volatile uint32_t*>(base + offset);
    };
    if (read(kVirtioMagic) != kVirtioMagicValue || read(kVirtioDeviceId) == 0) continue;
    if (read(kVirtioVersion) != kVirtioVersionMmio2) {
      LogWarning(
          "the virtio-mmio device at ", Hex(slot.registers.base.value),
          " is a legacy one and not used; with QEMU use -global virtio-mmio.force-legacy=false");
      continue;
    }
    slot.virtio_device = read(kVirtioDeviceId);
  }
}

void LogMachine() {
  for (const PhysRange& range : machine.memory) {
    LogInfo("memory ", Hex(range.base.value), ", ", range.bytes >> 20, " MiB");
  }
  if (machine.memory_ignored != 0) {
    LogWarning(machine.memory_ignored >> 20, " MiB of memory above 256 GiB are not used");
  }
  if (machine.cpus_ignored != 0) {
    LogWarning(machine.cpus_ignored, " CPUs beyond the ", kMaxMachineCpus, "th are not used");
  }
}

}  // namespace

extern "C" [[noreturn]] void boot_panic(const PanicFrame& frame) { PanicException(frame); }

extern "C" void boot_main(uint64_t device_tree, uint64_t image_physical) {
  const PhysAddr image_base(image_physical);
  const RootTables tables = GetRootTables(image_base);
  // The identity map has done its work.
  Ttbr0El2::Write(tables.empty.value);
  Isb();
  asm volatile("tlbi alle2\n\tdsb nsh" ::: "memory");
  Isb();

  OpenEarlyUart(image_base);
  const uint64_t tree_start = AlignDown(device_tree, kPageSize);
  const PhysRange tree_pages{PhysAddr(tree_start),
                             AlignUp(device_tree + device_tree_bytes, kPageSize) - tree_start};
  const std::span<const std::byte> tree = MapDeviceTree(image_base, tree_pages, device_tree);
  if (std::expected<void, Line> parsed = ParseMachine(tree, machine); !parsed) {
    Refuse(parsed.error().view());
  }
  SetPsciConduit(machine.psci);
  OpenUart(image_base);
  LogInfo("atoll at ", Hex(image_physical), ", device tree at ", Hex(device_tree));
  LogMachine();

  MapMemory(image_base);
  BootInfo info{.machine = machine,
                .image = {image_base, static_cast<uint64_t>(image_end - image_start)},
                .device_tree = tree_pages,
                .empty_table = tables.empty,
                .free_memory = {},
                .distributor = {},
                .redistributors = {}};
  if (machine.initrd &&
      (machine.initrd->Overlaps(info.image) || machine.initrd->Overlaps(tree_pages))) {
    Refuse("/chosen: linux,initrd-start: the boot archive overlaps the kernel or the device tree");
  }
  if (!UnusedMemory(machine, std::array{info.image, info.device_tree}, info.free_memory)) {
    Refuse("the device tree's memory is in too many pieces");
  }
  const Result<VirtAddr> distributor =
      MapDevice(image_base, machine.distributor.base, machine.distributor.bytes);
  if (!distributor) Require(distributor.error(), "the GIC distributor");
  info.distributor = *distributor;
  for (const PhysRange& region : machine.redistributors) {
    const Result<VirtAddr> redistributors = MapDevice(image_base, region.base, region.bytes);
    if (!redistributors) Require(redistributors.error(), "the GIC redistributors");
    (void)info.redistributors.PushBack(*redistributors);  // the same capacity
  }
  ProbeVirtio(image_base);
  KernelMain(info);
}

}  // namespace atoll::boot
