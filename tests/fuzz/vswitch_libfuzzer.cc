// The libFuzzer target as one translation unit, so that one compiler command with one dependency
// file builds it.
#define ATOLL_LIBFUZZER
#include "services/net/checksum.cc"
#include "services/net/offload.cc"
#include "services/net/packet.cc"
#include "services/vswitch/address_table.cc"
#include "services/vswitch/switch.cc"
#include "tests/fuzz/vswitch.cc"
