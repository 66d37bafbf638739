// A flattened device tree that has been checked, and typed reading of its nodes. Never trusts a
// length.
#ifndef ATOLL_KERNEL_MACHINE_DEVICE_TREE_H_
#define ATOLL_KERNEL_MACHINE_DEVICE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "kernel/log/line.h"
#include "kernel/machine/machine.h"

namespace atoll {

inline constexpr uint32_t kFirstPpi = 16;
inline constexpr uint32_t kFirstSpi = 32;

struct Interrupt {
  uint32_t intid = 0;
  bool edge = false;
};

// What a node inherits from those above it.
struct BusContext {
  uint32_t address_cells = 2;
  uint32_t size_cells = 1;
  uint32_t interrupt_parent = 0;  // phandle, 0: none
  bool physical = true;  // addresses below are physical: every `ranges` is empty (one to one)
};

// The GIC, as interrupt parent.
struct InterruptController {
  uint32_t phandle = 0;
  uint32_t cells = 0;
};

// Whether a list of Node::compatibles() has this one.
bool IsCompatible(std::string_view list, std::string_view compatible);

class Node {
 public:
  Node(const void* tree, int offset, int depth, const BusContext& bus, std::string_view parent_name,
       InterruptController gic);

  int offset() const { return offset_; }
  int depth() const { return depth_; }
  std::string_view name() const;  // with the unit address
  std::string_view parent_name() const { return parent_name_; }
  bool enabled() const;  // no status, or "okay"

  bool Has(const char* property) const;
  bool StringIs(const char* property, std::string_view value) const;
  // The strings of `compatible`, each with its NUL; empty without one. Read once per node, compared often.
  std::string_view compatibles() const;

  std::optional<std::string_view> ReadString(const char* property) const;
  std::expected<uint32_t, Line> ReadCell(const char* property) const;
  // One or two cells.
  std::expected<uint64_t, Line> ReadNumber(const char* property) const;
  // `reg` of one address without a size.
  std::expected<uint64_t, Line> ReadId() const;
  // Each entry of `reg`: not empty, not wrapping, at physical addresses.
  std::expected<void, Line> ForEachRegister(
      absl::FunctionRef<std::expected<void, Line>(size_t, PhysRange)> visit) const;
  // Entry `index` of `interrupts`, which must be the GIC's.
  std::expected<Interrupt, Line> ReadInterrupt(size_t index) const;

  // "device tree: /path: property: reason".
  std::unexpected<Line> Fail(const char* property, std::string_view reason) const;

 private:
  struct Cells {
    const void* data;
    size_t count;
    uint32_t operator[](size_t i) const;
    uint64_t Number(size_t first, size_t cells) const;
  };
  std::expected<Cells, Line> ReadCells(const char* property) const;

  const void* tree_;
  int offset_;
  int depth_;
  const BusContext& bus_;
  std::string_view parent_name_;
  InterruptController gic_;
};

class DeviceTree {
 public:
  // Checks the whole structure: afterwards libfdt reads nothing outside of `bytes`.
  static std::expected<DeviceTree, Line> Open(std::span<const std::byte> bytes);

  // Every node not nested deeper than kMaxDepth, parents first; ends at the first error.
  std::expected<void, Line> ForEachNode(
      absl::FunctionRef<std::expected<void, Line>(const Node&)> visit) const;

  // Every entry of the memory reservation block; `keep` returns false when it can keep no more.
  std::expected<void, Line> ForEachReservation(absl::FunctionRef<bool(PhysRange)> keep) const;

  // The node that /chosen stdout-path names, or negative.
  int StandardOutput() const;

 private:
  static constexpr int kMaxDepth = 8;

  explicit DeviceTree(const void* tree) : tree_(tree) {}
  std::expected<BusContext, Line> ContextBelow(const Node& node, const BusContext& around) const;
  InterruptController FindGic() const;

  const void* tree_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MACHINE_DEVICE_TREE_H_
