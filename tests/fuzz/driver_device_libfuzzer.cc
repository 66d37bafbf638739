// The libFuzzer target as one translation unit, so that one compiler command with one dependency
// file builds it.
#include "services/blk-driver/block_driver.cc"
#include "services/blk-driver/physical_disk.cc"
#include "services/blk-driver/transfer.cc"
#include "services/net-driver/net_driver.cc"
#include "services/net-driver/network_interface.cc"
#include "services/net/checksum.cc"
#include "services/net/offload.cc"
#include "services/net/packet.cc"
#include "services/net/segmenter.cc"
#include "services/virtio_driver/queue.cc"
#include "services/virtio_driver/transport.cc"
#include "tests/fuzz/driver_device.cc"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  atoll::FuzzDriverDevice(std::as_bytes(std::span(data, size)));
  return 0;
}
