#include "kernel/machine/device_tree.h"

#include <libfdt.h>

namespace atoll {
namespace {

constexpr size_t kCellBytes = sizeof(fdt32_t);
constexpr size_t kMaxPath = 96;
// The largest physical address space of the architecture; sums of two addresses in it do not wrap.
constexpr uint64_t kPhysicalEnd = uint64_t{1} << 52;

std::unexpected<Line> TreeError(std::string_view reason) {
  Line line;
  line << "device tree: " << reason;
  return std::unexpected(line);
}

std::string_view NodeName(const void* tree, int offset) {
  int length = 0;
  const char* name = fdt_get_name(tree, offset, &length);
  return name == nullptr ? std::string_view() : std::string_view(name, static_cast<size_t>(length));
}

// Every tag, name and property lies in its block, and nodes nest: what libfdt's readers rely on.
bool IsWellFormed(const void* tree, size_t bytes) {
  if (fdt_check_header(tree) != 0 || fdt_totalsize(tree) > bytes) return false;
  // Devicetree Specification 5.6; libfdt reads entries and tags as whole words.
  if (fdt_off_mem_rsvmap(tree) % sizeof(uint64_t) != 0 ||
      fdt_off_dt_struct(tree) % kCellBytes != 0) {
    return false;
  }
  if (fdt_num_mem_rsv(tree) < 0) return false;
  size_t depth = 0;
  for (int offset = 0;;) {
    int next = 0;
    const uint32_t tag = fdt_next_tag(tree, offset, &next);
    if (next < 0) return false;
    const char* name = nullptr;
    switch (tag) {
      case FDT_NOP: break;
      case FDT_BEGIN_NODE: ++depth; break;
      case FDT_END_NODE:
        if (depth == 0) return false;
        --depth;
        break;
      case FDT_PROP:
        if (fdt_getprop_by_offset(tree, offset, &name, nullptr) == nullptr) return false;
        break;
      default: return tag == FDT_END && depth == 0;
    }
    offset = next;
  }
}

}  // namespace

Node::Node(const void* tree, int offset, int depth, const BusContext& bus,
           std::string_view parent_name, InterruptController gic)
    : tree_(tree),
      offset_(offset),
      depth_(depth),
      bus_(bus),
      parent_name_(parent_name),
      gic_(gic) {}

std::string_view Node::name() const { return NodeName(tree_, offset_); }

std::unexpected<Line> Node::Fail(const char* property, std::string_view reason) const {
  char path[kMaxPath];
  const bool known = fdt_get_path(tree_, offset_, path, sizeof(path)) == 0;
  Line line;
  line << "device tree: ";
  if (known) {
    line << path;
  } else {
    line << name();
  }
  line << ": " << property << ": " << reason;
  return std::unexpected(line);
}

bool Node::enabled() const {
  return !Has("status") || StringIs("status", "okay") || StringIs("status", "ok");
}

bool IsCompatible(std::string_view list, std::string_view compatible) {
  while (!list.empty()) {
    const size_t end = list.find('\0');
    if (end == std::string_view::npos) return false;
    if (list.substr(0, end) == compatible) return true;
    list.remove_prefix(end + 1);
  }
  return false;
}

bool Node::Has(const char* property) const {
  return fdt_getprop(tree_, offset_, property, nullptr) != nullptr;
}

bool Node::StringIs(const char* property, std::string_view value) const {
  const std::optional<std::string_view> text = ReadString(property);
  return text && *text == value;
}

std::string_view Node::compatibles() const {
  int length = 0;
  const void* list = fdt_getprop(tree_, offset_, "compatible", &length);
  if (list == nullptr) return {};
  return {static_cast<const char*>(list), static_cast<size_t>(length)};
}

std::optional<std::string_view> Node::ReadString(const char* property) const {
  int length = 0;
  const void* data = fdt_getprop(tree_, offset_, property, &length);
  if (data == nullptr) return std::nullopt;
  const std::string_view text(static_cast<const char*>(data), static_cast<size_t>(length));
  if (text.empty() || text.find('\0') != text.size() - 1) return std::nullopt;
  return text.substr(0, text.size() - 1);
}

uint32_t Node::Cells::operator[](size_t i) const {
  return fdt32_ld(static_cast<const fdt32_t*>(data) + i);
}

uint64_t Node::Cells::Number(size_t first, size_t cells) const {
  uint64_t value = 0;
  for (size_t i = 0; i < cells; ++i) value = (value << 32) | (*this)[first + i];
  return value;
}

std::expected<Node::Cells, Line> Node::ReadCells(const char* property) const {
  int length = 0;
  const void* data = fdt_getprop(tree_, offset_, property, &length);
  if (data == nullptr) return Fail(property, "is missing");
  if (length == 0 || static_cast<size_t>(length) % kCellBytes != 0) {
    return Fail(property, "must be a list of 32-bit cells");
  }
  return Cells{data, static_cast<size_t>(length) / kCellBytes};
}

std::expected<uint32_t, Line> Node::ReadCell(const char* property) const {
  const std::expected<Cells, Line> cells = ReadCells(property);
  if (!cells) return std::unexpected(cells.error());
  if (cells->count != 1) return Fail(property, "must be one 32-bit cell");
  return (*cells)[0];
}

std::expected<uint64_t, Line> Node::ReadNumber(const char* property) const {
  const std::expected<Cells, Line> cells = ReadCells(property);
  if (!cells) return std::unexpected(cells.error());
  if (cells->count > 2) return Fail(property, "must be one or two 32-bit cells");
  return cells->Number(0, cells->count);
}

std::expected<uint64_t, Line> Node::ReadId() const {
  const std::expected<Cells, Line> cells = ReadCells("reg");
  if (!cells) return std::unexpected(cells.error());
  if (bus_.size_cells != 0 || cells->count != bus_.address_cells) {
    return Fail("reg", "must be one address as #address-cells says, and #size-cells 0");
  }
  return cells->Number(0, cells->count);
}

std::expected<void, Line> Node::ForEachRegister(
    absl::FunctionRef<std::expected<void, Line>(size_t, PhysRange)> visit) const {
  const std::expected<Cells, Line> cells = ReadCells("reg");
  if (!cells) return std::unexpected(cells.error());
  if (!bus_.physical) return Fail("reg", "is on a bus whose ranges are not one to one with memory");
  const size_t entry = bus_.address_cells + bus_.size_cells;
  if (bus_.address_cells == 0 || bus_.size_cells == 0 || cells->count % entry != 0) {
    return Fail("reg", "must be pairs as #address-cells and #size-cells say");
  }
  for (size_t i = 0; i < cells->count / entry; ++i) {
    const uint64_t base = cells->Number(i * entry, bus_.address_cells);
    const uint64_t bytes = cells->Number(i * entry + bus_.address_cells, bus_.size_cells);
    if (bytes == 0 || !InBounds(base, bytes, kPhysicalEnd)) {
      return Fail("reg", "has an empty range or one beyond 52 bits of address");
    }
    if (std::expected<void, Line> visited = visit(i, {PhysAddr(base), bytes}); !visited)
      return visited;
  }
  return {};
}

std::expected<Interrupt, Line> Node::ReadInterrupt(size_t index) const {
  const std::expected<Cells, Line> cells = ReadCells("interrupts");
  if (!cells) return std::unexpected(cells.error());
  uint32_t parent = bus_.interrupt_parent;
  if (Has("interrupt-parent")) {
    const std::expected<uint32_t, Line> own = ReadCell("interrupt-parent");
    if (!own) return std::unexpected(own.error());
    parent = *own;
  }
  if (parent == 0 || parent != gic_.phandle) {
    return Fail("interrupt-parent", "must be the GICv3's phandle");
  }
  // Linux binding arm,gic-v3: type, number, flags; a fourth cell for PPI partitions.
  if (gic_.cells < 3 || gic_.cells > 4 || cells->count % gic_.cells != 0 ||
      index >= cells->count / gic_.cells) {
    return Fail("interrupts",
                "must be entries of the GIC's #interrupt-cells (3 or 4), one per interrupt");
  }
  constexpr uint32_t kTypeSpi = 0;
  constexpr uint32_t kTypePpi = 1;
  constexpr uint32_t kSpis = 988;
  constexpr uint32_t kPpis = 16;
  constexpr uint32_t kSenseMask = 0xf;
  constexpr uint32_t kEdgeRising = 1;
  constexpr uint32_t kLevelHigh = 4;
  constexpr uint32_t kLevelLow = 8;  // in many trees, of the timers' PPIs
  const uint32_t type = (*cells)[index * gic_.cells];
  const uint32_t number = (*cells)[index * gic_.cells + 1];
  const uint32_t sense = (*cells)[index * gic_.cells + 2] & kSenseMask;
  if (sense != kEdgeRising && sense != kLevelHigh && sense != kLevelLow) {
    return Fail("interrupts", "flags must say edge-rising (1), level-high (4) or level-low (8)");
  }
  if (type == kTypeSpi && number < kSpis)
    return Interrupt{kFirstSpi + number, sense == kEdgeRising};
  if (type == kTypePpi && number < kPpis)
    return Interrupt{kFirstPpi + number, sense == kEdgeRising};
  return Fail("interrupts", "must be type 0 (SPI) below 988 or type 1 (PPI) below 16");
}

std::expected<DeviceTree, Line> DeviceTree::Open(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(fdt_header) || fdt_magic(bytes.data()) != FDT_MAGIC) {
    return TreeError("no flattened device tree where the boot protocol's x0 points");
  }
  if (!IsWellFormed(bytes.data(), bytes.size())) {
    return TreeError("its header, structure or strings are damaged");
  }
  return DeviceTree(bytes.data());
}

std::expected<BusContext, Line> DeviceTree::ContextBelow(const Node& node,
                                                         const BusContext& around) const {
  constexpr uint32_t kMaxCells = 2;  // 64 bits
  BusContext context;
  context.interrupt_parent = around.interrupt_parent;
  context.physical = around.physical;
  if (node.depth() > 0) {
    int length = 0;
    const void* ranges = fdt_getprop(tree_, node.offset(), "ranges", &length);
    context.physical = around.physical && ranges != nullptr && length == 0;
  }
  const auto read = [&](const char* property, uint32_t& value) -> std::expected<void, Line> {
    if (!node.Has(property)) return {};
    const std::expected<uint32_t, Line> cell = node.ReadCell(property);
    if (!cell) return std::unexpected(cell.error());
    value = *cell;
    return {};
  };
  if (auto done = read("interrupt-parent", context.interrupt_parent); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = read("#address-cells", context.address_cells); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = read("#size-cells", context.size_cells); !done)
    return std::unexpected(done.error());
  // PCI nodes have three address cells: their children are not described in physical addresses.
  if (context.address_cells > kMaxCells || context.size_cells > kMaxCells) {
    context = {.address_cells = 0,
               .size_cells = 0,
               .interrupt_parent = context.interrupt_parent,
               .physical = false};
  }
  return context;
}

InterruptController DeviceTree::FindGic() const {
  const int node = fdt_node_offset_by_compatible(tree_, -1, "arm,gic-v3");
  if (node < 0) return {};
  int length = 0;
  const void* cells = fdt_getprop(tree_, node, "#interrupt-cells", &length);
  if (cells == nullptr || length != static_cast<int>(kCellBytes)) return {};
  return {fdt_get_phandle(tree_, node), fdt32_ld(static_cast<const fdt32_t*>(cells))};
}

std::expected<void, Line> DeviceTree::ForEachNode(
    absl::FunctionRef<std::expected<void, Line>(const Node&)> visit) const {
  const InterruptController gic = FindGic();
  std::array<BusContext, kMaxDepth + 2> around;  // [d]: what a node of depth d inherits
  std::array<std::string_view, kMaxDepth + 2> parents;
  std::optional<Node> last;
  int depth = 0;
  for (int offset = 0; offset >= 0 && depth >= 0; offset = fdt_next_node(tree_, offset, &depth)) {
    if (depth > kMaxDepth) continue;
    const auto d = static_cast<size_t>(depth);
    if (last &&
        depth > last->depth()) {  // most nodes have no children, and nobody asks for their context
      const std::expected<BusContext, Line> below = ContextBelow(*last, around[d - 1]);
      if (!below) return std::unexpected(below.error());
      around[d] = *below;
      parents[d] = last->name();
    }
    last.emplace(tree_, offset, depth, around[d], parents[d], gic);
    if (std::expected<void, Line> visited = visit(*last); !visited) return visited;
  }
  return {};
}

std::expected<void, Line> DeviceTree::ForEachReservation(
    absl::FunctionRef<bool(PhysRange)> keep) const {
  const int count = fdt_num_mem_rsv(tree_);
  if (count < 0) return TreeError("its memory reservation block does not end");
  for (int i = 0; i < count; ++i) {
    uint64_t base = 0;
    uint64_t bytes = 0;
    if (fdt_get_mem_rsv(tree_, i, &base, &bytes) != 0 || !InBounds(base, bytes, kPhysicalEnd)) {
      return TreeError("its memory reservation block has an entry beyond 52 bits of address");
    }
    if (bytes != 0 && !keep({PhysAddr(base), bytes})) {
      return TreeError("more reserved ranges than the 16 that the kernel keeps");
    }
  }
  return {};
}

int DeviceTree::StandardOutput() const {
  const int chosen = fdt_path_offset(tree_, "/chosen");
  if (chosen < 0) return -1;
  int length = 0;
  const char* path = static_cast<const char*>(fdt_getprop(tree_, chosen, "stdout-path", &length));
  if (path == nullptr) return -1;
  std::string_view text(path, static_cast<size_t>(length));
  text = text.substr(0, text.find('\0'));
  text = text.substr(0, text.find(':'));  // options such as ":115200"
  return fdt_path_offset_namelen(tree_, text.data(), static_cast<int>(text.size()));
}

}  // namespace atoll
