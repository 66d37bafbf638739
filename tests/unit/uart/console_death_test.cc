// The console killed after any store: its successor sends each byte of the rings once, acts on each typed byte once, and
// says each of the console's own words once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "services/console/console.h"
#include "services/pl011/registers.h"
#include "tests/unit/uart/fake_ports.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {
namespace {

// A UART whose whole state can be kept and put back: a wire that takes everything, and what was typed.
struct PlainUart {
  std::array<char, 2048> wire{};
  uint32_t sent = 0;
  std::array<char, 64> typed{};
  uint32_t typed_bytes = 0;
  uint32_t taken = 0;
};

class PlainPort final : public UartPort {
 public:
  explicit PlainPort(PlainUart& uart) : uart_(uart) {}

  uint32_t Read(uint32_t offset) override {
    using namespace pl011;  // NOLINT: registers only
    if (offset == 0x018) return uart_.taken == uart_.typed_bytes ? kFrRxFifoEmpty : 0;
    if (offset == 0x02c) return kLcrHFifoEnable | kLcrHWordLength8;
    return 0;
  }
  bool HasInput() const { return uart_.taken != uart_.typed_bytes; }
  void Write(uint32_t, uint32_t) override {}
  void ReadInto(uint32_t, uint32_t mark, uint32_t& word) override {
    MemoryStates::AsOneStep(
        [&] { word = mark | static_cast<uint8_t>(uart_.typed[uart_.taken++]); });
  }
  void WriteWith(uint32_t, uint32_t value, const Stores& stores) override {
    MemoryStates::AsOneStep([&] {
      uart_.wire[uart_.sent++] = static_cast<char>(value);
      Make(stores);
    });
  }
  void Commit(const Stores& stores) override {
    MemoryStates::AsOneStep([&] { Make(stores); });
  }

 private:
  static void Make(const Stores& stores) {
    for (const WordStore& store : stores) {
      if (store.word != nullptr) *store.word = store.value;
    }
  }
  PlainUart& uart_;
};

// Everything that outlives an instance, and the other sides of its rings.
struct World {
  static constexpr size_t kLineBytes = 2 * (64 + ByteRing::kHeaderBytes);

  PlainUart uart;
  AlignedMemory<kLineBytes> lines[2];
  AlignedMemory<64 + ByteRing::kHeaderBytes> log;
  AlignedMemory<MonitorChannel::kBytes> channel;
  AlignedMemory<4096> journal;

  void Print(size_t guest, std::string_view text) {
    auto line = GuestLine::Attach(lines[guest].span());
    ASSERT_EQ(line->output.Write(std::as_bytes(std::span(text))), text.size());
  }
  void WriteTo(std::span<std::byte> ring, std::string_view text) {
    ASSERT_EQ(ByteRingWriter::Attach(ring)->Write(std::as_bytes(std::span(text))), text.size());
  }
  void Type(std::string_view text) {
    text.copy(uart.typed.data(), text.size());
    uart.typed_bytes = static_cast<uint32_t>(text.size());
  }
  static std::string Contents(ByteRingReader ring) {
    std::string text;
    while (const auto byte = ring.Take()) text.push_back(static_cast<char>(*byte));
    return text;
  }
  std::string Wire() const { return {uart.wire.data(), uart.sent}; }
  std::string Input(size_t guest) {
    return Contents(GuestLine::Attach(lines[guest].span())->input);
  }
  std::string CommandLines() {
    return Contents(*ByteRingReader::Attach(MonitorChannel::Input(channel.span())));
  }
  std::vector<std::span<std::byte>> Parts() {
    return {std::as_writable_bytes(std::span(&uart, 1)),
            lines[0].span(),
            lines[1].span(),
            log.span(),
            channel.span(),
            journal.span().first(sizeof(ConsoleState))};
  }
};

// One instance of the console on that world.
struct Instance {
  explicit Instance(World& world)
      : port(world.uart),
        uart(port),
        console(
            Console::Ports{
                uart, timer, counter, other, other, *ByteRingReader::Attach(world.log.span()),
                other,
                Console::Monitor{
                    *ByteRingReader::Attach(MonitorChannel::Output(world.channel.span())),
                    *ByteRingWriter::Attach(MonitorChannel::Input(world.channel.span())),
                    MonitorChannel::Expected(world.channel.span()),
                    MonitorChannel::PowerOff(world.channel.span()), other},
                nullptr},
            **AttachConsoleState(world.journal.span())) {
    (void)console.AddGuest({"vm0", *ConsoleLine::Attach(world.lines[0].span()), other});
    (void)console.AddGuest({"vm1", *ConsoleLine::Attach(world.lines[1].span()), other});
  }
  // Until there is nothing to do and nothing that time brings.
  void Run() {
    console.Start();
    bool flushed = false;
    for (int i = 0; i < 100; ++i) {
      if (!port.HasInput() && timer.deadline == FakeTimer::kNever) {
        if (flushed) return;
        flushed = true;  // so that guests without focus keep nothing back
        console.OnSignals(Console::kFlushSignal);
        continue;
      }
      if (!port.HasInput()) counter.ticks = std::max(counter.ticks, timer.deadline);
      (void)timer.Expire(counter.ticks);
      console.OnSignals(2);
    }
  }

  FakeTimer timer;
  FakeCounter counter;
  FakeNotifier other;
  PlainPort port;
  Uart uart;
  Console console;
};

// What came of it all.
struct Result {
  std::vector<std::string>
      lines;  // of the wire, sorted: whose turn it is depends on when the console died
  std::string inputs[2];
  std::string commands;

  explicit Result(World& world) {
    std::istringstream wire(world.Wire());
    for (std::string line; std::getline(wire, line);) lines.push_back(line);
    std::ranges::sort(lines);
    for (const size_t guest : {0, 1}) inputs[guest] = world.Input(guest);
    commands = world.CommandLines();
  }
  bool Has(std::string_view line) const { return std::ranges::count(lines, line) == 1; }
  bool operator==(const Result&) const = default;
};

// Runs the world undisturbed, and then with a death after each of its stores: nothing else may come of it.
Result OfAnyDeath(World& world) {
  MemoryStates states(world.Parts(), 2000);
  auto first = std::make_unique<Instance>(world);
  EXPECT_TRUE(states.Run([&] { first->Run(); }));
  EXPECT_TRUE(states.size() > 100 || !MemoryStates::kSupported) << states.size();
  const Result result(world);
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    Instance(world).Run();
    const std::string wire = world.Wire();
    if (Result(world) == result) continue;
    ADD_FAILURE() << "after store " << i << ": " << wire;
    break;
  }
  return result;
}

TEST(ConsoleDeath, output_of_guest_log_and_monitor) {
  auto world = std::make_unique<World>();
  world->Print(0, "line one\nprompt# ");
  world->Print(1, std::string(33, 'z') + "\nof vm1\n");
  world->WriteTo(world->log.span(), "[1.0] log\n[1.1] log\n");
  world->WriteTo(MonitorChannel::Output(world->channel.span()), "monitor: kill\n\x04");
  const Result result = OfAnyDeath(*world);
  EXPECT_TRUE(result.Has("line one"));
  EXPECT_TRUE(result.Has("prompt# \r"));
  EXPECT_TRUE(result.Has("[vm1] of vm1"));
  EXPECT_TRUE(result.Has("[1.1] log\r"));
  EXPECT_TRUE(result.Has("monitor: kill\r"));
}

TEST(ConsoleDeath, keys_for_guests_and_the_console) {
  auto world = std::make_unique<World>();
  world->Type(
      "ab\x01\x01"
      "c\x01"
      "n12\x01l\x01"
      "1z\x01"
      "9");
  const Result result = OfAnyDeath(*world);
  EXPECT_EQ(result.inputs[0],
            "ab\x01"
            "cz");
  EXPECT_EQ(result.inputs[1], "12");
  EXPECT_TRUE(result.Has("[console] there is no such guest\r"));
}

TEST(ConsoleDeath, lines_for_the_monitor) {
  auto world = std::make_unique<World>();
  world->Type("a\x01mpx\x7fs\rkill x\r\x15vm\x01mb");
  world->Print(0, "guest\n");
  const Result result = OfAnyDeath(*world);
  EXPECT_EQ(result.commands, "ps\nkill x\n");
  EXPECT_EQ(result.inputs[0], "ab");
  EXPECT_TRUE(result.Has("guest"));
}

TEST(ConsoleDeath, an_expected_text_is_found_once) {
  auto world = std::make_unique<World>();
  world->Print(0, "one one\n");
  Expectation& expected = MonitorChannel::Expected(world->channel.span());
  std::memcpy(expected.text.data(), "one", 3);
  expected.text_bytes = 3;
  expected.armed = 7;
  MemoryStates states(world->Parts());
  auto first = std::make_unique<Instance>(*world);
  ASSERT_TRUE(states.Run([&] { first->Run(); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    Instance(*world).Run();
    ASSERT_EQ(expected.met, 7u);
    expected.armed = 8;
    Instance(*world).Run();
    ASSERT_EQ(expected.met, 8u) << "the second one";
    expected.armed = 9;
    Instance(*world).Run();
    ASSERT_EQ(expected.met, 8u) << "there is no third";
  }
}

TEST(ConsoleDeath, journal_of_the_version_before_is_taken_over) {
  AlignedMemory<4096> journal;
  const uint32_t old[] = {0x43'4f'4e'01, 1, 8, 1, 1, 0, 1, 77};
  std::memcpy(journal.bytes, old, sizeof(old));
  ConsoleState* state = *AttachConsoleState(journal.span());
  EXPECT_EQ(state->format, ConsoleState::kFormat);
  EXPECT_EQ(state->focus, 1u);
  EXPECT_EQ(state->power_off, PowerOffWish::kWanted);
  EXPECT_EQ(state->dropped_input, 77u);
  EXPECT_TRUE(Keys::Unpack(state->keys).command);
  EXPECT_TRUE(WireLine::Unpack(state->line).mid_line);
  EXPECT_EQ(WireLine::Unpack(state->line).writer, WireLine::kLogWriter);
}

}  // namespace
}  // namespace atoll
