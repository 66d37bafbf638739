// What must hold before the kernel can run at all; each lack is one sentence on the UART.
//
// Runs with the MMU off at the physical address, in parts at EL1: no object here may hold a pointer
// that the linker wrote (no tables of strings), since that would be a virtual address.
#include <libfdt.h>

#include <string_view>

#include "kernel/boot/boot_phases.h"
#include "kernel/boot/image.h"
#include "kernel/boot/registers.h"
#include "kernel/machine/pl011.h"
#include "kernel/machine/power.h"

namespace atoll::boot {

constinit PhysAddr early_uart;
constinit uint64_t device_tree_bytes = 0;

namespace {

constexpr uint64_t kDeviceTreeAlignment = 8;               // boot protocol
constexpr uint64_t kMaxDeviceTreeBytes = 2 * 1024 * 1024;  // boot protocol
constexpr unsigned kCurrentElShift = 2;

[[noreturn]] void Refuse(std::string_view sentence) {
  const Pl011 uart(early_uart.value);
  uart.EnableTransmitter();
  uart.Put("atoll: ");
  uart.Put(sentence);
  uart.Put("\n");
  uart.Flush();
  PowerOff(1);
}

// The first enabled PL011, if it is a child of the root with 64-bit cells, as on QEMU virt. Good
// enough for a message; ParseMachine reads the tree properly.
PhysAddr FindUart(const void* tree) {
  int node = fdt_node_offset_by_compatible(tree, -1, "arm,pl011");
  while (node >= 0 && fdt_stringlist_search(tree, node, "status", "disabled") >= 0) {
    node = fdt_node_offset_by_compatible(tree, node, "arm,pl011");  // the Secure state's
  }
  if (node < 0 || fdt_parent_offset(tree, node) != 0 || fdt_address_cells(tree, 0) != 2) {
    return PhysAddr();
  }
  int length = 0;
  const void* reg = fdt_getprop(tree, node, "reg", &length);
  if (reg == nullptr || length < static_cast<int>(sizeof(uint64_t))) return PhysAddr();
  const auto* cells = static_cast<const fdt32_t*>(reg);
  return PhysAddr((uint64_t{fdt32_ld(cells)} << 32) | fdt32_ld(cells + 1));
}

PsciConduit FindPsciConduit(const void* tree) {
  int node = fdt_node_offset_by_compatible(tree, -1, "arm,psci-1.0");
  if (node < 0) node = fdt_node_offset_by_compatible(tree, -1, "arm,psci-0.2");
  if (node < 0) return PsciConduit::kByLevel;
  if (fdt_stringlist_search(tree, node, "method", "smc") == 0) return PsciConduit::kSmc;
  if (fdt_stringlist_search(tree, node, "method", "hvc") == 0) return PsciConduit::kHvc;
  return PsciConduit::kByLevel;
}

}  // namespace

extern "C" void boot_check_machine(uint64_t device_tree) {
  // Without a device tree there is no UART to complain on: the failing exit says it all.
  if (device_tree == 0 || device_tree % kDeviceTreeAlignment != 0) PowerOff(1);
  const void* tree = reinterpret_cast<const void*>(device_tree);
  if (fdt_check_header(tree) != 0) PowerOff(1);
  early_uart = FindUart(tree);
  SetPsciConduit(FindPsciConduit(tree));

  const uint64_t level = CurrentEl::Read() >> kCurrentElShift;
  if (level == 1) {
    Refuse("entered at EL1, but a hypervisor needs EL2; with QEMU use -M virt,virtualization=on");
  }
  if (level != 2) Refuse("entered at EL3, but the boot protocol enters at EL2");
  if (IdField(IdAa64mmfr1El1::Read(), id::kMmfr1Vh) == 0) {
    Refuse("this CPU has no VHE (Armv8.1); with QEMU use -cpu neoverse-n1, cortex-a76 or max");
  }
  if (IdField(IdAa64pfr0El1::Read(), id::kPfr0Gic) == 0) {
    Refuse("this machine has no GICv3 system registers; with QEMU use -M virt,gic-version=3");
  }
  if (IdField(IdAa64mmfr0El1::Read(), id::kMmfr0TGran4) == id::kTGran4None) {
    Refuse("this CPU has no 4 KiB translation granule");
  }
  device_tree_bytes = fdt_totalsize(tree);
  if (device_tree_bytes > kMaxDeviceTreeBytes) {
    Refuse("the device tree is larger than 2 MiB, the most that the boot protocol allows");
  }
  if (reinterpret_cast<uintptr_t>(image_end) > kDirectMapBytes ||
      !InBounds(device_tree, device_tree_bytes, kDirectMapBytes)) {
    Refuse("loaded above 256 GiB of physical memory, beyond the kernel's direct map");
  }
}

}  // namespace atoll::boot
