// Any sequence of register accesses, buffers, guest memory and restarts of an entropy device, as a function of random bytes.
#include "services/virtio-rng/device.h"
#include "tests/fuzz/virtio_device_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return atoll::virtio::FuzzVirtioDevice<atoll::VirtioRng>(data, size);
}
