// The kernel's log on its way through the shared ring: every line once, in order, whole.
#include "services/supervisor/log_relay.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/supervisor/manifest.h"
#include "tests/unit/supervisor/fake_kernel.h"

namespace atoll {
namespace {

constexpr uint32_t kConsoleSignal = 44;
constexpr size_t kCapacity = 1024;

struct RelayMachine {
  RelayMachine() {
    kernel.grants_[{kOwnTask.slot, supervisor_manifest::kConsoleLog.slot}] = {kConsoleSignal, 1, 8};
  }
  // What the console finds in the ring; it takes at most `most` bytes.
  std::string Take(size_t most = kCapacity) {
    std::vector<std::byte> bytes(most);
    bytes.resize(reader.Read(bytes));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string Line(int number, size_t bytes = 100) {
    std::string line = "[0.1] line " + std::to_string(number) + " ";
    line.resize(bytes - 1, 'x');
    return line + "\n";
  }

  FakeKernel kernel{std::vector<std::byte>(16)};
  alignas(64) std::array<std::byte, kCapacity + ByteRing::kHeaderBytes> memory{};
  ByteRingReader reader = *ByteRingReader::Attach(memory);
  LogRelay relay{kernel};
};

TEST(LogRelay, HandsOnWhatIsLoggedAfterItsStart) {
  RelayMachine m;
  m.kernel.Write("printed by the kernel\n");
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  EXPECT_EQ(m.kernel.log_bits, supervisor_manifest::kLogSignal);
  m.kernel.Write("one\ntwo\n");
  m.relay.Pass();
  m.kernel.Write("three\n");
  m.relay.Pass();
  EXPECT_EQ(m.Take(), "one\ntwo\nthree\n");
  EXPECT_EQ(m.kernel.uart, "printed by the kernel\n");
  EXPECT_EQ(m.kernel.signalled, (std::vector<uint32_t>{kConsoleSignal, kConsoleSignal}));
}

TEST(LogRelay, NothingNewIsNoSignal) {
  RelayMachine m;
  m.relay.Pass();
  m.relay.Stop();
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  m.relay.Pass();
  EXPECT_TRUE(m.kernel.signalled.empty());
}

TEST(LogRelay, LinesWaitForRoomAndStayWhole) {
  RelayMachine m;
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  std::string all, taken;
  for (int i = 0; i < 50; ++i) {
    all += m.Line(i);
    m.kernel.Write(m.Line(i));
    m.relay.Pass();
  }
  for (int i = 0; i < 50; ++i) {
    const std::string piece = m.Take();
    if (!piece.empty()) {
      EXPECT_EQ(piece.back(), '\n') << "a part of a line";
    }
    taken += piece;
    m.relay.Pass();
  }
  EXPECT_EQ(taken, all);
}

TEST(LogRelay, ReadsMoreThanAnIpcPage) {
  RelayMachine m;
  std::vector<std::byte> large(64 * 1024 + ByteRing::kHeaderBytes);
  auto reader = *ByteRingReader::Attach(large);
  ASSERT_EQ(m.relay.Start(large), Status::kOk);
  std::string all;
  for (int i = 0; i < 300; ++i) all += m.Line(i, 90);
  m.kernel.Write(all);
  m.relay.Pass();
  EXPECT_EQ(reader.Available(), all.size());
}

TEST(LogRelay, ReportsWhatTheKernelCouldNotKeep) {
  RelayMachine m;
  m.kernel.log_capacity = 450;  // four lines and a half
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  std::string all;
  for (int i = 0; i < 10; ++i) all += m.Line(i);
  m.kernel.Write(all);
  m.relay.Pass();
  EXPECT_EQ(m.Take(), m.Line(6) + m.Line(7) + m.Line(8) + m.Line(9));
  EXPECT_EQ(m.kernel.log,
            std::vector<std::string>{"log: 600 bytes were lost: too many lines at once"});
  m.relay.Pass();
  EXPECT_EQ(m.Take(), m.kernel.log[0] + "\n");
  m.relay.Pass();
  EXPECT_EQ(m.kernel.log.size(), 1u) << "told once";
}

TEST(LogRelay, AFloodWithAStuckConsoleAddsNoLineOfItsOwn) {
  RelayMachine m;
  m.kernel.log_capacity = 450;
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  for (int i = 0; i < 1000; ++i) {
    m.kernel.Write(m.Line(i));
    m.relay.Pass();
  }
  EXPECT_TRUE(m.kernel.log.empty());
  EXPECT_LE(m.Take().size(), kCapacity);
  m.relay.Pass();
  EXPECT_EQ(m.kernel.log.size(), 1u);
}

TEST(LogRelay, TheKernelPrintsWhatTheConsoleDidNotTake) {
  for (const size_t taken : {0u, 8u, 12u, 20u}) {
    RelayMachine m;
    ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
    m.kernel.Write("first 1\nsecond 2\n");
    m.relay.Pass();
    const std::string on_console = m.Take(taken);
    m.kernel.Write("not passed on\n");
    m.relay.Stop();
    m.kernel.Write("later\n");
    EXPECT_EQ(on_console + m.kernel.uart, "first 1\nsecond 2\nnot passed on\nlater\n");
    m.Take();
    m.relay.Pass();
    EXPECT_EQ(m.Take(), "") << "stopped";
  }
}

TEST(LogRelay, ARingThatMakesNoSenseLosesNothing) {
  RelayMachine m;
  ASSERT_EQ(m.relay.Start(m.memory), Status::kOk);
  const uint32_t index = 0x7777'7777;
  std::memcpy(m.memory.data() + 64, &index, sizeof(index));  // the console's index
  m.kernel.Write("one\n");
  m.relay.Pass();
  EXPECT_TRUE(m.kernel.signalled.empty());
  m.relay.Stop();
  EXPECT_NE(m.kernel.uart.find("one\n"), std::string::npos);
}

TEST(LogRelay, RefusesARingWithoutRoom) {
  RelayMachine m;
  EXPECT_EQ(m.relay.Start(std::span(m.memory).first(64)), Status::kInvalidArgument);
  m.kernel.Write("goes on\n");
  EXPECT_EQ(m.kernel.uart, "goes on\n");
}

}  // namespace
}  // namespace atoll
