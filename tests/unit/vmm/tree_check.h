// Whether a device tree can be read from its first node to its last property.
#ifndef ATOLL_TESTS_UNIT_VMM_TREE_CHECK_H_
#define ATOLL_TESTS_UNIT_VMM_TREE_CHECK_H_

#include <libfdt.h>

#include <cstddef>
#include <span>

namespace atoll {

inline bool IsWholeTree(std::span<const std::byte> room) {
  const void* tree = room.data();
  if (fdt_check_header(tree) != 0 || fdt_totalsize(tree) > room.size()) return false;
  int depth = 0;
  int node = 0;
  while (node >= 0 && depth >= 0) {
    int property = 0;
    fdt_for_each_property_offset(property, tree, node) {
      const char* name = nullptr;
      if (fdt_getprop_by_offset(tree, property, &name, nullptr) == nullptr || *name == '\0') {
        return false;
      }
    }
    if (property != -FDT_ERR_NOTFOUND) return false;
    node = fdt_next_node(tree, node, &depth);
  }
  return depth == -1 || node == -FDT_ERR_NOTFOUND;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VMM_TREE_CHECK_H_
