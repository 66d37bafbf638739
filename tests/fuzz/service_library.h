// What fuzz targets of services consist of besides their own file, since each is one translation unit: the sources of the
// libraries.
#ifndef ATOLL_TESTS_FUZZ_SERVICE_LIBRARY_H_
#define ATOLL_TESTS_FUZZ_SERVICE_LIBRARY_H_

#include "services/runtime/log.cc"            // IWYU pragma: export
#include "services/virtio/mmio_transport.cc"  // IWYU pragma: export
#include "services/virtio/split_queue.cc"     // IWYU pragma: export
#include "tests/unit/ipc/fake_kernel.cc"      // IWYU pragma: export

#endif  // ATOLL_TESTS_FUZZ_SERVICE_LIBRARY_H_
