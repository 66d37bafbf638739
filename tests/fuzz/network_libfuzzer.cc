// The libFuzzer target as one translation unit, so that one compiler command with one dependency
// file builds it.
#define ATOLL_LIBFUZZER
#include "services/net/checksum.cc"
#include "services/net/offload.cc"
#include "services/net/packet.cc"
#include "services/net/segmenter.cc"
#include "services/virtio-net/control.cc"
#include "services/virtio-net/net_device.cc"
#include "services/virtio-net/receive_filter.cc"
#include "services/virtio-net/receiver.cc"
#include "services/virtio-net/transmitter.cc"
#include "services/virtio/mmio_transport.cc"
#include "services/virtio/split_queue.cc"
#include "tests/fuzz/network_device.cc"
