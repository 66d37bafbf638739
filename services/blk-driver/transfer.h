// A request of a client on its way through the device: checked against the client's disk and memory
// and cut into pieces that the device takes.
//
// The client may change its slot at any time. What was checked is private; segments are read anew
// for each piece, each once, and each is checked against the client's DMA window.
#ifndef ATOLL_SERVICES_BLK_DRIVER_TRANSFER_H_
#define ATOLL_SERVICES_BLK_DRIVER_TRANSFER_H_

#include <cstdint>
#include <span>

#include "ipc/dma.h"
#include "services/blk-driver/physical_disk.h"
#include "services/block/request_ring.h"

namespace atoll::blk_driver {

// What a client's requests are checked against.
struct DiskRange {
  uint64_t first_sector = 0;  // of the physical disk
  uint64_t sectors = 0;       // as the client sees it; the physical disk may end before
  uint32_t flags = 0;         // of block::DriverLine
};

// Whether a request may be executed: kOk, or what it fails with.
block::RequestStatus CheckRequest(const block::Request& request, const DiskRange& disk,
                                  uint64_t physical_sectors);

// One piece of an IN or OUT request.
struct Piece {
  uint32_t sectors = 0;
  uint32_t buffers = 0;
};

// Fills the first of `buffers` with the physical memory of the request's data from `done` sectors
// on; neighbours become one buffer of up to buffer_bytes. OUT_OF_RANGE: a segment is empty or
// outside the window, or the sum of all is not what the request says.
Result<Piece> MakePiece(const block::RequestRingDriver& ring, uint32_t slot,
                        const block::Request& request, uint32_t done, const OpenDma& window,
                        uint32_t buffer_bytes, std::span<virtio_driver::Buffer> buffers);

}  // namespace atoll::blk_driver

#endif  // ATOLL_SERVICES_BLK_DRIVER_TRANSFER_H_
