// Writes a flattened device tree front to back with libfdt's sequential functions.
//
// The first failure sticks and every later call does nothing, so that code which describes a tree
// reads like the tree; Finish() says how it went.
#ifndef ATOLL_SERVICES_VMM_DEVICE_TREE_WRITER_H_
#define ATOLL_SERVICES_VMM_DEVICE_TREE_WRITER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace atoll {

// name@address
class NodeName {
 public:
  NodeName(std::string_view name, uint64_t address);
  std::string_view text() const { return {text_.data(), length_}; }
  const char* c_str() const { return text_.data(); }

 private:
  std::array<char, 64> text_{};
  size_t length_;
};

class DeviceTreeWriter {
 public:
  // `buffer`: 8-byte aligned; the tree grows from its start.
  explicit DeviceTreeWriter(std::span<std::byte> buffer);

  void BeginNode(const char* name);
  void BeginNode(std::string_view name, uint64_t address) {
    BeginNode(NodeName(name, address).c_str());
  }
  void EndNode();

  void Empty(const char* name) { Bytes(name, {}); }
  void Bytes(const char* name, std::span<const std::byte> value);
  void String(const char* name, std::string_view value) { Strings(name, {value}); }
  void Strings(const char* name, std::initializer_list<std::string_view> values) {
    Strings(name, std::span(values.begin(), values.size()));
  }
  void Strings(const char* name, std::span<const std::string_view> values);
  void Cells(const char* name, std::initializer_list<uint32_t> cells);
  // Each number as two cells.
  void Numbers(const char* name, std::initializer_list<uint64_t> numbers);

  // Closes the tree. 0, or the libfdt error (-FDT_ERR_...) of the first call that failed.
  int Finish();

 private:
  // Room for `bytes` of a property's value, or null once anything has failed.
  std::byte* Property(const char* name, size_t bytes);
  void Note(int result);

  std::span<std::byte> buffer_;
  int error_ = 0;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_DEVICE_TREE_WRITER_H_
