// Where frames go, and which do not.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "services/net/offload.h"
#include "tests/unit/vswitch/network.h"

namespace atoll::vswitch {
namespace {

using net::TcpFrame;

using Tags = std::vector<uint32_t>;

class Forward : public testing::Test {
 protected:
  void SetUp() override {
    n_.Start();
    n_.Introduce();
  }
  void Send(uint32_t from, const Bytes& frame, FrameHeader header = {}) {
    ASSERT_TRUE(n_[from].Send(frame, header));
    n_.RunPort(from);
  }
  // A TCP packet from station 0 to station 1.
  static Bytes Addressed(Bytes frame) {
    const Bytes addresses = MakeFrame(Mac(1), Mac(0));
    std::copy_n(addresses.begin(), 12, frame.begin());
    return frame;
  }

  Network n_{4};
};

TEST_F(Forward, NET_36_broadcast_and_multicast_reach_every_other_port_once) {
  for (const MacAddress to : {kBroadcast, Mac(77, true)}) {
    Send(2, MakeFrame(to, Mac(2), 5));
    for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(n_[i].ReceiveTags(), i == 2 ? Tags{} : Tags{5});
  }
}

TEST_F(Forward, unknown_unicast_is_flooded_and_known_goes_to_its_port) {
  Send(0, MakeFrame(Mac(99), Mac(0), 1));
  for (uint32_t i = 1; i < 4; ++i) EXPECT_EQ(n_[i].ReceiveTags(), Tags{1});
  Send(3, MakeFrame(Mac(0), Mac(99), 2));
  EXPECT_EQ(n_[0].ReceiveTags(), Tags{2});
  Send(0, MakeFrame(Mac(99), Mac(0), 3));
  EXPECT_EQ(n_[3].ReceiveTags(), Tags{3});
  EXPECT_EQ(n_[1].Drain() + n_[2].Drain() + n_[0].Drain(), 0u);
}

TEST_F(Forward, a_frame_never_returns_to_its_sender) {
  Send(0, MakeFrame(Mac(50), Mac(0)));
  Send(0, MakeFrame(Mac(0), Mac(50)));  // two stations behind one port
  for (uint32_t i = 0; i < 4; ++i) n_[i].Drain();
  Send(0, MakeFrame(Mac(50), Mac(0)));
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(n_[i].Drain(), 0u);
  EXPECT_EQ(n_.counters(0).local, 2u);
}

TEST_F(Forward, NET_33_frames_of_one_sender_stay_in_order) {
  Tags sent;
  for (uint32_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(n_[0].Send(MakeFrame(Mac(1), Mac(0), i, 60 + i % 1000)));
    sent.push_back(i);
  }
  n_.RunPort(0);
  EXPECT_EQ(n_[1].ReceiveTags(), sent);
}

TEST_F(Forward, frames_arrive_as_they_were_sent) {
  for (const size_t bytes : {14, 15, 31, 32, 33, 60, 255, 256, 257, 1514, 9014, 65550}) {
    const Bytes frame = MakeFrame(Mac(1), Mac(0), 9, bytes);
    Send(0, frame, {.flow = 3});
    const auto received = n_[1].Receive();
    ASSERT_TRUE(received.has_value()) << bytes;
    EXPECT_EQ(received->second, frame);
    EXPECT_EQ(received->first.bytes, bytes);
    EXPECT_EQ(received->first.flow, 3);
  }
}

TEST_F(Forward, NET_65_tags_pass_and_each_vlan_learns_on_its_own) {
  const Bytes frame = MakeFrame(Mac(1), Mac(0), 1, 100, 7);
  Send(0, frame);  // Mac(1) is known untagged only
  EXPECT_EQ(n_[1].Receive()->second, frame);
  EXPECT_EQ(n_[2].Drain() + n_[3].Drain(), 2u);
  Send(2, MakeFrame(Mac(0), Mac(1), 2, 100, 7));  // in VLAN 7 it is elsewhere
  EXPECT_EQ(n_[0].Drain(), 1u);
  Send(0, frame);
  EXPECT_EQ(n_[2].Receive()->second, frame);
  EXPECT_EQ(n_[1].Drain() + n_[3].Drain(), 0u);
  Send(0, MakeFrame(Mac(1), Mac(0), 3));
  EXPECT_EQ(n_[1].ReceiveTags(), Tags{3});
  // A tag that is cut is no tag.
  Bytes cut = MakeFrame(Mac(1), Mac(0), 0, 14);
  net::Put(cut, 12, 2, 0x8100);
  Send(0, cut);
  EXPECT_EQ(n_[1].Receive()->second, cut);
}

TEST_F(Forward, addresses_age_and_move) {
  n_.Pass(Switch::kMaxAgeSeconds * 1000 + 1);
  Send(0, MakeFrame(Mac(1), Mac(0)));
  for (uint32_t i = 1; i < 4; ++i) EXPECT_EQ(n_[i].Drain(), 1u);
  Send(3, MakeFrame(kBroadcast, Mac(1)));
  for (uint32_t i = 0; i < 3; ++i) n_[i].Drain();
  Send(0, MakeFrame(Mac(1), Mac(0)));
  EXPECT_EQ(n_[3].Drain(), 1u);
  EXPECT_EQ(n_[1].Drain(), 0u);
}

TEST_F(Forward, a_group_address_as_sender_is_dropped) {
  Send(0, MakeFrame(Mac(1), Mac(9, true)));
  Send(0, MakeFrame(Mac(1), kBroadcast));
  EXPECT_EQ(n_[1].Drain(), 0u);
  EXPECT_EQ(n_.counters(0).invalid, 2u);
}

TEST_F(Forward,
       NET_53_NET_80_NET_81_NET_83_offloads_that_lie_are_dropped_and_the_next_frame_passes) {
  const TcpFrame packet;
  const Bytes frame = Addressed(packet.Make());
  std::vector<std::pair<FrameHeader, Bytes>> lies;
  FrameHeader header = packet.Header(1448);
  header.checksum_start = 65000;
  lies.emplace_back(header, frame);
  header = packet.Header(1448);
  header.gso_type = 3;
  lies.emplace_back(header, frame);
  header = packet.Header(1448);
  header.flags = 0;
  lies.emplace_back(header, frame);
  lies.emplace_back(packet.Header(1), frame);
  Bytes other = frame;
  other[14] = 0x46;
  lies.emplace_back(packet.Header(1448), other);
  other = frame;
  other[23] = 17;
  lies.emplace_back(packet.Header(1448), other);
  for (const auto& [lie, bytes] : lies) {
    Send(0, bytes, lie);
    EXPECT_EQ(n_[1].Drain(), 0u);
    Send(0, frame, packet.Header(1448));
    EXPECT_EQ(n_[1].Drain(), 1u);
  }
  EXPECT_EQ(n_.counters(0).invalid, lies.size());
}

TEST_F(Forward, NET_53_NET_48_offloads_reach_the_receiver_checked) {
  const TcpFrame packet{.ipv6 = true, .tags = 1, .payload = 60000};
  const Bytes frame = Addressed(packet.Make());
  FrameHeader header = packet.Header(1428);
  header.flags |= 0xfe;
  header.header_bytes = 1;
  Send(0, frame, header);
  const auto received = n_[1].Receive();
  ASSERT_TRUE(received.has_value());
  EXPECT_EQ(received->second, frame);
  EXPECT_EQ(received->first.flags, 1);
  EXPECT_EQ(received->first.gso_type, FrameHeader::kGsoTcp6);
  EXPECT_EQ(received->first.gso_size, 1428);
  EXPECT_EQ(received->first.header_bytes, packet.header_bytes());
  EXPECT_EQ(received->first.checksum_start, packet.transport());
}

TEST_F(Forward, NET_49_only_who_verifies_checksums_may_say_that_one_is_right) {
  Send(0, MakeFrame(Mac(1), Mac(0)), {.flags = FrameHeader::kDataValid});
  EXPECT_EQ(n_[1].Receive()->first.flags, 0);
  n_.settings(0).verifies_checksums = true;
  n_.Start();
  Send(0, MakeFrame(Mac(1), Mac(0)), {.flags = 0xfe});
  EXPECT_EQ(n_[1].Receive()->first.flags, FrameHeader::kDataValid);
}

TEST_F(Forward, NET_91_mac_filter) {
  Network n(3, true);
  n.settings(0).filter = true;
  n.Start();
  n[0].Send(MakeFrame(kBroadcast, Mac(0), 1));
  n[0].Send(MakeFrame(kBroadcast, Mac(40), 2));
  n[0].Send(MakeFrame(Mac(1), 0, 3));
  n.RunPort(0);
  n[1].Send(MakeFrame(Mac(2), Mac(41), 4));  // has no filter
  n.RunPort(1);
  EXPECT_EQ(n[1].ReceiveTags(), Tags{1});
  EXPECT_EQ(n[2].ReceiveTags(), (Tags{1, 4}));
  EXPECT_EQ(n.counters(0).spoofed, 2u);
}

TEST_F(Forward, NET_91_the_address_of_another_port_cannot_be_taken) {
  Network n(3, true);
  n.Start();
  for (uint32_t i = 0; i < 50; ++i) n[0].Send(MakeFrame(kBroadcast, Mac(2), i));
  n.Run();
  EXPECT_EQ(n.counters(0).spoofed, 50u);
  EXPECT_EQ(n[1].Drain(), 0u);
  n[1].Send(MakeFrame(Mac(2), Mac(1), 7));  // 2 has never sent anything
  n.Run();
  EXPECT_EQ(n[2].ReceiveTags(), Tags{7});
  EXPECT_EQ(n[0].Drain(), 0u);
}

TEST_F(Forward, NET_91_a_storm_of_addresses_does_not_make_others_traffic_flooded) {
  for (uint32_t i = 0; i < 20000; ++i) {
    n_[0].Send(MakeFrame(Mac(1), Mac(1000 + i)));
    n_.RunPort(0);
    n_[1].Drain();
  }
  Send(1, MakeFrame(Mac(2), Mac(1), 1));
  Send(2, MakeFrame(Mac(1), Mac(2), 2));
  EXPECT_EQ(n_[2].ReceiveTags(), Tags{1});
  EXPECT_EQ(n_[1].ReceiveTags(), Tags{2});
  EXPECT_EQ(n_[0].Drain() + n_[3].Drain(), 0u);
}

TEST_F(Forward, NET_92_a_frame_that_changes_meanwhile_arrives_as_it_was_checked) {
  const TcpFrame packet{.payload = 3000};
  const Bytes good = Addressed(packet.Make());
  std::atomic<bool> stop{false};
  // The sender's hand in its own ring, as fast as it can: header lengths, protocol, VLAN tag.
  std::thread hand([&] {
    const std::span<std::byte> ring = n_[0].memory();
    net::Random random(1);
    while (!stop) {
      for (size_t record = 4096; record < 4096 + 524288; record += 3088) {
        std::atomic_ref<uint8_t>(
            *reinterpret_cast<uint8_t*>(&ring[record + 16 + 12 + random() % 40]))
            .store(static_cast<uint8_t>(random()), std::memory_order_relaxed);
      }
    }
  });
  size_t received = 0;
  for (int i = 0; i < 3000; ++i) {
    n_[0].Send(good, packet.Header(1448));
    n_.RunPort(0);
    for (uint32_t port = 1; port < 4; ++port) {
      while (const auto frame = n_[port].Receive()) {
        const auto head = std::min(frame->second.size(), net::kHeadBytes);
        const auto valid = net::ValidateOffload(frame->first, net::View(frame->second).first(head));
        ASSERT_TRUE(valid.has_value());
        ++received;
      }
    }
  }
  stop = true;
  hand.join();
  EXPECT_GT(received + n_.counters(0).invalid + n_.counters(0).spoofed, 0u);
}

TEST(Switch, ports_that_are_absent_are_not_there) {
  FakeCounter counter;
  FakeTimer timer;
  Network log(0);
  Switch vswitch({counter, timer, log, log.quarantine});
  Station a, b;
  ASSERT_EQ(vswitch.AddPort(3, {}, a.memory(), a.notifier), Status::kOk);
  ASSERT_EQ(vswitch.AddPort(16, {}, b.memory(), b.notifier), Status::kOk);
  EXPECT_EQ(vswitch.AddPort(3, {}, a.memory(), a.notifier), Status::kAlreadyExists);
  EXPECT_EQ(vswitch.AddPort(17, {}, a.memory(), a.notifier), Status::kOutOfRange);
  EXPECT_EQ(vswitch.AddPort(4, {}, a.memory().first(net::kPortBytes - 1), a.notifier),
            Status::kInvalidArgument);
  vswitch.Start(false);
  a.Send(MakeFrame(kBroadcast, Mac(1), 5));
  vswitch.OnSignals(~uint64_t{0});  // of others too
  EXPECT_EQ(b.ReceiveTags(), Tags{5});
  b.Send(MakeFrame(Mac(1), Mac(2), 6));
  vswitch.OnSignals(1u << 16);
  EXPECT_EQ(a.ReceiveTags(), Tags{6});
}

}  // namespace
}  // namespace atoll::vswitch
