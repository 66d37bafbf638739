// The event loops, with a fake kernel on the other side of reply_wait.
#include "services/runtime/serve.h"

#include <gtest/gtest.h>

#include <vector>

#include "proto/device.atoll.h"
#include "services/runtime/device_as_server.h"
#include "tests/unit/ipc/fake_kernel.h"

namespace atoll {

// The end of a task, on the host.
struct Exited {
  uint32_t code;
};
void Exit(uint32_t code) { throw Exited{code}; }
void SendLogLine(size_t) {}

namespace {

class FakeDevice : public MmioDevice {
 public:
  Result<uint64_t> Access(const RegisterAccess& access) override {
    accesses.push_back(access);
    if (access.offset < busy_below) return std::unexpected(Status::kUnavailable);
    if (access.offset == kDamaged) return std::unexpected(Status::kDataLoss);
    if (access.offset >= 0x1000) return std::unexpected(Status::kOutOfRange);
    return access.write ? 0 : access.offset + 1;
  }
  void OnSignals(uint64_t bits) override {
    signals.push_back(bits);
    if (bits < 0x1000) busy_below = bits;
  }

  std::vector<RegisterAccess> accesses;
  std::vector<uint64_t> signals;
  bool IsIntact() override { return is_intact; }

  static constexpr uint64_t kDamaged = 0x2000;
  bool is_intact = true;
  uint64_t busy_below = 0;  // accesses below this offset cannot be finished now
};

class FakeVmm final : public HypercallServer, public SignalHandler {
 public:
  Result<SmcccReply> Smccc(const CallInfo& call, const SmcccRequest& request) override {
    if (request.x0 == 0) return std::unexpected(kNoReply);
    return SmcccReply{.x0 = request.x0 + call.badge};
  }
  void OnSignals(uint64_t bits) override { signals.push_back(bits); }

  std::vector<uint64_t> signals;
};

abi::Received CallOf(uint64_t token, uint32_t code, const abi::Words& words, uint64_t badge = 0) {
  return {.status = Status::kOk,
          .call = {.badge = badge, .token = token, .attempt = 1},
          .message = {.label = abi::MakeLabel(code), .words = words}};
}
abi::Received SignalsOf(uint64_t bits) {
  return {.status = Status::kOk, .call = {}, .message = {.label = 0, .words = {bits}}};
}
abi::Received Failure(Status status) {
  return {.status = status, .call = {.badge = 3, .token = 4, .attempt = 5}, .message = {}};
}

class ServeDevice : public testing::Test {
 protected:
  void Run() { EXPECT_THROW(Serve(device_), FakeKernel::NothingToReceive); }

  FakeKernel kernel_;
  FakeDevice device_;
};

TEST_F(ServeDevice, access_is_answered_with_its_token) {
  kernel_.incoming = {CallOf(77, DeviceInterface::kMmioAccess, {0x18, 4, 0, 0}),
                      CallOf(78, DeviceInterface::kMmioAccess, {0x20, 2, 1, 0xabcd})};
  Run();
  ASSERT_EQ(kernel_.replies.size(), 3u);
  EXPECT_EQ(kernel_.replies[0].token, 0u);
  EXPECT_EQ(kernel_.replies[1].token, 77u);
  EXPECT_EQ(kernel_.replies[1].message.label, 0u);
  EXPECT_EQ(kernel_.replies[1].message.words, (abi::Words{0x19}));
  EXPECT_EQ(kernel_.replies[2].token, 78u);
  EXPECT_EQ(kernel_.replies[2].message.words, (abi::Words{0}));
  ASSERT_EQ(device_.accesses.size(), 2u);
  EXPECT_EQ(device_.accesses[1].offset, 0x20u);
  EXPECT_EQ(device_.accesses[1].size, 2u);
  EXPECT_TRUE(device_.accesses[1].write);
  EXPECT_EQ(device_.accesses[1].value, 0xabcdu);
}

TEST_F(ServeDevice, error_of_the_device_is_replied) {
  kernel_.incoming = {CallOf(1, DeviceInterface::kMmioAccess, {0x1000, 4, 0, 0})};
  Run();
  EXPECT_EQ(ReplyStatus(kernel_.replies.at(1).message), Status::kOutOfRange);
}

TEST_F(ServeDevice, wrong_requests_do_not_reach_the_device) {
  kernel_.incoming = {CallOf(1, DeviceInterface::kMmioAccess + 1, {0, 4}),
                      CallOf(2, HypercallInterface::kSmccc, {0, 4}),
                      CallOf(3, DeviceInterface::kMmioAccess, {0, 0}),
                      CallOf(4, DeviceInterface::kMmioAccess, {0, 9}),
                      CallOf(5, DeviceInterface::kMmioAccess, {0, 4, 2})};
  Run();
  EXPECT_TRUE(device_.accesses.empty());
  ASSERT_EQ(kernel_.replies.size(), 6u);
  EXPECT_EQ(ReplyStatus(kernel_.replies[1].message), Status::kUnimplemented);
  EXPECT_EQ(ReplyStatus(kernel_.replies[2].message), Status::kUnimplemented);
  for (size_t i = 3; i < 6; ++i)
    EXPECT_EQ(ReplyStatus(kernel_.replies[i].message), Status::kInvalidArgument);
}

TEST_F(ServeDevice, signals_reach_the_device_and_nobody_is_answered) {
  kernel_.incoming = {SignalsOf(0x8000'0000'0000'0001)};
  Run();
  EXPECT_EQ(device_.signals, (std::vector<uint64_t>{0x8000'0000'0000'0001}));
  EXPECT_EQ(kernel_.replies.at(1).token, 0u);
}

TEST_F(ServeDevice, caller_that_is_gone_is_forgotten) {
  kernel_.incoming = {CallOf(9, DeviceInterface::kMmioAccess, {0, 4}), Failure(Status::kCancelled),
                      SignalsOf(2)};
  Run();
  ASSERT_EQ(kernel_.replies.size(), 4u);
  EXPECT_EQ(kernel_.replies[1].token, 9u);
  EXPECT_EQ(kernel_.replies[2].token, 0u);
  EXPECT_EQ(device_.signals, (std::vector<uint64_t>{2}));
}

TEST_F(ServeDevice, CORE_20_access_that_cannot_be_finished_is_answered_later) {
  device_.busy_below = 0x100;
  kernel_.incoming = {CallOf(7, DeviceInterface::kMmioAccess, {0x70, 4, 1, 0}),
                      CallOf(8, DeviceInterface::kMmioAccess, {0x90, 4, 0, 0}),
                      CallOf(9, DeviceInterface::kMmioAccess, {0x200, 4, 0, 0}),
                      SignalsOf(0xff),
                      SignalsOf(0x80),
                      SignalsOf(0),
                      SignalsOf(0)};
  Run();
  std::vector<uint64_t> answered;
  for (const auto& reply : kernel_.replies) {
    if (reply.token != 0) answered.push_back(reply.token);
  }
  EXPECT_EQ(answered, (std::vector<uint64_t>{9, 8, 7}));  // others are not held up
  for (const auto& reply : kernel_.replies) {
    if (reply.token == 8) EXPECT_EQ(reply.message.words[0], 0x91u);
    if (reply.token == 7) EXPECT_EQ(ReplyStatus(reply.message), Status::kOk);
  }
}

TEST_F(ServeDevice, more_held_accesses_than_vcpus_are_refused) {
  device_.busy_below = 0x100;
  for (uint64_t token = 1; token <= 9; ++token) {
    kernel_.incoming.push_back(CallOf(token, DeviceInterface::kMmioAccess, {0x70, 4, 1, 0}));
  }
  kernel_.incoming.push_back(SignalsOf(0));
  Run();
  ASSERT_EQ(kernel_.replies.at(9).token, 9u);
  EXPECT_EQ(ReplyStatus(kernel_.replies[9].message), Status::kUnavailable);
  size_t answered = 0;
  for (const auto& reply : kernel_.replies) answered += reply.token != 0 ? 1 : 0;
  EXPECT_EQ(answered, 9u);
}

TEST_F(ServeDevice, refusal_by_the_kernel_ends_the_task) {
  kernel_.incoming = {Failure(Status::kPermissionDenied)};
  try {
    Serve(device_);
  } catch (const Exited& exited) {
    EXPECT_EQ(exited.code, kPanicExitCode);
    return;
  }
  FAIL() << "went on";
}

TEST_F(ServeDevice, heartbeat_is_not_the_devices) {
  host_statistics = {};
  kernel_.incoming = {SignalsOf(kHeartbeat), SignalsOf(kHeartbeat | 5)};
  Run();
  EXPECT_EQ(device_.signals, (std::vector<uint64_t>{5}));
  EXPECT_EQ(host_statistics.heartbeats, 2u);
}

TEST_F(ServeDevice, first_job_is_noted) {
  host_statistics = {};
  Run();
  EXPECT_EQ(host_statistics.first_answer, 0u);
  kernel_.incoming = {CallOf(77, DeviceInterface::kMmioAccess, {0x18, 4, 0, 0})};
  Run();
  EXPECT_NE(host_statistics.first_answer, 0u);
}

class ServeInterfaces : public testing::Test {
 protected:
  class Registers final : public DeviceServer {
   public:
    Result<MmioAccessReply> MmioAccess(const CallInfo&, const MmioAccessRequest& request) override {
      return MmioAccessReply{.value = request.offset};
    }
  };

  void Run() { EXPECT_THROW(Serve(vmm_, vmm_, registers_), FakeKernel::NothingToReceive); }

  FakeKernel kernel_;
  FakeVmm vmm_;
  Registers registers_;
};

TEST_F(ServeInterfaces, request_goes_to_the_server_of_its_interface) {
  kernel_.incoming = {CallOf(1, HypercallInterface::kSmccc, {40}, 2),
                      CallOf(2, DeviceInterface::kMmioAccess, {6, 4}), CallOf(3, 0x0300, {}),
                      SignalsOf(5)};
  Run();
  ASSERT_EQ(kernel_.replies.size(), 5u);
  EXPECT_EQ(kernel_.replies[1].message.words[0], 42u);
  EXPECT_EQ(kernel_.replies[2].message.words[0], 6u);
  EXPECT_EQ(ReplyStatus(kernel_.replies[3].message), Status::kUnimplemented);
  EXPECT_EQ(kernel_.replies[4].token, 0u);
  EXPECT_EQ(vmm_.signals, (std::vector<uint64_t>{5}));
}

TEST_F(ServeInterfaces, heartbeat_is_not_the_services) {
  host_statistics = {};
  kernel_.incoming = {SignalsOf(kHeartbeat), SignalsOf(kHeartbeat | 5)};
  Run();
  EXPECT_EQ(vmm_.signals, (std::vector<uint64_t>{5}));
  EXPECT_EQ(host_statistics.heartbeats, 2u);
  EXPECT_NE(host_statistics.first_answer, 0u);
}

TEST_F(ServeDevice, that_is_damaged_ends_with_the_next_heartbeat) {
  kernel_.incoming = {SignalsOf(kHeartbeat)};
  Run();
  device_.is_intact = false;
  kernel_.incoming = {SignalsOf(8), CallOf(77, DeviceInterface::kMmioAccess, {0x18, 4, 0, 0}),
                      SignalsOf(kHeartbeat | 16)};
  EXPECT_THROW(Serve(device_), Exited);
  EXPECT_EQ(device_.signals, (std::vector<uint64_t>{8}));
}

// The call stays open: the successor answers it.
TEST_F(ServeDevice, that_finds_itself_damaged_ends_without_an_answer) {
  kernel_.incoming = {CallOf(77, DeviceInterface::kMmioAccess, {FakeDevice::kDamaged, 4, 0, 0})};
  EXPECT_THROW(Serve(device_), Exited);
  for (const auto& reply : kernel_.replies) EXPECT_EQ(reply.token, 0u);
}

TEST_F(ServeDevice, that_serves_others_too_and_finds_itself_damaged_ends_without_an_answer) {
  DeviceAsServer server(device_);
  kernel_.incoming = {CallOf(76, DeviceInterface::kMmioAccess, {0x1000, 4, 0, 0}),
                      CallOf(77, DeviceInterface::kMmioAccess, {FakeDevice::kDamaged, 4, 0, 0})};
  EXPECT_THROW(Serve(server, static_cast<DeviceServer&>(server)), Exited);
  for (const auto& reply : kernel_.replies) EXPECT_NE(reply.token, 77u);
  EXPECT_EQ(ReplyStatus(kernel_.replies.at(1).message), Status::kOutOfRange);
}

TEST_F(ServeInterfaces, declined_reply_is_not_sent) {
  kernel_.incoming = {CallOf(1, HypercallInterface::kSmccc, {0})};
  Run();
  EXPECT_EQ(kernel_.replies.at(1).token, 0u);
}

TEST_F(ServeInterfaces, caller_that_is_gone_is_forgotten) {
  kernel_.incoming = {CallOf(1, HypercallInterface::kSmccc, {1}), Failure(Status::kCancelled)};
  Run();
  EXPECT_EQ(kernel_.replies.at(2).token, 0u);
}

TEST_F(ServeInterfaces, refusal_by_the_kernel_ends_the_task) {
  kernel_.incoming = {Failure(Status::kNotFound)};
  EXPECT_THROW(Serve(vmm_, vmm_, registers_), Exited);
}

}  // namespace
}  // namespace atoll
