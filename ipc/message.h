// What travels between a caller and a server, as the code generated from proto/*.proto sees it.
#ifndef ATOLL_IPC_MESSAGE_H_
#define ATOLL_IPC_MESSAGE_H_

#include <cstdint>

#include "ipc/abi.h"
#include "ipc/status.h"

namespace atoll {

// Who calls, and which call this is.
struct CallInfo {
  uint64_t badge = 0;    // of the handle that was called through; names the client
  uint64_t token = 0;    // to reply to; names caller and call, the same when redelivered
  uint64_t attempt = 0;  // 1 at first; more when an earlier server died with this call unanswered

  constexpr uint32_t caller() const { return static_cast<uint32_t>(token >> 48); }
  constexpr uint64_t call_id() const { return token & ((uint64_t{1} << 48) - 1); }
};

// A request or reply: label (abi::MakeLabel) and payload words. Words not used by a message are 0.
struct Message {
  uint64_t label = 0;
  abi::Words words{};
};

// Label of a Message that is not to be sent: the server answers later, with abi::Reply and the token.
inline constexpr uint64_t kNoReplyLabel = ~uint64_t{0};

// What a server's method returns as its error in order not to reply. Never travels.
inline constexpr Status kNoReply = static_cast<Status>(~uint32_t{0});

constexpr Message StatusMessage(Status status) {
  if (status == kNoReply) return {.label = kNoReplyLabel, .words = {}};
  return {.label = abi::MakeLabel(static_cast<uint32_t>(status)), .words = {}};
}

// The status of a reply, whatever the server sent.
constexpr Status ReplyStatus(const Message& reply) {
  return StatusFromNumber(abi::LabelCode(reply.label));
}

// The reply of a register method.
constexpr Message RegisterReply(Status status) { return StatusMessage(status); }
template <typename Reply>
constexpr Message RegisterReply(const Result<Reply>& result) {
  if (!result.has_value()) return StatusMessage(result.error());
  return {.label = abi::MakeLabel(static_cast<uint32_t>(Status::kOk)), .words = result->Pack()};
}

}  // namespace atoll

#endif  // ATOLL_IPC_MESSAGE_H_
