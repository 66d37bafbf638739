#include "services/vmm/device_tree.h"

#include <libfdt.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "services/runtime/format.h"
#include "services/runtime/guest_clock.h"
#include "services/vmm/device_tree_writer.h"

namespace atoll {
namespace {

// Phandles.
constexpr uint32_t kInterruptController = 1;
constexpr uint32_t kClock = 2;

constexpr uint64_t kDistributorBytes = 0x10000;
constexpr uint64_t kRedistributorBytes = 0x20000;  // RD_base and SGI_base of one vCPU

// Interrupt specifier of "arm,gic-v3": type, number within the type, trigger.
constexpr uint32_t kSpi = 0;
constexpr uint32_t kPpi = 1;
constexpr uint32_t kFirstPpi = 16;
constexpr uint32_t kFirstSpi = 32;
constexpr uint32_t kLevelHigh = 4;

// INTIDs of the generic timer's PPIs (Server Base System Architecture).
constexpr uint32_t kHypervisorTimer = 26;
constexpr uint32_t kVirtualTimer = 27;
constexpr uint32_t kSecureTimer = 29;
constexpr uint32_t kNonSecureTimer = 30;

void Chosen(DeviceTreeWriter& tree, const VmmConfig& config, GuestPhys initrd) {
  tree.BeginNode("chosen");
  if (config.command_line[0] != '\0') tree.String("bootargs", config.command_line);
  const auto devices = std::span(config.devices, config.devices_count);
  const auto console = std::ranges::find_if(devices, [](const auto& d) { return d.console; });
  if (console != devices.end()) {
    std::array<char, 64> path;
    const NodeName name(console->name, console->address);
    tree.String("stdout-path", Format(path, '/', name.text()));
  }
  if (config.initrd_bytes != 0) {
    tree.Numbers("linux,initrd-start", {initrd.value});
    tree.Numbers("linux,initrd-end", {initrd.value + config.initrd_bytes});
  }
  if (config.rng_seed.size != 0) {
    tree.Bytes("rng-seed", std::as_bytes(std::span(config.rng_seed.bytes, config.rng_seed.size)));
  }
  if (config.kaslr_seed != 0) tree.Numbers("kaslr-seed", {config.kaslr_seed});
  tree.EndNode();
}

void Memory(DeviceTreeWriter& tree, const VmmConfig& config) {
  tree.BeginNode("memory", config.ram_base);
  tree.String("device_type", "memory");
  tree.Numbers("reg", {config.ram_base, config.ram_bytes});
  tree.EndNode();
}

void Cpus(DeviceTreeWriter& tree, const VmmConfig& config) {
  const auto affinities = std::span(config.vcpu_affinity, config.vcpu_affinity_count);
  // Aff3 needs a second cell; without it one is what every boot loader understands.
  const bool two_cells = std::ranges::any_of(affinities, [](uint64_t a) { return a >> 32 != 0; });
  tree.BeginNode("cpus");
  tree.Cells("#address-cells", {two_cells ? 2U : 1U});
  tree.Cells("#size-cells", {0});
  for (uint64_t affinity : affinities) {
    tree.BeginNode("cpu", affinity);
    tree.String("device_type", "cpu");
    tree.String("compatible", "arm,armv8");
    tree.String("enable-method", "psci");
    if (two_cells) {
      tree.Numbers("reg", {affinity});
    } else {
      tree.Cells("reg", {static_cast<uint32_t>(affinity)});
    }
    tree.EndNode();
  }
  tree.EndNode();
}

void Psci(DeviceTreeWriter& tree) {
  tree.BeginNode("psci");
  tree.Strings("compatible", {"arm,psci-1.0", "arm,psci-0.2"});
  tree.String("method", "hvc");  // smc works as well
  tree.EndNode();
}

void Timer(DeviceTreeWriter& tree) {
  const auto number = [](uint32_t intid) { return intid - kFirstPpi; };
  tree.BeginNode("timer");
  tree.String("compatible", "arm,armv8-timer");
  tree.Cells("interrupts", {kPpi, number(kSecureTimer), kLevelHigh,     //
                            kPpi, number(kNonSecureTimer), kLevelHigh,  //
                            kPpi, number(kVirtualTimer), kLevelHigh,    //
                            kPpi, number(kHypervisorTimer), kLevelHigh});
  tree.Empty("always-on");  // CPU_SUSPEND is a standby: comparators never lose their state
  tree.EndNode();
}

void InterruptController(DeviceTreeWriter& tree, const VmmConfig& config) {
  tree.BeginNode("interrupt-controller", config.gic_distributor);
  tree.String("compatible", "arm,gic-v3");
  tree.Cells("#address-cells", {0});
  tree.Cells("#interrupt-cells", {3});
  tree.Empty("interrupt-controller");
  tree.Numbers("reg", {config.gic_distributor, kDistributorBytes, config.gic_redistributors,
                       config.vcpu_affinity_count * kRedistributorBytes});
  tree.Cells("phandle", {kInterruptController});
  tree.EndNode();
}

void Clock(DeviceTreeWriter& tree) {
  tree.BeginNode("clock");
  tree.String("compatible", "fixed-clock");
  tree.Cells("#clock-cells", {0});
  tree.Cells("clock-frequency", {kGuestClockHertz});
  tree.Cells("phandle", {kClock});
  tree.EndNode();
}

// A repeated string field as a list of strings.
template <size_t count, size_t max_size>
void StringList(DeviceTreeWriter& tree, const char* name, const char (&values)[count][max_size],
                size_t used) {
  std::array<std::string_view, count> views;
  std::copy_n(std::begin(values), used, views.begin());
  tree.Strings(name, std::span(views).first(used));
}

// Leaves its node open for those within it.
void BeginDevice(DeviceTreeWriter& tree, const DeviceNode& device, bool has_gic) {
  if (device.bytes != 0) {
    tree.BeginNode(device.name, device.address);
  } else {
    tree.BeginNode(device.name);
  }
  if (device.compatible_count != 0) {
    StringList(tree, "compatible", device.compatible, device.compatible_count);
  }
  if (device.bytes != 0) tree.Numbers("reg", {device.address, device.bytes});
  if (device.intid != 0 && has_gic) {
    tree.Cells("interrupts", {kSpi, device.intid - kFirstSpi, kLevelHigh});
  }
  if (device.clock_names_count == 1) tree.Cells("clocks", {kClock});
  if (device.clock_names_count == 2) tree.Cells("clocks", {kClock, kClock});
  if (device.clock_names_count != 0) {
    StringList(tree, "clock-names", device.clock_names, device.clock_names_count);
  }
  for (const auto& property : std::span(device.properties, device.properties_count)) {
    tree.Bytes(property.name, std::as_bytes(std::span(property.value.bytes, property.value.size)));
  }
}

// Each node ends those before it that it does not lie within.
void Devices(DeviceTreeWriter& tree, std::span<const DeviceNode> devices, bool has_gic) {
  uint32_t open = 0;
  for (const DeviceNode& device : devices) {
    for (; open > device.depth; --open) tree.EndNode();
    BeginDevice(tree, device, has_gic);
    ++open;
  }
  for (; open > 0; --open) tree.EndNode();
}

}  // namespace

std::optional<ErrorText> BuildDeviceTree(const VmmConfig& config, GuestPhys initrd,
                                         std::span<std::byte> buffer) {
  const bool has_gic = config.gic_distributor != 0;
  DeviceTreeWriter tree(buffer);
  tree.BeginNode("");
  tree.String("compatible", "atoll,vm");
  tree.String("model", "Atoll virtual machine");
  tree.Cells("#address-cells", {2});
  tree.Cells("#size-cells", {2});
  if (has_gic) tree.Cells("interrupt-parent", {kInterruptController});
  Chosen(tree, config, initrd);
  Memory(tree, config);
  Cpus(tree, config);
  Psci(tree);
  if (has_gic) {
    Timer(tree);
    InterruptController(tree, config);
  }
  Clock(tree);
  Devices(tree, std::span(config.devices, config.devices_count), has_gic);
  tree.EndNode();
  if (const int error = tree.Finish(); error != 0) {
    return ErrorText("device tree: ", fdt_strerror(error), " while it was built in ",
                     Hex{buffer.size()}, " bytes");
  }
  return std::nullopt;
}

}  // namespace atoll
