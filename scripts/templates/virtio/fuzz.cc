// ninja -C build tests/fuzz/fuzz_@NAME@ && build/tests/fuzz/fuzz_@NAME@ -max_total_time=60
#include "services/@NAME@/device.h"
#include "tests/fuzz/virtio_device_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
@FUZZ@
}
