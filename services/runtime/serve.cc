#include "services/runtime/serve.h"

#include <array>

#include "proto/device.atoll.h"

namespace atoll {
namespace {

// Accesses that a device could not finish. Their vCPUs wait, so there are no more than a VM has.
class HeldAccesses {
 public:
  // False: no room.
  bool Add(const RegisterAccess& access) {
    for (RegisterAccess& held : held_) {
      if (held.token != 0) continue;
      held = access;
      any_ = true;
      return true;
    }
    return false;
  }
  bool any() const { return any_; }

  void Retry(MmioDevice& device) {
    any_ = false;
    for (RegisterAccess& held : held_) {
      if (held.token == 0) continue;
      const Result<uint64_t> value = device.Access(held);
      if (!value.has_value() && value.error() == Status::kUnavailable) {
        any_ = true;
        continue;
      }
      if (!value.has_value() && value.error() == Status::kDataLoss) PanicOfDamage();
      // A caller that is gone needs no reply.
      (void)abi::Reply(held.token,
                       value.has_value() ? Answer(*value) : StatusMessage(value.error()));
      held.token = 0;
    }
  }

  static Message Answer(uint64_t value) {
    return {.label = abi::MakeLabel(static_cast<uint32_t>(Status::kOk)),
            .words = MmioAccessReply{.value = value}.Pack()};
  }

 private:
  static constexpr size_t kMaxVcpus = 8;
  std::array<RegisterAccess, kMaxVcpus> held_ = {};  // token 0: free
  bool any_ = false;
};

// The token to be answered now: none if the access is held. By value, so that it stays in a register.
[[gnu::noinline]] uint64_t TokenOfFailed(Status status, const RegisterAccess& access,
                                         HeldAccesses& held) {
  if (status == Status::kDataLoss) PanicOfDamage();
  return status == Status::kUnavailable && held.Add(access) ? 0 : access.token;
}

// What is wrong with a request that is no access. Apart, as the compiler else prepares it on every
// way.
[[gnu::noinline, gnu::cold]] Status Refused(uint64_t label) {
  return abi::LabelCode(label) != DeviceInterface::kMmioAccess ? Status::kUnimplemented
                                                               : Status::kInvalidArgument;
}

Message Access(MmioDevice& device, const Message& request, HeldAccesses& held, uint64_t& token) {
  if (abi::LabelCode(request.label) != DeviceInterface::kMmioAccess ||
      !MmioAccessRequest::InRange(request.words)) [[unlikely]] {
    return StatusMessage(Refused(request.label));
  }
  const auto access = MmioAccessRequest::Unpack(request.words);
  const RegisterAccess register_access = {.offset = access.offset,
                                          .size = access.size,
                                          .write = access.write,
                                          .value = access.value,
                                          .token = token};
  const Result<uint64_t> value = device.Access(register_access);
  if (!value.has_value()) [[unlikely]] {
    token = TokenOfFailed(value.error(), register_access, held);
    return StatusMessage(value.error());
  }
  return HeldAccesses::Answer(*value);
}

// The path of every emulated register access: kept to one virtual call and no more stores than its argument. So the
// first job, which is noted, has a loop of its own.
template <bool kFirst>
[[gnu::always_inline]] inline void ServeJobs(MmioDevice& device, HeldAccesses& held,
                                             uint64_t& token, Message& reply) {
  do {
    const abi::Received received = abi::ReplyWait(token, reply);
    token = received.call.token;
    if (IsOk(received.status) && token != 0) [[likely]] {
      reply = Access(device, received.message, held, token);
    } else if (IsOk(received.status)) {
      GiveSignals(device, received.message.words[0]);
      if (held.any()) [[unlikely]]
        held.Retry(device);
    } else if (received.status == Status::kCancelled) {
      token = 0;  // the caller is gone, and so is the reply
    } else {
      PanicOfReplyWait(received.status);
    }
  } while (!kFirst);
}

// What is to be sent by the loop that follows. No more of the message: its other words are then known to be zero there.
struct FirstAnswer {
  uint64_t token;
  uint64_t label;
  uint64_t value;
};

[[gnu::noinline]] FirstAnswer ServeFirst(MmioDevice& device, HeldAccesses& held) {
  uint64_t token = 0;
  Message reply;
  ServeJobs<true>(device, held, token, reply);
  NoteFirstAnswer();
  return {.token = token, .label = reply.label, .value = reply.words[0]};
}

}  // namespace

void PanicOfReplyWait(Status status) { Panic("reply_wait: ", status); }

void PanicOfDamage() { Panic("this instance's own data were written over"); }

void Serve(MmioDevice& device) {
  HeldAccesses held;
  const FirstAnswer first = ServeFirst(device, held);
  uint64_t token = first.token;  // of the call to be answered next
  Message reply{.label = first.label, .words = {first.value}};
  for (;;) ServeJobs<false>(device, held, token, reply);
}

}  // namespace atoll
