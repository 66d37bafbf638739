// The console device: hostile drivers first, then bytes, control messages, emergency writes, deaths at every store.
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "services/virtio-console/console_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::virtio_console {
namespace {

using Heard = ConsoleMachine::Heard;

std::string Pattern(size_t bytes, uint32_t seed = 1) {
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  return text;
}

// Both directions of all ports work.
void ExpectWorks(ConsoleMachine& m) {
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  for (uint32_t port = 0; port < kPorts; ++port) {
    (void)m.Arrived(port);
    m.Send(port, "out");
    EXPECT_EQ(m.tx(port).PopUsed()->length, 0u);
    EXPECT_EQ(m.Arrived(port), "out");
    m.GiveBuffers(ReceiveQueue(port), 1);
    EXPECT_EQ(m.Type(port, "in"), 2u);
    EXPECT_EQ(m.Taken(ReceiveQueue(port)), "in");
  }
}

// With each heartbeat, and before a ring is used. What is an address leads nowhere, and the task crashes.
TEST(VirtioConsole, any_word_of_its_own_that_was_written_over_is_noticed_or_means_nothing) {
  constexpr size_t kWordsOfAMachine = 64;  // whose memory is used up some time
  size_t noticed = 0;
  std::unique_ptr<World> world;
  std::unique_ptr<ConsoleMachine> machine;
  for (size_t word = 0; word < sizeof(ConsoleDevice) / sizeof(uint64_t); ++word) {
    if (word % kWordsOfAMachine == 0) {
      machine.reset();
      world = std::make_unique<World>();
      machine = std::make_unique<ConsoleMachine>(*world);
    }
    ConsoleMachine& m = *machine;
    m.Restart();
    ASSERT_TRUE(m.Live());
    m.OpenAll();
    ASSERT_TRUE(m.device().IsIntact());
    uint64_t& place = reinterpret_cast<uint64_t*>(&m.model())[word];
    if (place >= 0x5000'0000'0000 && place < 0x8000'0000'0000) continue;
    place = ~place & 0x0101'0101'0101'0101;
    if (!m.device().IsIntact()) {
      ++noticed;
      m.Restart();
    }
    for (uint32_t port = 0; port < kPorts; ++port) {
      (void)m.Arrived(port);
      m.Send(port, "out");
      EXPECT_EQ(m.Arrived(port), "out") << word;
      m.GiveBuffers(ReceiveQueue(port), 1);
      EXPECT_EQ(m.Type(port, "in"), 2u);
      EXPECT_EQ(m.Taken(ReceiveQueue(port)), "in") << word;
    }
  }
  EXPECT_GT(noticed, 10u);
}

TEST(VirtioConsoleDeathTest, a_ring_whose_place_was_written_over_is_not_used) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  m.Send(1, "first");
  // The word that changes with what was sent is the writer's place.
  const std::span words(reinterpret_cast<uint64_t*>(&m.model()), sizeof(ConsoleDevice) / 8);
  const std::vector<uint64_t> before(words.begin(), words.end());
  m.Send(1, "more");
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] - before[i] != 4 || words[i] != 9) continue;
    const uint64_t place = words[i];
    words[i] = 5;
    EXPECT_FALSE(m.device().IsIntact());
    EXPECT_DEATH(m.Send(1, "again"), "");
    words[i] = place;
    return;
  }
  FAIL() << "there is no such word";
}

// ---- bad input

TEST(VirtioConsole, CON_17_buffers_of_the_wrong_direction_are_a_bad_queue) {
  World world;
  ConsoleMachine m(world);
  for (uint32_t index = 0; index < kQueues; ++index) {
    for (const bool mixed : {false, true}) {
      ASSERT_TRUE(m.Live());
      m.OpenAll();
      const bool receives = index % 2 == 0;
      const uint64_t address = m.Put("secret..........");
      std::vector<virtio::Buffer> chain = {{address, 8, receives ? false : true}};
      if (mixed) chain = {{address, 8, false}, {address + 8, 8, true}};
      while (m.queue(index).PopUsed().has_value()) {
      }
      if (index == kControlReceive) m.Say(1, Event::kPortReady, 0);
      m.queue(index).avail_index = m.queue(index).UsedIndex();  // nothing else is there
      m.queue(index).SetAvailIndex(m.queue(index).avail_index);
      m.queue(index).Add(chain);
      if (index == kControlReceive) m.Say(1, Event::kPortReady, 1);
      if (receives && index != kControlReceive) m.Type(PortOf(index), "input");
      m.Doorbell(index);
      EXPECT_TRUE(m.broken()) << index << mixed;
      EXPECT_EQ(m.Text(address, 16), "secret..........");
      if (index != kControlTransmit && index != kControlReceive && !receives) {
        EXPECT_EQ(m.Arrived(PortOf(index)), "");
      }
      std::ranges::fill(world.console.span(), std::byte{0});
      std::ranges::fill(world.ports.span(), std::byte{0});
      m.Restart();
    }
  }
  ExpectWorks(m);
}

TEST(VirtioConsole, buffers_outside_of_memory_are_a_bad_queue) {
  World world;
  ConsoleMachine m(world);
  for (const uint32_t index : {0u, 1u, 2u, 3u, 4u, 5u}) {
    ASSERT_TRUE(m.Live());
    if (index != 2) m.OpenAll();
    if (index == 2) m.Say(0, Event::kDeviceReady, 1);
    m.queue(index).Add({{m.ram_end() - 4, 64, index % 2 == 0}});
    if (index % 2 == 0 && index != 2) m.Type(PortOf(index), "input");
    m.Doorbell(index);
    EXPECT_TRUE(m.broken()) << index;
  }
  ConsoleMachine other(world);
}

TEST(VirtioConsole, CON_18_messages_that_make_no_sense_are_ignored) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(kControlReceive, 12);
  m.Say(0, Event::kPortReady, 1);  // of no port yet
  m.Say(0, Event::kPortOpen, 1);
  EXPECT_TRUE(m.Hear().empty());
  m.Say(0, Event::kDeviceReady, 2);
  m.Say(std::string_view("\0\0\0\0\0\0\1", 7));  // short
  m.Say("x");
  EXPECT_TRUE(m.Hear().empty());
  m.Say(0, Event::kDeviceReady, 1);
  EXPECT_EQ(m.Hear().size(), kPorts);
  for (const uint32_t port : {kPorts, kPorts + 1, 6u, 7u, 8u, 1u << 16, 0xffff'ffffu}) {
    m.Say(port, Event::kPortReady, 1);
    m.Say(port, Event::kPortOpen, 1);
  }
  for (const uint32_t event : {1u, 2u, 4u, 5u, 7u, 8u, 100u, 0xffffu}) {
    m.Say(0, static_cast<Event>(event), 1);
  }
  m.Say(1, Event::kPortReady, 77);
  m.Say(1, Event::kPortOpen, 0xffff);
  EXPECT_TRUE(m.Hear().empty());
  EXPECT_FALSE(m.broken());
  EXPECT_FALSE(world.DeviceOpen(1));
  m.Say(0, Event::kPortReady, 1);
  EXPECT_EQ(m.Hear().size(), 2u);
}

TEST(VirtioConsole, control_buffers_that_are_too_small_are_a_bad_queue) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(kControlReceive, 1, 7);
  m.Say(0, Event::kDeviceReady, 1);
  EXPECT_TRUE(m.broken());
  ExpectWorks(m);
}

TEST(VirtioConsole, CON_20_configuration_is_read_only) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  for (uint32_t offset = 0; offset < 12; ++offset) {
    if (offset != 8) m.Store(virtio::kConfig + offset, 1, 0x55);
  }
  for (const uint32_t offset : {0u, 2u, 4u, 10u}) m.Store(virtio::kConfig + offset, 2, 0x5555);
  for (const uint32_t offset : {0u, 4u}) m.Store(virtio::kConfig + offset, 8, ~uint64_t{0});
  EXPECT_EQ(m.Load(virtio::kConfig, 4), 43u << 16 | 132u);
  EXPECT_EQ(m.Load(virtio::kConfig + 4, 4), kPorts);
  EXPECT_EQ(m.Load(virtio::kConfig + 8, 4), 0u);
  EXPECT_EQ(m.Arrived(0), "");
  ExpectWorks(m);
}

// ---- what there is

TEST(VirtioConsole, CON_01_CON_02_CON_03_identity_queues_and_configuration) {
  World world;
  ConsoleMachine m(world);
  EXPECT_EQ(m.Read(virtio::kDeviceId), 3u);
  m.Write(virtio::kDeviceFeaturesSel, 0);
  EXPECT_EQ(m.Read(virtio::kDeviceFeatures) & 0xffffff, 7u);
  for (uint32_t index = 0; index < 20; ++index) {
    m.Write(virtio::kQueueSel, index);
    EXPECT_EQ(m.Read(virtio::kQueueNumMax), index < kQueues ? kQueueSize : 0u);
  }
  EXPECT_EQ(m.Load(virtio::kConfig + 0, 2), 132u);
  EXPECT_EQ(m.Load(virtio::kConfig + 2, 2), 43u);
  EXPECT_EQ(m.Load(virtio::kConfig + 4, 4), kPorts);
  // The size never changes, so there is never a notification of it.
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  EXPECT_EQ(m.Read(virtio::kConfigGeneration), 0u);
  EXPECT_EQ(m.Read(virtio::kInterruptStatus) & virtio::kInterruptConfig, 0u);
}

TEST(VirtioConsole, CON_09_without_MULTIPORT_there_is_port_0) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live(kBase));
  m.Send(0, "hello");
  EXPECT_EQ(m.Arrived(0), "hello");
  m.GiveBuffers(0, 2);
  m.Type(0, "typed");
  EXPECT_EQ(m.Taken(0), "typed");
  // The others are not served, whatever is in them.
  ConsoleQueue control(m, kControlTransmit, 16);
  control.SetUp();
  const ControlMessage ready{.event = Event::kDeviceReady, .value = 1};
  control.Add({{m.Put({reinterpret_cast<const char*>(&ready), sizeof(ready)}), 8, false}});
  ConsoleQueue data(m, TransmitQueue(1), 16);
  data.SetUp();
  data.Add({{m.Put("data"), 4, false}});
  for (const uint32_t index : {kControlTransmit, TransmitQueue(1)}) m.Doorbell(index);
  EXPECT_FALSE(control.PopUsed().has_value());
  EXPECT_FALSE(data.PopUsed().has_value());
  EXPECT_EQ(m.Arrived(1), "");
  EXPECT_FALSE(m.broken());
}

// ---- bytes

TEST(VirtioConsole, CON_06_bytes_leave_in_order_whatever_the_descriptors) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live(kOffered, 32));
  m.OpenAll();
  for (uint32_t port = 0; port < kPorts; ++port) {
    const std::string text = Pattern(3000, port);
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{200}, size_t{3000}}) {
      const uint64_t at = m.Put(text);
      std::vector<virtio::Buffer> chain;
      for (size_t i = 0; i < text.size() && chain.size() < 31; i += piece) {
        const size_t count =
            chain.size() == 30 ? text.size() - i : std::min(piece, text.size() - i);
        chain.push_back({at + i, static_cast<uint32_t>(count), false});
      }
      m.tx(port).Add(chain);
      m.Doorbell(TransmitQueue(port));
      EXPECT_EQ(m.tx(port).PopUsed()->length, 0u);
      EXPECT_EQ(m.Arrived(port), text);
    }
    EXPECT_EQ(m.tx(port).AvailEvent(), m.tx(port).avail_index);  // the driver is to notify of more
  }
}

TEST(VirtioConsole, CON_06_CON_14_a_full_ring_makes_the_driver_wait_and_loses_nothing) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  for (uint32_t port = 0; port < kPorts; ++port) {
    const std::string text = Pattern(50'000, port);
    m.Send(port, text);
    EXPECT_FALSE(m.tx(port).PopUsed().has_value());
    std::string arrived;
    for (int i = 0; i < 1000 && arrived.size() < text.size(); ++i) {
      arrived += m.Arrived(port, 777);
      m.SignalOfPeers();
    }
    EXPECT_EQ(arrived, text);
    EXPECT_TRUE(m.tx(port).PopUsed().has_value());
  }
}

TEST(VirtioConsole, CON_07_CON_08_input_waits_for_buffers_and_comes_in_order) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  for (uint32_t port = 0; port < kPorts; ++port) {
    const std::string text = Pattern(100'000, port);
    size_t typed = m.Type(port, text);  // all that the ring takes
    EXPECT_EQ(typed, port == 0 ? kConsoleRing : size_t{16} << 10);
    EXPECT_EQ(m.Type(port, "x"), 0u);
    EXPECT_FALSE(m.Taken(ReceiveQueue(port)).has_value());
    std::string taken;
    for (uint32_t round = 0; taken.size() < text.size() && round < 20'000; ++round) {
      const uint64_t mark = m.Allocate(0);
      m.GiveBuffers(ReceiveQueue(port), 1 + round % 3, 1 + round % 100);
      while (const auto part = m.Taken(ReceiveQueue(port))) {
        EXPECT_NE(part->size(), 0u);
        taken += *part;
      }
      if (typed < text.size()) typed += m.Type(port, std::string_view(text).substr(typed));
      m.Rewind(mark);
    }
    EXPECT_EQ(taken, text);
    EXPECT_FALSE(m.Taken(ReceiveQueue(port)).has_value());
  }
}

TEST(VirtioConsole, CON_14_CON_15_a_port_that_is_closed_gets_nothing) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(kControlReceive, 12);
  for (uint32_t port = 0; port < kPorts; ++port) m.GiveBuffers(ReceiveQueue(port), 4);
  const auto all_wait = [&] {
    for (uint32_t port = 0; port < kPorts; ++port) {
      EXPECT_FALSE(m.Taken(ReceiveQueue(port)).has_value()) << port;
    }
  };
  m.Type(1, "for 1");
  all_wait();
  m.Say(0, Event::kDeviceReady, 1);
  m.Say(1, Event::kPortReady, 1);
  all_wait();
  EXPECT_FALSE(world.DeviceOpen(1));
  m.Say(1, Event::kPortOpen, 1);
  EXPECT_TRUE(world.DeviceOpen(1));
  EXPECT_EQ(m.Taken(ReceiveQueue(1)), "for 1");
  m.Say(1, Event::kPortOpen, 0);
  EXPECT_FALSE(world.DeviceOpen(1));
  m.Type(1, "later");
  m.Type(2, "other");
  m.Type(0, "console");
  all_wait();
  m.Say(1, Event::kPortOpen, 1);
  EXPECT_EQ(m.Taken(ReceiveQueue(1)), "later");
  all_wait();
}

TEST(VirtioConsole, CON_19_endless_output_stays_in_its_own_ring) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  const std::string escape(60'000, '\x1b');
  for (int i = 0; i < 8; ++i) m.Send(0, escape);
  EXPECT_EQ(world.Other(0).output.Available(), kConsoleRing - kEmergencyBytes);
  EXPECT_EQ(m.Arrived(1), "");
  EXPECT_EQ(m.Arrived(2), "");
  m.Send(1, "meanwhile");
  EXPECT_EQ(m.Arrived(1), "meanwhile");
}

// ---- control messages

TEST(VirtioConsole, CON_10_CON_11_CON_13_ports_are_made_known_once) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(kControlReceive, 14);
  m.SignalOfPeers();
  EXPECT_TRUE(m.Hear().empty());
  m.Say(7, Event::kDeviceReady, 1);  // the id counts for nothing
  std::vector<Heard> wanted;
  for (uint32_t port = 0; port < kPorts; ++port)
    wanted.push_back({{port, Event::kDeviceAdd, 1}, ""});
  EXPECT_EQ(m.Hear(), wanted);
  m.Say(0, Event::kDeviceReady, 1);
  EXPECT_TRUE(m.Hear().empty());
  m.Say(0, Event::kPortReady, 1);
  wanted = {{{0, Event::kConsolePort, 1}, ""}, {{0, Event::kPortOpen, 1}, ""}};
  EXPECT_EQ(m.Hear(), wanted);
  m.Say(1, Event::kPortReady, 1);
  wanted = {{{1, Event::kPortName, 1}, "left"}};
  EXPECT_EQ(m.Hear(), wanted);
  world.states().switch_open[1] = 1;
  m.SignalOfPeers();
  EXPECT_TRUE(m.Hear().empty());  // its driver is not ready
  m.Say(2, Event::kPortReady, 1);
  wanted = {{{2, Event::kPortName, 1}, "a.right"}, {{2, Event::kPortOpen, 1}, ""}};
  EXPECT_EQ(m.Hear(), wanted);
  world.states().switch_open[1] = 0;
  m.SignalOfPeers();
  wanted = {{{2, Event::kPortOpen, 0}, ""}};
  EXPECT_EQ(m.Hear(), wanted);
  m.Say(0, Event::kDeviceReady, 0);
  world.states().switch_open[1] = 1;
  m.SignalOfPeers();
  EXPECT_TRUE(m.Hear().empty());
}

TEST(VirtioConsole, messages_wait_for_buffers) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.Say(0, Event::kDeviceReady, 1);
  for (uint32_t port = 0; port < kPorts; ++port) {
    m.GiveBuffers(kControlReceive, 1);
    const std::vector<Heard> wanted = {{{port, Event::kDeviceAdd, 1}, ""}};
    EXPECT_EQ(m.Hear(), wanted);
  }
  m.GiveBuffers(kControlReceive, 1);
  EXPECT_TRUE(m.Hear().empty());
}

TEST(VirtioConsole, an_end_stays_open_until_its_bytes_are_read) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  m.Type(1, "last words");  // there is no buffer
  const std::vector<Heard> open = {{{1, Event::kPortOpen, 1}, ""}};
  EXPECT_EQ(m.Hear(), open);
  m.GiveBuffers(ReceiveQueue(1), 1);
  m.SignalOfPeers();
  EXPECT_EQ(m.Taken(ReceiveQueue(1)), "last words");
  const std::vector<Heard> closed = {{{1, Event::kPortOpen, 0}, ""}};
  EXPECT_EQ(m.Hear(), closed);
}

// ---- emergency writes

TEST(VirtioConsole, CON_04_CON_05_emergency_writes_work_at_any_time) {
  World world;
  ConsoleMachine m(world);
  const auto cry = [&](uint32_t value, uint32_t size) {
    m.Store(virtio::kConfig + 8, size, value);
  };
  cry('a', 4);  // before any driver
  m.Write(virtio::kStatus, virtio::kFound);
  cry(0x4200 | 'b', 2);  // its low byte counts
  ASSERT_TRUE(m.Live(kBase));
  cry('c', 1);
  m.Send(0, "-");
  m.tx(0).SetAvailIndex(200);  // broken
  m.Doorbell(1);
  ASSERT_TRUE(m.broken());
  cry('d', 4);
  EXPECT_EQ(m.Arrived(0), "abc-d");
  for (size_t i = 0; i < kConsoleRing + 10; ++i) cry('e', 4);  // no room: lost
  EXPECT_EQ(m.Arrived(0), std::string(kConsoleRing, 'e'));
  EXPECT_GT(world.to_console.count, 4);
}

TEST(VirtioConsole, CON_04_an_access_that_comes_again_writes_once) {
  World world;
  ConsoleMachine m(world);
  const auto cry = [&](char byte, uint64_t token) {
    (void)m.device().Access({.offset = virtio::kConfig + 8,
                             .size = 4,
                             .write = true,
                             .value = static_cast<uint8_t>(byte),
                             .token = token});
  };
  cry('a', 5);
  m.Restart();
  cry('a', 5);
  cry('b', 6);
  cry('b', 7);
  EXPECT_EQ(m.Arrived(0), "abb");
}

TEST(VirtioConsole, CON_04_CON_16_emergency_writes_at_every_store_beside_a_chain_that_waits) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live(kBase));
  const std::string text = Pattern(kConsoleRing + 100);
  m.Send(0, text);
  const std::string first = m.Arrived(0, 50);
  const RegisterAccess cry{
      .offset = virtio::kConfig + 8, .size = 4, .write = true, .value = '!', .token = 9};
  MemoryStates states({m.journal_bytes().first(sizeof(Journal)),
                       world.console.span().first(ByteRing::kHeaderBytes + kConsoleRing)});
  ASSERT_TRUE(states.Run([&] { (void)m.device().Access(cry); }));
  ASSERT_GT(states.size(), 3u);
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood);
    (void)m.device().Access(cry);
    std::string arrived = first;
    for (int round = 0; round < 100; ++round) {
      arrived += m.Arrived(0);
      m.SignalOfPeers();
    }
    // The cry is somewhere behind what was in the ring; the rest is whole.
    bool found = false;
    for (size_t cut = kConsoleRing - kEmergencyBytes; cut < arrived.size() && !found; ++cut) {
      found = arrived[cut] == '!' && arrived.substr(0, cut) + arrived.substr(cut + 1) == text;
    }
    EXPECT_TRUE(found) << "state " << i;
  }
}

// ---- deaths

TEST(VirtioConsole, CON_16_port_states_survive) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  m.GiveBuffers(kControlReceive, 3);
  ASSERT_EQ(m.Restart({.blamed = true}), virtio::JournalFound::kGood);
  EXPECT_TRUE(m.Hear().empty());
  EXPECT_TRUE(world.DeviceOpen(1));
  m.GiveBuffers(ReceiveQueue(2), 1);
  m.Type(2, "still there");
  EXPECT_EQ(m.Taken(ReceiveQueue(2)), "still there");
}

// Runs `code` and stops it after every store; then a new instance has to come to the same end, as `look` sees it.
class ConsoleDeath : public testing::Test {
 protected:
  static constexpr size_t kText = 30;
  void Check(ConsoleMachine& m, size_t ram_bytes, uint64_t ram_at, auto code, auto look) {
    if (!MemoryStates::kSupported) GTEST_SKIP();
    std::vector<std::span<std::byte>> watched = {m.journal_bytes().first(sizeof(Journal)),
                                                 std::span(m.At(ram_at, ram_bytes), ram_bytes)};
    for (const auto rings : {world_.console.span(), port_switch::RingsOf(world_.ports.span(), 0)}) {
      for (const size_t ring : {size_t{0}, rings.size() / 2})
        watched.push_back(rings.subspan(ring, 256));
    }
    MemoryStates states(watched);
    ASSERT_TRUE(states.Run(code));
    ASSERT_GT(states.size(), 5u);
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      ASSERT_EQ(m.Restart(), virtio::JournalFound::kGood) << "state " << i;
      m.SignalOfPeers();
      look(i);
    }
  }
  World world_;
};

TEST_F(ConsoleDeath, CON_06_CON_16_each_byte_leaves_once) {
  for (const uint32_t port : {0u, 1u}) {
    ConsoleMachine m(world_);
    ASSERT_TRUE(m.Live());
    m.OpenAll();
    ConsoleQueue& tx = m.tx(port);
    (void)m.Arrived(port);
    const std::string text = Pattern(kText);
    tx.Add({{m.Put(text), 10, false}, {m.Put(text.substr(10)), 5, false}});
    tx.Add({{m.Put(text.substr(15)), 15, false}});
    Check(
        m, 256, tx.used, [&] { m.Doorbell(tx.index); },
        [&](size_t i) {
          EXPECT_EQ(tx.UsedIndex(), 2u) << "state " << i;
          EXPECT_EQ(m.Arrived(port), text) << "state " << i;
        });
  }
}

TEST_F(ConsoleDeath, CON_07_CON_16_each_byte_arrives_once) {
  for (const uint32_t port : {0u, 1u}) {
    ConsoleMachine m(world_);
    ASSERT_TRUE(m.Live());
    m.OpenAll();
    ConsoleQueue& rx = m.rx(port);
    const uint64_t place = m.Allocate(64);
    for (uint64_t i = 0; i < 3; ++i) rx.Add({{place + 12 * i, 12, true}});
    const std::string text = Pattern(kText);
    ConsoleLine other = world_.Other(port);
    ASSERT_EQ(other.input.Write(std::as_bytes(std::span(text))), text.size());
    ASSERT_LT(rx.used, place);
    Check(
        m, place + 64 - rx.used, rx.used, [&] { m.Doorbell(rx.index); },
        [&](size_t i) {
          std::string taken;
          rx.last_used = 0;
          while (const auto part = m.Taken(rx.index)) taken += *part;
          EXPECT_EQ(taken, text) << "state " << i;
          EXPECT_EQ(world_.Other(port).input.Free(), world_.Other(port).input.capacity());
        });
  }
}

TEST_F(ConsoleDeath, CON_11_CON_16_each_message_comes_once) {
  ConsoleMachine m(world_);
  ASSERT_TRUE(m.Live());
  world_.states().switch_open[0] = 1;
  m.GiveBuffers(kControlReceive, 12);
  m.Say(0, Event::kDeviceReady, 1);
  ASSERT_EQ(m.Hear().size(), kPorts);
  ConsoleQueue& rx = m.queue(kControlReceive);
  ConsoleQueue& tx = m.queue(kControlTransmit);
  const uint16_t before = rx.UsedIndex();
  const ControlMessage ready{1, Event::kPortReady, 1};
  const uint64_t at = m.Put({reinterpret_cast<const char*>(&ready), sizeof(ready)});
  tx.Add({{at, 8, false}});
  const uint64_t first = std::min(rx.used, tx.used);
  Check(
      m, at - first, first,
      [&] {
        m.Doorbell(kControlTransmit);
        (void)m.Pump();
      },
      [&](size_t i) {
        (void)m.Pump();
        rx.last_used = before;
        const std::vector<Heard> wanted = {{{1, Event::kPortName, 1}, "left"},
                                           {{1, Event::kPortOpen, 1}, ""}};
        EXPECT_EQ(m.Hear(), wanted) << "state " << i;
        EXPECT_EQ(tx.UsedIndex(), tx.avail_index);
      });
}

TEST(VirtioConsole, damaged_journals_fail_until_a_reset) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  std::ranges::fill(m.journal_bytes(), std::byte{0x3c});
  EXPECT_EQ(m.Restart(), virtio::JournalFound::kDamaged);
  EXPECT_TRUE(m.broken());
  ExpectWorks(m);
  // Only the model's part: queues are known, and what is sent is used and dropped.
  m.Send(0, "kept");
  (void)m.tx(0).PopUsed();
  (void)m.Arrived(0);
  auto& control = m.journal().device.control;
  std::memset(static_cast<void*>(&control), 0x77, sizeof(control));
  EXPECT_EQ(m.Restart(), virtio::JournalFound::kDamaged);
  m.Send(0, "dropped");
  EXPECT_TRUE(m.tx(0).PopUsed().has_value());
  EXPECT_EQ(m.Arrived(0), "");
  ExpectWorks(m);
}

TEST(VirtioConsole, a_device_that_is_given_up_takes_output_and_closes_its_ports) {
  World world;
  ConsoleMachine m(world);
  ASSERT_TRUE(m.Live());
  m.OpenAll();
  world.states().switch_open[0] = 1;
  m.SignalOfPeers();
  m.GiveBuffers(kControlReceive, 8);
  (void)m.Hear();
  ASSERT_EQ(m.Restart({.failed = true}), virtio::JournalFound::kGood);
  EXPECT_FALSE(world.DeviceOpen(1));
  std::vector<Heard> wanted = {{{0, Event::kPortOpen, 0}, ""}, {{1, Event::kPortOpen, 0}, ""}};
  EXPECT_EQ(m.Hear(), wanted);
  m.Send(1, Pattern(40'000));
  EXPECT_TRUE(m.tx(1).PopUsed().has_value());
  EXPECT_EQ(m.Arrived(1), "");
  m.GiveBuffers(ReceiveQueue(1), 1);
  m.Type(1, "x");
  EXPECT_FALSE(m.Taken(ReceiveQueue(1)).has_value());
}

}  // namespace
}  // namespace atoll::virtio_console
