#include "services/vmm/device_tree_writer.h"

#include <libfdt.h>

#include <cstring>

#include "services/runtime/format.h"

namespace atoll {
namespace {

// Cells are big-endian.
std::byte* PutCell(std::byte* out, uint32_t cell) {
  for (int shift = 24; shift >= 0; shift -= 8) *out++ = static_cast<std::byte>(cell >> shift);
  return out;
}

}  // namespace

NodeName::NodeName(std::string_view name, uint64_t address) {
  std::array<char, 18> number;
  const std::string_view hex = Format(number, Hex{address}).substr(2);  // without 0x
  // All but the last character, which stays NUL.
  length_ = Format(std::span(text_).first(text_.size() - 1), name, '@', hex).size();
}

DeviceTreeWriter::DeviceTreeWriter(std::span<std::byte> buffer) : buffer_(buffer) {
  Note(fdt_create(buffer.data(), static_cast<int>(buffer.size())));
  if (error_ == 0) Note(fdt_finish_reservemap(buffer_.data()));
}

void DeviceTreeWriter::Note(int result) {
  if (error_ == 0) error_ = result;
}

void DeviceTreeWriter::BeginNode(const char* name) {
  if (error_ == 0) Note(fdt_begin_node(buffer_.data(), name));
}

void DeviceTreeWriter::EndNode() {
  if (error_ == 0) Note(fdt_end_node(buffer_.data()));
}

std::byte* DeviceTreeWriter::Property(const char* name, size_t bytes) {
  if (error_ != 0) return nullptr;
  void* value = nullptr;
  Note(fdt_property_placeholder(buffer_.data(), name, static_cast<int>(bytes), &value));
  return error_ == 0 ? static_cast<std::byte*>(value) : nullptr;
}

void DeviceTreeWriter::Bytes(const char* name, std::span<const std::byte> value) {
  std::byte* out = Property(name, value.size());
  if (out != nullptr && !value.empty()) std::memcpy(out, value.data(), value.size());
}

void DeviceTreeWriter::Strings(const char* name, std::span<const std::string_view> values) {
  size_t bytes = 0;
  for (std::string_view value : values) bytes += value.size() + 1;
  std::byte* out = Property(name, bytes);
  if (out == nullptr) return;
  for (std::string_view value : values) {
    std::memcpy(out, value.data(), value.size());
    out += value.size();
    *out++ = std::byte{0};
  }
}

void DeviceTreeWriter::Cells(const char* name, std::initializer_list<uint32_t> cells) {
  std::byte* out = Property(name, cells.size() * sizeof(uint32_t));
  if (out == nullptr) return;
  for (uint32_t cell : cells) out = PutCell(out, cell);
}

void DeviceTreeWriter::Numbers(const char* name, std::initializer_list<uint64_t> numbers) {
  std::byte* out = Property(name, numbers.size() * sizeof(uint64_t));
  if (out == nullptr) return;
  for (uint64_t number : numbers) {
    out = PutCell(out, static_cast<uint32_t>(number >> 32));
    out = PutCell(out, static_cast<uint32_t>(number));
  }
}

int DeviceTreeWriter::Finish() {
  if (error_ == 0) Note(fdt_finish(buffer_.data()));
  return error_;
}

}  // namespace atoll
