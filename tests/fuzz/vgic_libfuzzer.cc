// The libFuzzer target: either of the two functions.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/vgic_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto input = std::as_bytes(std::span(data, size));
  const std::string error = (data[0] & 1) != 0 ? atoll::FuzzVgic(input.subspan(1))
                                               : atoll::FuzzVgicRegisters(input.subspan(1));
  if (!error.empty()) {
    std::fprintf(stderr, "%s\n", error.c_str());
    std::abort();
  }
  return 0;
}
