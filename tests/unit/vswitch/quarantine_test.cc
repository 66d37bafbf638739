// Ports that bring the switch down, ports that have given up, and a switch that has.
#include <gtest/gtest.h>

#include "tests/unit/vswitch/network.h"

namespace atoll::vswitch {
namespace {

// The next instance of a switch that died of whatever is first in the ring of port `port`.
void DieOf(Network& n, uint32_t port, bool blamed = true) {
  n.quarantine.Begin(port, n[port].reader_index_of_switch());
  n.Start(blamed);
}

TEST(VswitchQuarantine, a_port_that_two_instances_died_of_is_cut_off) {
  Network n(3);
  n.Start();
  n.Introduce();
  // It is down when the second has died with the same frame at work; not after the first one, and not if somebody
  // ended them.
  for (const bool blamed : {false, false, true}) {
    DieOf(n, 0, blamed);
    EXPECT_FALSE(n[0].reader().WriterIsDown());
  }
  n[0].Send(MakeFrame(Mac(1), Mac(0), 7));
  n.Run();
  EXPECT_EQ(n[1].ReceiveTags(), std::vector<uint32_t>{7});  // it went well, and the next one
  DieOf(n, 0);
  EXPECT_FALSE(n[0].reader().WriterIsDown());
  DieOf(n, 0);
  EXPECT_TRUE(n[0].reader().WriterIsDown());
}

TEST(VswitchQuarantine, until_it_begins_anew_and_the_others_go_on) {
  Network n(3, /*pin=*/true);
  n.Start();
  n.Introduce();
  n.log.clear();
  DieOf(n, 0);
  DieOf(n, 0);
  EXPECT_EQ(n.log.size(), 1u);
  EXPECT_TRUE(n[0].reader().WriterIsDown());
  EXPECT_GT(n[0].notifier.count, 0);
  n[0].Send(MakeFrame(Mac(1), Mac(0), 1));
  n[1].Send(MakeFrame(Mac(2), Mac(1), 2));
  n[2].Send(MakeFrame(kBroadcast, Mac(2), 3));
  n[2].Send(MakeFrame(Mac(0), Mac(2), 4));
  n.Run();
  EXPECT_EQ(n[1].ReceiveTags(), std::vector<uint32_t>{3});
  EXPECT_EQ(n[2].ReceiveTags(), std::vector<uint32_t>{2});
  EXPECT_EQ(n[0].Drain(), 0u);
  // It never blocks anybody, nor itself.
  for (int i = 0; i < 20000; ++i) {
    ASSERT_TRUE(n[0].Send(MakeFrame(Mac(1), Mac(0), 5, 1500)));
    if (i % 100 == 0) n.Run();
  }
  n.Start(false);  // another instance knows it, too
  n.Run();
  EXPECT_EQ(n[1].Drain(), 0u);
  EXPECT_TRUE(n[0].reader().WriterIsDown());
  n[0].writer().StartEpoch();
  n.Run();
  EXPECT_FALSE(n[0].reader().WriterIsDown());
  n[0].Send(MakeFrame(Mac(1), Mac(0), 6));
  n[1].Send(MakeFrame(Mac(0), Mac(1), 7));
  n.Run();
  EXPECT_EQ(n[1].ReceiveTags(), std::vector<uint32_t>{6});
  EXPECT_EQ(n[0].ReceiveTags(), std::vector<uint32_t>{7});
}

TEST(VswitchQuarantine, a_peer_that_has_given_up_keeps_nobody_waiting) {
  Network n(3);
  n.Start();
  n.Introduce();
  n[2].writer().SetDown(true);
  n.RunPort(2);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(n[0].Send(MakeFrame(Mac(2), Mac(0), 5, 1500)));
    n.RunPort(0);
  }
  EXPECT_EQ(n[2].Drain(), 0u);
  n[2].writer().SetDown(false);
  n.RunPort(2);
  n[0].Send(MakeFrame(Mac(2), Mac(0), 6));
  n.RunPort(0);
  EXPECT_EQ(n[2].ReceiveTags(), std::vector<uint32_t>{6});
}

TEST(VswitchQuarantine, a_switch_that_is_given_up_takes_all_links_down) {
  Network n(2);
  n.Start();
  n.Introduce();
  n.Start(false, /*failed=*/true);
  for (uint32_t i : {0u, 1u}) EXPECT_TRUE(n[i].reader().WriterIsDown());
  n[0].Send(MakeFrame(Mac(1), Mac(0)));
  n.Run();
  EXPECT_EQ(n[1].Drain(), 0u);
  n.Start();
  for (uint32_t i : {0u, 1u}) EXPECT_FALSE(n[i].reader().WriterIsDown());
}

TEST(VswitchQuarantine, a_journal_of_random_bytes_does_no_harm) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    Network n(3);
    net::Random random(seed);
    auto* const bytes = reinterpret_cast<uint8_t*>(&n.quarantine);
    for (size_t i = 0; i < sizeof(n.quarantine); ++i) bytes[i] = static_cast<uint8_t>(random());
    n.Start(true);
    n.Introduce();
    n[0].Send(MakeFrame(Mac(1), Mac(0), 6));
    n.Run();
    ASSERT_EQ(n[1].ReceiveTags(), std::vector<uint32_t>{6});
  }
}

}  // namespace
}  // namespace atoll::vswitch
