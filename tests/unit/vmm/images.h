// Kernel files and configurations for tests.
#ifndef ATOLL_TESTS_UNIT_VMM_IMAGES_H_
#define ATOLL_TESTS_UNIT_VMM_IMAGES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "proto/vmm_config.atoll.h"

namespace atoll {

// An arm64 Image of `bytes`: header as booting.rst lays it out, then a pattern.
inline std::vector<std::byte> MakeImage(uint64_t text_offset, uint64_t image_size,
                                        uint64_t flags = 0, size_t bytes = 4096) {
  std::vector<std::byte> file(bytes);
  for (size_t i = 0; i < bytes; ++i) file[i] = static_cast<std::byte>(i * 7 + 1);
  const auto put = [&](size_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) file[offset + i] = static_cast<std::byte>(value >> (8 * i));
  };
  put(8, text_offset, 8);
  put(16, image_size, 8);
  put(24, flags, 8);
  std::memcpy(file.data() + 56, "ARM\x64", 4);
  return file;
}

inline std::vector<std::byte> MakeFile(std::string_view content) {
  const auto* data = reinterpret_cast<const std::byte*>(content.data());
  return {data, data + content.size()};
}

// One VM: RAM of 64 MiB, `vcpus` processors, UART, clock and two virtio devices.
inline std::unique_ptr<VmmConfig> MakeConfig(size_t vcpus = 2) {
  auto config = std::make_unique<VmmConfig>();
  config->ram_base = 0x4000'0000;
  config->ram_bytes = 64 << 20;
  std::strcpy(config->command_line, "console=ttyAMA0 quiet");
  config->vcpu_affinity_count = static_cast<pb_size_t>(vcpus);
  for (size_t i = 0; i < vcpus; ++i) config->vcpu_affinity[i] = i;
  config->gic_distributor = 0x0800'0000;
  config->gic_redistributors = 0x080a'0000;
  const auto add = [&](const char* name, uint64_t address, uint64_t bytes, uint32_t intid,
                       std::initializer_list<const char*> compatible) -> DeviceNode& {
    DeviceNode& node = config->devices[config->devices_count++];
    std::strcpy(node.name, name);
    node.address = address;
    node.bytes = bytes;
    node.intid = intid;
    for (const char* text : compatible) std::strcpy(node.compatible[node.compatible_count++], text);
    return node;
  };
  auto& uart = add("pl011", 0x0900'0000, 0x1000, 33, {"arm,pl011", "arm,primecell"});
  uart.console = true;
  uart.clock_names_count = 2;
  std::strcpy(uart.clock_names[0], "uartclk");
  std::strcpy(uart.clock_names[1], "apb_pclk");
  auto& rtc = add("pl031", 0x0901'0000, 0x1000, 34, {"arm,pl031", "arm,primecell"});
  rtc.clock_names_count = 1;
  std::strcpy(rtc.clock_names[0], "apb_pclk");
  for (uint32_t i = 0; i < 2; ++i) {
    auto& node = add("virtio_mmio", 0x0a00'0000 + 0x1000 * i, 0x1000, 48 + i, {"virtio,mmio"});
    node.properties_count = 1;
    std::strcpy(node.properties[0].name, "dma-coherent");
  }
  return config;
}

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VMM_IMAGES_H_
