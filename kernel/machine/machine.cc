// One walk over the device tree. What a node is, its `compatible` or device_type says; a table
// names the function that reads it.
#include "kernel/machine/machine.h"

#include <algorithm>
#include <utility>

#include "kernel/direct_map.h"
#include "kernel/machine/device_tree.h"

namespace atoll {
namespace {

using Check = std::expected<void, Line>;

class MachineParser {
 public:
  MachineParser(const DeviceTree& tree, Machine& machine) : tree_(tree), machine_(machine) {}

  Check Parse();

 private:
  struct Handler {
    std::string_view compatible;
    Check (MachineParser::*read)(const Node& node);
  };

  Check ReadNode(const Node& node);
  Check ReadMemory(const Node& node);
  Check ReadReserved(const Node& node);
  Check ReadCpu(const Node& node);
  Check ReadGic(const Node& node);
  Check ReadTimer(const Node& node);
  Check ReadPsci(const Node& node);
  Check ReadUart(const Node& node);
  Check ReadRtc(const Node& node);
  Check ReadVirtio(const Node& node);
  Check ReadChosen(const Node& node);
  Check ReadReservationBlock();
  Check Complete();

  std::expected<Device, Line> ReadDevice(const Node& node);
  std::expected<uint32_t, Line> ReadPpi(const Node& node, size_t index);

  static constexpr std::array<Handler, 7> kHandlers = {{
      {"arm,gic-v3", &MachineParser::ReadGic},
      {"arm,armv8-timer", &MachineParser::ReadTimer},
      {"arm,psci-1.0", &MachineParser::ReadPsci},
      {"arm,psci-0.2", &MachineParser::ReadPsci},
      {"arm,pl011", &MachineParser::ReadUart},
      {"arm,pl031", &MachineParser::ReadRtc},
      {"virtio,mmio", &MachineParser::ReadVirtio},
  }};

  const DeviceTree& tree_;
  Machine& machine_;
  int console_ = -1;  // node of /chosen stdout-path
  bool uart_is_console_ = false;
};

// Insertion sort: a few entries, mostly in order.
template <typename Range>
void SortByAddress(std::span<Range> ranges, PhysAddr (*key)(const Range&)) {
  for (size_t i = 1; i < ranges.size(); ++i) {
    for (size_t j = i; j > 0 && key(ranges[j]) < key(ranges[j - 1]); --j) {
      std::swap(ranges[j], ranges[j - 1]);
    }
  }
}

Check MachineParser::Parse() {
  console_ = tree_.StandardOutput();
  if (Check check = tree_.ForEachNode([this](const Node& node) { return ReadNode(node); });
      !check) {
    return check;
  }
  if (Check check = ReadReservationBlock(); !check) return check;
  return Complete();
}

Check MachineParser::ReadNode(const Node& node) {
  if (!node.enabled()) return {};
  if (node.depth() == 1 && node.name() == "chosen") return ReadChosen(node);
  const std::optional<std::string_view> type = node.ReadString("device_type");
  if (type == "memory") return ReadMemory(node);
  if (type == "cpu") return ReadCpu(node);
  if (node.depth() == 2 && node.parent_name() == "reserved-memory") return ReadReserved(node);
  const std::string_view compatibles = node.compatibles();
  for (const Handler& handler : kHandlers) {
    if (IsCompatible(compatibles, handler.compatible)) {
      return (this->*handler.read)(node);
    }
  }
  return {};
}

Check MachineParser::ReadMemory(const Node& node) {
  return node.ForEachRegister([&](size_t, PhysRange range) -> Check {
    const uint64_t first = AlignUp(std::min(range.base.value, kDirectMapBytes), kPageSize);
    const uint64_t end = AlignDown(std::min(range.end().value, kDirectMapBytes), kPageSize);
    if (range.end().value > kDirectMapBytes) {
      machine_.memory_ignored += range.end().value - std::max(range.base.value, kDirectMapBytes);
    }
    if (first >= end) return {};
    if (machine_.memory.PushBack({PhysAddr(first), end - first})) return {};
    return node.Fail("reg", "more ranges of memory than the 8 that the kernel keeps");
  });
}

Check MachineParser::ReadReserved(const Node& node) {
  if (!node.Has("reg")) return {};  // allocated at the operating system's choice: not at all
  return node.ForEachRegister([&](size_t, PhysRange range) -> Check {
    if (machine_.reserved.PushBack({range, node.Has("no-map")})) return {};
    return node.Fail("reg", "more reserved ranges than the 16 that the kernel keeps");
  });
}

Check MachineParser::ReadReservationBlock() {
  return tree_.ForEachReservation(
      [this](PhysRange range) { return machine_.reserved.PushBack({range, false}); });
}

Check MachineParser::ReadCpu(const Node& node) {
  // The cells are an affinity, not an address; size cells are 0.
  const std::expected<uint64_t, Line> affinity = node.ReadId();
  if (!affinity) return std::unexpected(affinity.error());
  constexpr uint64_t kAffinity = 0xff'00ff'ffff;  // MPIDR_EL1.Aff3, Aff2, Aff1, Aff0
  if ((*affinity & ~kAffinity) != 0) {
    return node.Fail("reg", "must be an MPIDR_EL1 affinity: bits [39:32] and [23:0] only");
  }
  if (std::ranges::find(machine_.cpus, *affinity) != machine_.cpus.end()) {
    return node.Fail("reg", "is another CPU's affinity too");
  }
  if (!machine_.cpus.PushBack(*affinity)) ++machine_.cpus_ignored;
  return {};
}

Check MachineParser::ReadGic(const Node& node) {
  if (machine_.distributor.bytes != 0) return node.Fail("compatible", "is a second GICv3");
  uint32_t regions = 1;
  if (node.Has("#redistributor-regions")) {
    const std::expected<uint32_t, Line> count = node.ReadCell("#redistributor-regions");
    if (!count) return std::unexpected(count.error());
    regions = *count;
  }
  if (regions == 0 || regions > kMaxRedistributorRegions) {
    return node.Fail("#redistributor-regions", "must be 1 to 4");
  }
  constexpr uint64_t kDistributorBytes = 0x10000;
  constexpr uint64_t kRedistributorBytes = 0x20000;  // RD_base and SGI_base frames
  const Check read = node.ForEachRegister([&](size_t i, PhysRange range) -> Check {
    if (!range.base.IsAligned(kDistributorBytes)) {
      return node.Fail("reg", "must be ranges at multiples of 64 KiB");
    }
    if (i == 0) {
      if (range.bytes < kDistributorBytes) return node.Fail("reg", "distributor below 64 KiB");
      machine_.distributor = range;
      return {};
    }
    if (i > regions) return {};  // GICv2 compatibility frames
    if (range.bytes < kRedistributorBytes) return node.Fail("reg", "redistributors below 128 KiB");
    (void)machine_.redistributors.PushBack(range);  // regions <= kMaxRedistributorRegions
    return {};
  });
  if (!read) return read;
  if (machine_.redistributors.size() != regions) {
    return node.Fail("reg", "must have the distributor and each redistributor region");
  }
  return {};
}

std::expected<uint32_t, Line> MachineParser::ReadPpi(const Node& node, size_t index) {
  const std::expected<Interrupt, Line> interrupt = node.ReadInterrupt(index);
  if (!interrupt) return std::unexpected(interrupt.error());
  if (interrupt->intid >= kFirstSpi) {
    return node.Fail("interrupts", "must be private interrupts (PPI)");
  }
  return interrupt->intid;
}

Check MachineParser::ReadTimer(const Node& node) {
  // Linux binding arm,arch_timer: secure, non-secure, virtual, hypervisor.
  const std::expected<uint32_t, Line> physical = ReadPpi(node, 1);
  if (!physical) return std::unexpected(physical.error());
  const std::expected<uint32_t, Line> virtual_interrupt = ReadPpi(node, 2);
  if (!virtual_interrupt) return std::unexpected(virtual_interrupt.error());
  const std::expected<uint32_t, Line> hypervisor = ReadPpi(node, 3);
  if (!hypervisor) return std::unexpected(hypervisor.error());
  if (*physical == *virtual_interrupt || *physical == *hypervisor ||
      *virtual_interrupt == *hypervisor) {
    return node.Fail("interrupts", "must be four different interrupts");
  }
  machine_.timers = {*physical, *virtual_interrupt, *hypervisor};
  return {};
}

Check MachineParser::ReadPsci(const Node& node) {
  if (node.StringIs("method", "smc")) {
    machine_.psci = PsciConduit::kSmc;
  } else if (node.StringIs("method", "hvc")) {
    machine_.psci = PsciConduit::kHvc;
  } else {
    return node.Fail("method", "must be \"smc\" or \"hvc\"");
  }
  return {};
}

std::expected<Device, Line> MachineParser::ReadDevice(const Node& node) {
  Device device;
  const Check read = node.ForEachRegister([&](size_t i, PhysRange range) -> Check {
    if (i == 0) device.registers = range;
    return {};
  });
  if (!read) return std::unexpected(read.error());
  const std::expected<Interrupt, Line> interrupt = node.ReadInterrupt(0);
  if (!interrupt) return std::unexpected(interrupt.error());
  device.intid = interrupt->intid;
  device.edge = interrupt->edge;
  return device;
}

Check MachineParser::ReadUart(const Node& node) {
  const bool is_console = node.offset() == console_;
  if (machine_.uart && (uart_is_console_ || !is_console)) return {};
  const std::expected<Device, Line> device = ReadDevice(node);
  if (!device) return std::unexpected(device.error());
  machine_.uart = *device;
  uart_is_console_ = is_console;
  return {};
}

Check MachineParser::ReadRtc(const Node& node) {
  if (machine_.rtc) return {};
  const std::expected<Device, Line> device = ReadDevice(node);
  if (!device) return std::unexpected(device.error());
  machine_.rtc = *device;
  return {};
}

Check MachineParser::ReadVirtio(const Node& node) {
  const std::expected<Device, Line> device = ReadDevice(node);
  if (!device) return std::unexpected(device.error());
  if (machine_.virtio.PushBack(*device)) return {};
  return node.Fail("compatible", "more virtio-mmio devices than the 64 that the kernel keeps");
}

Check MachineParser::ReadChosen(const Node& node) {
  if (node.Has("bootargs")) {
    const std::optional<std::string_view> text = node.ReadString("bootargs");
    if (!text) return node.Fail("bootargs", "must be a string");
    if (text->size() > kMaxBootArguments) return node.Fail("bootargs", "is longer than 256 bytes");
    std::ranges::copy(*text, machine_.bootargs.begin());
    machine_.bootargs_length = text->size();
  }
  const bool has_start = node.Has("linux,initrd-start");
  if (has_start != node.Has("linux,initrd-end")) {
    return node.Fail(has_start ? "linux,initrd-end" : "linux,initrd-start", "is missing");
  }
  if (!has_start) return {};
  const std::expected<uint64_t, Line> start = node.ReadNumber("linux,initrd-start");
  if (!start) return std::unexpected(start.error());
  const std::expected<uint64_t, Line> end = node.ReadNumber("linux,initrd-end");
  if (!end) return std::unexpected(end.error());
  if (*end < *start) return node.Fail("linux,initrd-end", "is below linux,initrd-start");
  if (*end > *start) machine_.initrd = PhysRange{PhysAddr(*start), *end - *start};
  return {};
}

Check Missing(std::string_view what) {
  Line line;
  line << "device tree: " << what;
  return std::unexpected(line);
}

// What no single node shows.
Check MachineParser::Complete() {
  SortByAddress<PhysRange>(machine_.memory.span(), [](const PhysRange& r) { return r.base; });
  SortByAddress<Device>(machine_.virtio.span(), [](const Device& d) { return d.registers.base; });
  const std::span<const PhysRange> memory = machine_.memory.span();
  if (memory.empty())
    return Missing("no usable memory: a node with device_type \"memory\" is needed");
  for (size_t i = 1; i < memory.size(); ++i) {
    if (memory[i].Overlaps(memory[i - 1])) {
      Line line;
      line << "device tree: two ranges of memory overlap at " << Hex(memory[i].base.value);
      return std::unexpected(line);
    }
  }
  if (machine_.cpus.empty()) return Missing("/cpus has no enabled CPU");
  if (machine_.distributor.bytes == 0) {
    return Missing(
        "no interrupt controller with compatible \"arm,gic-v3\"; with QEMU use "
        "-M virt,gic-version=3");
  }
  if (machine_.timers.hypervisor == 0)
    return Missing("no timer with compatible \"arm,armv8-timer\"");
  if (machine_.psci == PsciConduit::kByLevel)
    return Missing("no node with compatible \"arm,psci-1.0\"");
  if (machine_.initrd) {
    const auto holds = [&](const PhysRange& range) { return range.Contains(*machine_.initrd); };
    if (std::ranges::none_of(memory, holds)) {
      Line line;
      line << "device tree: /chosen: linux,initrd-start: " << Hex(machine_.initrd->base.value)
           << " to " << Hex(machine_.initrd->end().value) << " is not in memory";
      return std::unexpected(line);
    }
  }
  return {};
}

}  // namespace

std::expected<void, Line> ParseMachine(std::span<const std::byte> device_tree, Machine& machine) {
  std::expected<DeviceTree, Line> tree = DeviceTree::Open(device_tree);
  if (!tree) return std::unexpected(tree.error());
  return MachineParser(*tree, machine).Parse();
}

}  // namespace atoll
