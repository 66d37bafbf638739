// The port switch: hostile devices first, then bytes, ends that open and close, deaths at every store.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/port-switch/port_switch.h"
#include "tests/unit/virtio/machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::port_switch {
namespace {

class CountingNotifier final : public Notifier {
 public:
  void Notify() override { ++count; }
  int Taken() { return std::exchange(count, 0); }
  int count = 0;
};

std::string Pattern(size_t bytes, uint32_t seed = 1) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  return text;
}

// Two devices; ends 0 and 1 of the first are connected with ends 0 and 2 of the second, end 3 of the first with itself.
struct World {
  World() { Boot(); }
  void Boot() {
    std::vector<PortSwitch::Device> devices;
    for (size_t i = 0; i < 2; ++i) devices.push_back({memory[i].span(), &notifiers[i]});
    ports = std::make_unique<PortSwitch>(devices, journal);
    EXPECT_TRUE(ports->Connect(0, kPorts));
    EXPECT_TRUE(ports->Connect(1, kPorts + 2));
    EXPECT_TRUE(ports->Connect(3, 3));
  }
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      if (!ports->Run()) return;
    }
    FAIL() << "the switch never comes to rest";
  }
  GuestLine Line(size_t device, uint32_t port) {
    return GuestLine::Attach(RingsOf(memory[device].span(), port)).value();
  }
  size_t Put(size_t device, uint32_t port, std::string_view text) {
    return Line(device, port).output.Write(std::as_bytes(std::span(text)));
  }
  std::string Get(size_t device, uint32_t port, size_t most = 1 << 20) {
    GuestLine line = Line(device, port);
    std::string text(std::min(most, line.input.Available()), '\0');
    (void)line.input.Read(std::as_writable_bytes(std::span(text)));
    return text;
  }
  PortStates& states(size_t device) { return StatesIn(memory[device].span()); }

  std::array<virtio::AlignedBytes, 2> memory = {virtio::AlignedBytes(kMemoryBytes),
                                                virtio::AlignedBytes(kMemoryBytes)};
  std::array<CountingNotifier, 2> notifiers;
  SwitchJournal journal;
  std::unique_ptr<PortSwitch> ports;
};

TEST(PortSwitch, ends_that_are_not_there_or_taken_are_not_connected) {
  World w;
  EXPECT_FALSE(w.ports->Connect(kEnds, 2));
  EXPECT_FALSE(w.ports->Connect(2, 2 * kPorts));  // no such device
  EXPECT_FALSE(w.ports->Connect(2, 0));
  EXPECT_FALSE(w.ports->Connect(3, 2));
  EXPECT_TRUE(w.ports->Connect(2, 4));
}

TEST(PortSwitch, memory_of_any_content_harms_nobody_else) {
  for (uint32_t seed = 1; seed < 30; ++seed) {
    World w;
    const std::string noise = Pattern(kMemoryBytes, seed);
    std::memcpy(w.memory[0].span().data(), noise.data(), noise.size());
    if (seed % 2 == 0) w.Boot();
    w.Settle();
    // The other device sees its rings in order.
    EXPECT_LE(w.Line(1, 0).input.Available(), size_t{16} << 10);
    (void)w.Get(1, 0);
    (void)w.Get(1, 2);
    std::memset(w.memory[0].span().data(), 0, kMemoryBytes);
    w.Boot();
    w.Settle();
    (void)w.Get(0, 0);
    EXPECT_EQ(w.Put(1, 0, "hello"), 5u);
    w.Settle();
    EXPECT_EQ(w.Get(0, 0), "hello") << seed;
  }
}

TEST(PortSwitch, bytes_reach_the_other_end_and_no_other) {
  World w;
  EXPECT_EQ(w.Put(0, 0, "a"), 1u);
  EXPECT_EQ(w.Put(0, 1, "bb"), 2u);
  EXPECT_EQ(w.Put(1, 0, "ccc"), 3u);
  EXPECT_EQ(w.Put(1, 2, "dddd"), 4u);
  EXPECT_EQ(w.Put(0, 3, "loop"), 4u);
  EXPECT_EQ(w.Put(0, 2, "nobody"), 6u);  // not connected
  w.Settle();
  EXPECT_EQ(w.Get(1, 0), "a");
  EXPECT_EQ(w.Get(1, 2), "bb");
  EXPECT_EQ(w.Get(0, 0), "ccc");
  EXPECT_EQ(w.Get(0, 1), "dddd");
  EXPECT_EQ(w.Get(0, 3), "loop");
  for (uint32_t port = 0; port < kPorts; ++port) {
    EXPECT_EQ(w.Get(0, port), "");
    EXPECT_EQ(w.Get(1, port), "");
  }
}

TEST(PortSwitch, full_rings_wait_and_lose_nothing) {
  World w;
  const std::string text = Pattern(200'000);
  std::string arrived;
  size_t put = 0;
  for (int i = 0; i < 10'000 && arrived.size() < text.size(); ++i) {
    put += w.Put(0, 0, std::string_view(text).substr(put));
    w.Settle();
    w.notifiers[0].Taken();
    const bool waits = w.Line(0, 0).output.Free() == 0;
    arrived += w.Get(1, 0, 1 + static_cast<size_t>(i) % 3000);
    (void)w.ports->Run();
    if (waits) EXPECT_GT(w.notifiers[0].Taken(), 0);  // there is room again
  }
  EXPECT_EQ(arrived, text);
}

TEST(PortSwitch, an_end_is_open_while_the_other_driver_has_it_open_or_bytes_are_on_their_way) {
  World w;
  w.Settle();
  EXPECT_EQ(w.states(1).switch_open[0], 0u);
  w.states(0).device_open[0] = 1;
  w.Settle();
  EXPECT_EQ(w.states(1).switch_open[0], 1u);
  EXPECT_EQ(w.states(0).switch_open[0], 0u);
  EXPECT_EQ(w.states(1).switch_open[2], 0u);
  EXPECT_EQ(w.notifiers[1].Taken(), 1);
  // More than the other ring takes.
  const std::string text = Pattern(20'000);
  size_t put = w.Put(0, 0, text);
  w.Settle();
  put += w.Put(0, 0, std::string_view(text).substr(put));
  w.states(0).device_open[0] = 0;
  w.Settle();
  EXPECT_EQ(w.states(1).switch_open[0], 1u);
  EXPECT_EQ(w.Get(1, 0).size(), size_t{16} << 10);
  w.Settle();
  EXPECT_EQ(w.states(1).switch_open[0], 0u);
  EXPECT_EQ(w.Get(1, 0).size(), put - (size_t{16} << 10));
  w.states(0).device_open[3] = 1;  // the loop
  w.Settle();
  EXPECT_EQ(w.states(0).switch_open[3], 1u);
  w.ports->CloseAll();
  EXPECT_EQ(w.states(0).switch_open[3], 0u);
}

TEST(PortSwitch, each_byte_goes_through_once_wherever_the_switch_dies) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const bool loop : {false, true}) {
    World w;
    const uint32_t port = loop ? 3 : 0;
    const size_t reader = loop ? 0 : 1;
    const std::string text = Pattern(40);
    w.Settle();
    EXPECT_EQ(w.Put(0, port, std::string_view(text).substr(0, 30)), 30u);
    std::vector<std::span<std::byte>> watched = {std::as_writable_bytes(std::span(&w.journal, 1))};
    for (const size_t device : {size_t{0}, reader}) {
      const auto rings = RingsOf(w.memory[device].span(), port);
      watched.push_back(rings.first(256));
      watched.push_back(rings.subspan(kRingBytes, 256));
    }
    MemoryStates states(watched);
    ASSERT_TRUE(states.Run([&] { (void)w.ports->Run(); }));
    ASSERT_GT(states.size(), 4u);
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      w.Boot();
      EXPECT_EQ(w.Put(0, port, std::string_view(text).substr(30)), 10u);
      w.Settle();
      EXPECT_EQ(w.Get(reader, port), text) << "state " << i;
    }
  }
}

TEST(PortSwitch, a_journal_of_noise_is_not_believed) {
  for (uint32_t seed = 1; seed < 50; ++seed) {
    World w;
    EXPECT_EQ(w.Put(0, 0, "hello"), 5u);
    const std::string noise = Pattern(sizeof(w.journal), seed);
    std::memcpy(&w.journal, noise.data(), noise.size());
    w.Boot();
    w.Settle();
    EXPECT_EQ(w.Get(1, 0), "hello");
  }
}

}  // namespace
}  // namespace atoll::port_switch
