// The libFuzzer target as one translation unit, so that one compiler command with one dependency
// file builds it.
#define ATOLL_LIBFUZZER
#include "services/virtio-blk/block_device.cc"
#include "services/virtio-blk/memory_executor.cc"
#include "services/virtio-blk/request.cc"
#include "services/virtio/mmio_transport.cc"
#include "services/virtio/split_queue.cc"
#include "tests/fuzz/virtio_device.cc"
