// A kernel for host tests of code that makes kernel calls: ipc/system_call.h declares the functions, this
// defines them. One FakeKernel lives at a time.
#ifndef ATOLL_TESTS_UNIT_IPC_FAKE_KERNEL_H_
#define ATOLL_TESTS_UNIT_IPC_FAKE_KERNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "ipc/system_call.h"

namespace atoll {

class FakeKernel {
 public:
  // Thrown by ReplyWait when nothing more comes, to leave an event loop.
  struct NothingToReceive {};

  struct SentReply {
    uint64_t token;
    Message message;
  };
  struct KernelCallMade {
    uint32_t number;
    abi::Handle handle;
    abi::Words words;
    std::string page;  // the first words[0] bytes of the IPC page, for Log
  };

  FakeKernel();
  ~FakeKernel();
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  static FakeKernel& current();

  // What the test sets up.
  std::function<abi::KernelReply(const KernelCallMade&)> on_system_call;
  std::function<Result<Message>(abi::Handle, const Message&)> on_call;
  std::deque<abi::Received> incoming;

  // What the code did.
  std::vector<KernelCallMade> system_calls;
  std::vector<SentReply> replies;
  std::array<std::byte, abi::kIpcBytes> ipc_page{};
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_IPC_FAKE_KERNEL_H_
