#include "services/runtime/serve.h"

#include "proto/device.atoll.h"

namespace atoll {
namespace {

Message Access(MmioDevice& device, const Message& request) {
  if (abi::LabelCode(request.label) != DeviceInterface::kMmioAccess) [[unlikely]] {
    return StatusMessage(Status::kUnimplemented);
  }
  if (!MmioAccessRequest::InRange(request.words)) [[unlikely]] {
    return StatusMessage(Status::kInvalidArgument);
  }
  const auto access = MmioAccessRequest::Unpack(request.words);
  const Result<uint64_t> value = device.Access(
      {.offset = access.offset, .size = access.size, .write = access.write, .value = access.value});
  if (!value.has_value()) [[unlikely]]
    return StatusMessage(value.error());
  return {.label = abi::MakeLabel(static_cast<uint32_t>(Status::kOk)),
          .words = MmioAccessReply{.value = *value}.Pack()};
}

}  // namespace

void PanicOfReplyWait(Status status) { Panic("reply_wait: ", status); }

// The path of every emulated register access: kept to one virtual call and no more stores than its argument.
void Serve(MmioDevice& device) {
  uint64_t token = 0;  // of the call to be answered next
  Message reply;
  for (;;) {
    const abi::Received received = abi::ReplyWait(token, reply);
    token = received.call.token;
    if (IsOk(received.status) && token != 0) [[likely]] {
      reply = Access(device, received.message);
    } else if (IsOk(received.status)) {
      device.OnSignals(received.message.words[0]);
    } else if (received.status == Status::kCancelled) {
      token = 0;  // the caller is gone, and so is the reply
    } else {
      PanicOfReplyWait(received.status);
    }
  }
}

}  // namespace atoll
