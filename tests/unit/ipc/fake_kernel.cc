#include "tests/unit/ipc/fake_kernel.h"

#include <algorithm>
#include <cstdlib>

namespace atoll {
namespace {
FakeKernel* current_kernel = nullptr;
}  // namespace

FakeKernel::FakeKernel() { current_kernel = this; }
FakeKernel::~FakeKernel() { current_kernel = nullptr; }

FakeKernel& FakeKernel::current() {
  if (current_kernel == nullptr) std::abort();  // a kernel call in a test without a FakeKernel
  return *current_kernel;
}

namespace abi {

KernelReply SystemCall(uint32_t number, Handle handle, const Words& words) {
  FakeKernel& kernel = FakeKernel::current();
  const auto* page = reinterpret_cast<const char*>(kernel.ipc_page.data());
  kernel.system_calls.push_back(
      {number, handle, words, std::string(page, std::min<uint64_t>(words[0], kIpcBytes))});
  if (!kernel.on_system_call) return {.status = Status::kOk, .words = {}};
  return kernel.on_system_call(kernel.system_calls.back());
}

Result<Message> Call(Handle endpoint, const Message& request) {
  FakeKernel& kernel = FakeKernel::current();
  if (!kernel.on_call) return std::unexpected(Status::kNotFound);
  return kernel.on_call(endpoint, request);
}

Received ReplyWait(uint64_t token, const Message& reply) {
  FakeKernel& kernel = FakeKernel::current();
  kernel.replies.push_back({token, reply});
  if (kernel.incoming.empty()) throw FakeKernel::NothingToReceive();
  const Received received = kernel.incoming.front();
  kernel.incoming.pop_front();
  return received;
}

Status Reply(uint64_t token, const Message& reply) {
  FakeKernel::current().replies.push_back({token, reply});
  return Status::kOk;
}

std::span<std::byte> IpcPage() { return FakeKernel::current().ipc_page; }

}  // namespace abi
}  // namespace atoll
