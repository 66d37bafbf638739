// Full rings, stalled and hostile ports, shares, signals and restarts.
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/vswitch/network.h"

namespace atoll::vswitch {
namespace {

using Tags = std::vector<uint32_t>;

class Pressure : public testing::Test {
 protected:
  static constexpr size_t kBig = 60000;

  void SetUp() override {
    n_.Start();
    n_.Introduce();
    for (uint32_t i = 0; i < 4; ++i) n_[i].notifier.Taken();
  }
  // Sends until the sender's ring is full; the number sent.
  uint32_t Fill(uint32_t from, uint32_t to, size_t bytes = kBig) {
    uint32_t sent = 0;
    while (n_[from].Send(MakeFrame(Mac(to), Mac(from), sent, bytes))) ++sent;
    return sent;
  }
  // Until the ring of `to` is full and one frame waits behind it.
  void Block(uint32_t from, uint32_t to) {
    Fill(from, to);
    n_.RunPort(from);
    Fill(from, to);
    n_.RunPort(from);
  }

  Network n_{4};
};

TEST_F(Pressure, unicast_waits_for_room_and_nothing_is_lost) {
  uint32_t sent = 0;
  Tags received, expected;
  for (int round = 0; round < 200; ++round) {
    while (n_[0].Send(MakeFrame(Mac(1), Mac(0), sent, 100 + sent % 7 * 9000)))
      expected.push_back(sent++);
    n_.RunPort(0);
    if (round % 3 == 0) continue;  // the receiver is slow
    for (int i = 0; i < 5; ++i) {
      if (const auto frame = n_[1].Receive()) received.push_back(TagOf(frame->second));
    }
    if (n_[1].reader().WriterWaits()) n_.RunPort(1);
  }
  for (int i = 0; i < 100; ++i) {
    for (const uint32_t tag : n_[1].ReceiveTags()) received.push_back(tag);
    n_.RunPort(1);
  }
  EXPECT_EQ(received, expected);
  EXPECT_EQ(n_.counters(1).stalled + n_.counters(1).full, 0u);
}

// A clock that the switch looks at now and then, and with each look there is more to do.
class Refiller final : public Counter {
 public:
  uint64_t Ticks() const override {
    for (; sender != nullptr && sender->Send(MakeFrame(kBroadcast, Mac(0))); ++sent) {
    }
    looks += sender != nullptr ? 1 : 0;
    if (looks == kTooMany) sender = nullptr;
    return 0;
  }
  uint64_t TicksPerSecond() const override { return FakeCounter::kFrequency; }

  static constexpr uint32_t kTooMany = 1000;
  mutable Station* sender = nullptr;
  mutable uint32_t looks = 0, sent = 0;
};

TEST(Switch, a_job_ends_although_a_sender_does_not) {
  Refiller refiller;
  Network log(1);  // only what it hears of quarantines
  FakeTimer timer;
  Quarantine<Switch::kPorts> quarantine = {};
  std::array<Station, 2> stations;
  Switch vswitch(Switch::Surroundings{refiller, timer, log, quarantine});
  for (uint32_t i = 0; i < 2; ++i) {
    ASSERT_EQ(vswitch.AddPort(i, {}, stations[i].memory(), stations[i].notifier), Status::kOk);
  }
  vswitch.Start(false);
  refiller.sender = &stations[0];
  ASSERT_TRUE(stations[0].Send(MakeFrame(kBroadcast, Mac(0))));
  vswitch.OnSignals(1);
  EXPECT_LT(refiller.looks, 20u);
  EXPECT_EQ(timer.deadline, 0u) << "it comes back at once";
  const uint32_t looks = refiller.looks;
  ASSERT_TRUE(timer.Expire(0));
  vswitch.OnSignals(Switch::kTimerSignal);
  EXPECT_GT(refiller.looks, looks);
  EXPECT_NE(refiller.sender, nullptr);
}

TEST_F(Pressure, a_sender_that_waits_for_room_is_signalled) {
  Block(0, 1);
  EXPECT_FALSE(n_[0].Send(MakeFrame(Mac(1), Mac(0), 0, kBig)));
  n_[0].notifier.Taken();
  EXPECT_EQ(n_[1].Drain(), 8u);
  ASSERT_TRUE(n_[1].reader().WriterWaits());
  n_.RunPort(1);
  EXPECT_EQ(n_[0].notifier.Taken(), 1);
  EXPECT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0), 0, kBig)));
}

TEST_F(Pressure, others_go_on_while_one_waits) {
  Block(0, 1);
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(n_[2].Send(MakeFrame(Mac(3), Mac(2), i)));
    n_.RunPort(2);
    ASSERT_EQ(n_[3].ReceiveTags(), Tags{i});
  }
}

TEST_F(Pressure, NET_34_a_port_that_takes_nothing_holds_nobody_up_for_long) {
  Block(0, 1);
  n_.Pass(9);
  EXPECT_EQ(n_.counters(1).stalled, 0u);
  n_.Pass(2);
  EXPECT_GT(n_.counters(1).stalled, 0u);  // the sender's ring is empty again
  EXPECT_TRUE(n_[0].Send(MakeFrame(Mac(2), Mac(0), 77)));
  n_.RunPort(0);
  EXPECT_EQ(n_[2].ReceiveTags(), Tags{77});
  // To the stalled port frames are dropped at once, and counted.
  const uint64_t dropped = n_.counters(1).stalled;
  for (int i = 0; i < 5; ++i) n_[0].Send(MakeFrame(Mac(1), Mac(0), 0, kBig));
  n_.RunPort(0);
  EXPECT_EQ(n_.counters(1).stalled, dropped + 5);
  // It takes frames again: it gets frames again.
  EXPECT_GE(n_[1].Drain(), 8u);
  n_[0].Send(MakeFrame(Mac(1), Mac(0), 88));
  n_.RunPort(0);
  EXPECT_EQ(n_[1].ReceiveTags(), Tags{88});
}

TEST_F(Pressure, a_slow_port_is_not_stalled) {
  Block(0, 1);
  for (int i = 0; i < 50; ++i) {
    n_.Pass(8);
    ASSERT_TRUE(n_[1].Receive().has_value());  // 60000 bytes in 8 ms
    n_.RunPort(1);
    Fill(0, 1);
    n_.RunPort(0);
  }
  EXPECT_EQ(n_.counters(1).stalled, 0u);
}

TEST_F(Pressure, NET_93_a_port_that_takes_a_little_now_and_then_is_stalled_too) {
  Fill(0, 1, 100);
  n_.RunPort(0);
  Fill(0, 1, 100);
  n_.RunPort(0);
  for (int i = 0; i < 5; ++i) {
    n_.Pass(4);
    n_[1].Receive();  // 128 bytes of its ring
    n_.RunPort(1);
    Fill(0, 1, 100);
    n_.RunPort(0);
  }
  EXPECT_GT(n_.counters(1).stalled, 0u);
  const uint64_t dropped = n_.counters(1).stalled;
  n_[1].Receive();  // not yet half of it
  n_[0].Send(MakeFrame(Mac(1), Mac(0), 1, 100));
  n_.RunPort(0);
  EXPECT_GT(n_.counters(1).stalled, dropped);
}

TEST_F(Pressure, floods_do_not_wait) {
  Block(0, 1);
  for (uint32_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(n_[2].Send(MakeFrame(kBroadcast, Mac(2), i, kBig)));
    n_.RunPort(2);
  }
  EXPECT_EQ(n_.counters(1).full, 10u);
  EXPECT_EQ(n_[3].Drain(), 8u);  // as many as its ring holds
  EXPECT_EQ(n_.counters(3).full, 2u);
  EXPECT_EQ(n_[1].Drain(), 8u);
}

TEST_F(Pressure, NET_93_small_frames_do_not_overtake_a_large_one_that_waits) {
  Block(0, 1);
  for (uint32_t i = 0; i < 200; ++i) n_[2].Send(MakeFrame(Mac(1), Mac(2), 1000 + i, 200));
  for (uint32_t i = 0; i < 200; ++i) n_[3].Send(MakeFrame(kBroadcast, Mac(3), 2000 + i, 200));
  n_.Run();
  n_[1].Receive();
  n_.RunPort(1);
  n_.Run();
  EXPECT_GT(n_.counters(1).full, 0u);  // broadcasts
  const Tags tags = n_[1].ReceiveTags();
  ASSERT_GT(tags.size(), 8u);
  EXPECT_LT(tags[7], 1000u);  // the large one came first
  EXPECT_EQ(tags[8], 1000u);  // and then it was the other's turn
}

TEST_F(Pressure, NET_93_senders_to_one_slow_port_share_it) {
  uint32_t sent[4] = {};
  std::map<uint32_t, uint64_t> bytes;  // by sender
  for (int round = 0; round < 400; ++round) {
    for (const uint32_t from : {0u, 2u, 3u}) {
      // Frames of different sizes; 0 always has some before the others do.
      const size_t size = from == 0 ? 60000 : from == 2 ? 1500 : 9000;
      while (n_[from].Send(MakeFrame(Mac(1), Mac(from), from, size))) ++sent[from];
      n_.RunPort(from);
    }
    for (int i = 0; i < 3; ++i) {
      if (const auto frame = n_[1].Receive()) bytes[TagOf(frame->second)] += frame->second.size();
    }
    n_.RunPort(1);
  }
  const uint64_t all = bytes[0] + bytes[2] + bytes[3];
  for (const uint32_t from : {0u, 2u, 3u}) {
    EXPECT_GT(sent[from], 0u);
    EXPECT_GT(bytes[from], all / 6) << from;
  }
  EXPECT_EQ(n_.counters(1).stalled, 0u);
}

TEST_F(Pressure, NET_93_a_flood_leaves_others_their_share) {
  // 0 floods with all it has; 2 sends to 3. Whatever 2 sends in a round comes out in that round.
  for (uint32_t round = 0; round < 50; ++round) {
    while (n_[0].Send(MakeFrame(kBroadcast, Mac(0), 9999, 60))) continue;
    for (uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(n_[2].Send(MakeFrame(Mac(3), Mac(2), i, 30000)));
    n_.Run();
    uint32_t own = 0;
    for (const uint32_t tag : n_[3].ReceiveTags()) own += tag != 9999 ? 1 : 0;
    EXPECT_EQ(own, 4u);
    n_[1].Drain();
    n_[2].Drain();
    n_.Pass(1);
  }
  EXPECT_GT(n_.counters(0).storm, 0u);
}

TEST_F(Pressure, NET_93_storm_allowance_comes_back_with_time) {
  const auto broadcast = [this] {
    n_[0].Send(MakeFrame(kBroadcast, Mac(0), 1, 60000));
    n_.RunPort(0);
    return n_[1].Drain() + n_[2].Drain() + n_[3].Drain();
  };
  while (broadcast() != 0) continue;
  EXPECT_GT(n_.counters(0).storm, 0u);
  n_.Pass(10);
  EXPECT_EQ(broadcast(), 3u);
  // Unicast is not limited.
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0), 1, 60000)));
    n_.RunPort(0);
    ASSERT_EQ(n_[1].Drain(), 1u);
  }
}

TEST_F(Pressure, floods_between_two_ports_have_no_limit) {
  Network n(2);
  n.Start();
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(n[0].Send(MakeFrame(Mac(1), Mac(0), 1, 60000)));
    n.Run();
    ASSERT_EQ(n[1].Drain(), 1u);
  }
}

TEST_F(Pressure, only_who_sleeps_is_signalled_and_once_for_a_batch) {
  for (uint32_t i = 0; i < 20; ++i) n_[0].Send(MakeFrame(Mac(1), Mac(0), i));
  n_.RunPort(0);
  EXPECT_EQ(n_[1].notifier.Taken(), 0);  // it looks again before it sleeps
  EXPECT_EQ(n_[1].Drain(), 20u);
  EXPECT_FALSE(n_[1].reader().Wait());
  for (uint32_t i = 0; i < 20; ++i) n_[0].Send(MakeFrame(Mac(1), Mac(0), i));
  n_.RunPort(0);
  EXPECT_EQ(n_[1].notifier.Taken(), 1);
  EXPECT_EQ(n_[0].notifier.Taken(), 0);  // it does not wait for room
  // The switch sleeps, and wants a signal for the first frame only.
  EXPECT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0))) && n_[0].writer().ReaderWaits());
  EXPECT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0))) && !n_[0].writer().ReaderWaits());
}

TEST_F(Pressure, garbage_in_a_ring_costs_its_port_frames_and_the_log_one_line) {
  for (uint32_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0))));
    const uint32_t garbage = 0xdeadbeef + (i << 24);
    std::memcpy(n_[0].memory().data(), &garbage, sizeof garbage);  // its writer index
    n_.RunPort(0);
    n_[0].Restart();
    n_[2].Send(MakeFrame(Mac(3), Mac(2), 5));
    n_.RunPort(2);
    EXPECT_EQ(n_[3].ReceiveTags(), Tags{5});
  }
  EXPECT_EQ(n_.log, std::vector<std::string>{"port"});
  EXPECT_EQ(n_.counters(0).ring_faults, 10u);
  // And then it is a port like others.
  EXPECT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0), 6)));
  n_.RunPort(0);
  EXPECT_EQ(n_[1].ReceiveTags(), Tags{6});
}

TEST_F(Pressure, a_sender_whose_ring_is_emptied_while_it_waits_lets_the_next_one_on) {
  Block(0, 1);
  ASSERT_TRUE(n_[2].Send(MakeFrame(Mac(1), Mac(2), 42)));
  n_.RunPort(2);  // waits behind 0
  std::memset(n_[0].memory().data(), 0, net::kRingBytes);
  n_[0].Restart();
  n_[1].Drain();
  n_.RunPort(1);
  EXPECT_EQ(n_[1].ReceiveTags(), Tags{42});
}

TEST_F(Pressure, NET_77_a_new_instance_goes_on_with_the_rings) {
  uint32_t sent = 0;
  Tags expected, received;
  for (int round = 0; round < 20; ++round) {
    while (n_[0].Send(MakeFrame(Mac(1), Mac(0), sent, 9000))) expected.push_back(sent++);
    n_.RunPort(0);
    n_.Start();  // the old one is gone, and with it what it knew
    EXPECT_GE(n_[0].notifier.Taken(), 1);
    EXPECT_GE(n_[1].notifier.Taken(), 1);
    for (const uint32_t tag : n_[1].ReceiveTags()) received.push_back(tag);
    n_[2].Drain();
    n_[3].Drain();
    if (round == 0) n_[1].Send(MakeFrame(Mac(0), Mac(1)));
    n_.RunPort(1);
    n_[0].Drain();
  }
  for (int i = 0; i < 10; ++i) {
    for (const uint32_t tag : n_[1].ReceiveTags()) received.push_back(tag);
    n_.Run();
  }
  // Floods, which an instance starts with, do not wait: some are lost there, none is doubled or out of order.
  EXPECT_TRUE(std::ranges::is_sorted(received, std::ranges::less_equal()));
  EXPECT_GT(received.size(), expected.size() / 2);
}

TEST_F(Pressure, NET_77_at_most_the_frame_in_the_making_is_doubled) {
  // An instance that ended between publishing a frame and giving it back: the sender's index is the old one.
  uint32_t reader_index;
  std::memcpy(&reader_index, n_[0].memory().data() + 64, sizeof reader_index);
  for (uint32_t i = 0; i < 3; ++i) n_[0].Send(MakeFrame(Mac(1), Mac(0), i));
  n_.RunPort(0);
  reader_index += 2 * 80;  // only the first two were given back
  std::memcpy(n_[0].memory().data() + 64, &reader_index, sizeof reader_index);
  n_.Start();
  EXPECT_EQ(n_[1].ReceiveTags(), (Tags{0, 1, 2, 2}));
}

}  // namespace
}  // namespace atoll::vswitch
