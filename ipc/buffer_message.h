// Buffer messages: protobuf in the IPC page, for what does not fit in registers. The code generated from
// proto/*.proto calls these.
#ifndef ATOLL_IPC_BUFFER_MESSAGE_H_
#define ATOLL_IPC_BUFFER_MESSAGE_H_

#include <pb.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/abi.h"
#include "ipc/message.h"
#include "ipc/status.h"

namespace atoll {

// Encodes a nanopb message and returns its size; OUT_OF_RANGE if `bytes` is too small.
Result<size_t> EncodeMessage(const pb_msgdesc_t* type, const void* message,
                             std::span<std::byte> bytes);

// Decodes a whole nanopb message; false if the bytes are not one or break a bound. `bytes` must not change
// meanwhile. Fields that are absent become 0.
bool DecodeMessage(std::span<const std::byte> bytes, const pb_msgdesc_t* type, void* message);

// For servers: the message that came with `label` in the IPC page.
bool DecodeBuffer(uint64_t label, const pb_msgdesc_t* type, void* message);

// For servers: puts a reply into the IPC page.
Message BufferReply(const pb_msgdesc_t* type, const void* message);

// For clients: sends `request`, waits, fills `reply`. A null type stands for an empty message. DATA_LOSS: the
// server's reply is no such message; otherwise the status of the call or of the server.
Status CallWithBuffer(abi::Handle endpoint, uint32_t code, const pb_msgdesc_t* request_type,
                      const void* request, const pb_msgdesc_t* reply_type, void* reply);

}  // namespace atoll

#endif  // ATOLL_IPC_BUFFER_MESSAGE_H_
