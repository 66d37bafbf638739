#include "ipc/buffer_message.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "ipc/system_call.h"

namespace atoll {

Result<size_t> EncodeMessage(const pb_msgdesc_t* type, const void* message,
                             std::span<std::byte> bytes) {
  pb_ostream_t stream =
      pb_ostream_from_buffer(reinterpret_cast<pb_byte_t*>(bytes.data()), bytes.size());
  if (!pb_encode(&stream, type, message)) return std::unexpected(Status::kOutOfRange);
  return stream.bytes_written;
}

bool DecodeMessage(std::span<const std::byte> bytes, const pb_msgdesc_t* type, void* message) {
  pb_istream_t stream =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(bytes.data()), bytes.size());
  return pb_decode(&stream, type, message);
}

bool DecodeBuffer(uint64_t label, const pb_msgdesc_t* type, void* message) {
  const std::span<std::byte> page = abi::IpcPage();
  const size_t bytes = abi::LabelBytes(label);
  return bytes <= page.size() && DecodeMessage(page.first(bytes), type, message);
}

Message BufferReply(const pb_msgdesc_t* type, const void* message) {
  const Result<size_t> bytes = EncodeMessage(type, message, abi::IpcPage());
  if (!bytes.has_value()) return StatusMessage(Status::kInternal);  // a string that is not UTF-8
  return {
      .label = abi::MakeLabel(static_cast<uint32_t>(Status::kOk), static_cast<uint32_t>(*bytes)),
      .words = {}};
}

Status CallWithBuffer(abi::Handle endpoint, uint32_t code, const pb_msgdesc_t* request_type,
                      const void* request, const pb_msgdesc_t* reply_type, void* reply) {
  uint32_t request_bytes = 0;
  if (request_type != nullptr) {
    const Result<size_t> bytes = EncodeMessage(request_type, request, abi::IpcPage());
    if (!bytes.has_value()) return Status::kInvalidArgument;
    request_bytes = static_cast<uint32_t>(*bytes);
  }
  const Result<Message> answer =
      abi::Call(endpoint, {.label = abi::MakeLabel(code, request_bytes), .words = {}});
  if (!answer.has_value()) return answer.error();
  if (!IsOk(ReplyStatus(*answer)) || reply_type == nullptr) return ReplyStatus(*answer);
  return DecodeBuffer(answer->label, reply_type, reply) ? Status::kOk : Status::kDataLoss;
}

}  // namespace atoll
