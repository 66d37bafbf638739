// Frames on a line that loses bytes, and packets that come once and in order over it whoever starts anew.
#include <gtest/gtest.h>

#include <random>

#include "services/vsock-driver/host_machine.h"
#include "services/vsock-driver/vsock_driver.h"
#include "tests/unit/drivers/fake_device.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll::vsock_driver {
namespace {

LinkHeader Data(uint32_t sequence, size_t bytes) {
  return {.kind = Kind::kData, .bytes = static_cast<uint32_t>(bytes), .sequence = sequence};
}
Bytes Same(size_t count, std::byte value) { return Bytes(count, value); }
Bytes operator+(Bytes one, const Bytes& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}
Bytes From(const Bytes& bytes, size_t at) {
  return {bytes.begin() + static_cast<long>(at), bytes.end()};
}
Bytes UpTo(const Bytes& bytes, size_t at) {
  return {bytes.begin(), bytes.begin() + static_cast<long>(at)};
}
Bytes WithCheck(Bytes content) {
  Crc32 crc;
  for (const std::byte byte : content) crc.Add(byte);
  const uint32_t check = crc.value();
  content.resize(content.size() + sizeof(check));
  std::memcpy(content.data() + content.size() - sizeof(check), &check, sizeof(check));
  return Bytes{kEnd} + content + Bytes{kEnd};
}

// ---- frames

TEST(LinkFrame, is_no_frame) {
  const Bytes payload = Packet(1);
  Bytes content(sizeof(LinkHeader));
  const auto with = [&content](const LinkHeader& header) {
    std::memcpy(content.data(), &header, sizeof(header));
    return WithCheck(content);
  };
  const Bytes good = Encode(Data(1, payload.size()), payload);
  Bytes damaged = good;
  damaged[40] ^= std::byte{1};
  const Bytes bad[] = {
      {},
      {kEnd},
      {kEnd, kEnd, kEnd},
      {kEscape, kEnd},
      {kEnd, kEscape, kEnd},
      {kEnd, kEscape, kEscape, kEnd},
      WithCheck({}),
      WithCheck(Bytes(sizeof(LinkHeader) - 1)),
      with({.bytes = 1}),
      with({.bytes = ~0u}),
      with({.version = kLinkVersion + 1}),
      with({.reserved = 1}),
      damaged,
      Bytes{kEnd} + Same(2 * kMaxContent, std::byte{5}) + Bytes{kEnd},
      Encode(Data(1, kMaxContent), Same(kMaxContent, std::byte{})),
  };
  for (const Bytes& bytes : bad) {
    SCOPED_TRACE(bytes.size());
    FrameDecoder decoder;
    EXPECT_TRUE(Decode(decoder, bytes).empty());
    const auto found = Decode(decoder, good);  // nor does it spoil the next one
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].payload, payload);
  }
}

TEST(LinkFrame, all_payloads_pass_in_pieces_of_any_size) {
  std::vector<Bytes> payloads = {{}, Same(1, kEnd), Same(1, kEscape), Packet(3, 65536)};
  payloads.push_back(Same(vsock::kMaxPacket, kEnd));
  payloads.push_back(Same(vsock::kMaxPacket, kEscape));
  Bytes all(256);
  for (int i = 0; i < 256; ++i) all[static_cast<size_t>(i)] = std::byte(i);
  payloads.push_back(all);
  for (const size_t piece : {2u, 3u, 7u, 4096u, 300'000u}) {
    FrameEncoder encoder;
    FrameDecoder decoder;
    for (const Bytes& payload : payloads) {
      encoder.Begin(Data(9, payload.size()), payload);
      Bytes bytes;
      while (!encoder.done()) {
        Bytes room(piece);
        room.resize(encoder.Fill(room));
        ASSERT_FALSE(room.empty());
        bytes = std::move(bytes) + room;
      }
      EXPECT_EQ(std::ranges::count(bytes, kEnd), 2);
      const auto found = Decode(decoder, bytes);
      ASSERT_EQ(found.size(), 1u);
      EXPECT_EQ(found[0].payload, payload);
      EXPECT_EQ(found[0].header.sequence, 9u);
    }
    EXPECT_EQ(decoder.damaged(), 0u);
  }
}

// The same bytes as in tests/unit/host_sockets/vsock_link_test.py.
TEST(LinkFrame, is_what_the_host_expects) {
  const Bytes payload = {std::byte{0x7e}, std::byte{0x7d}, std::byte{'a'}};
  const Bytes bytes = Encode({.kind = Kind::kData,
                              .bytes = 3,
                              .session = 0x11223344,
                              .sequence = 2,
                              .following = 3,
                              .acknowledged = 0xffffffff},
                             payload);
  std::string text;
  for (const std::byte byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(byte));
    text += digits;
  }
  EXPECT_EQ(text,
            "7e0301000003000000443322110200000003000000ffffff"
            "ff7d5e7d5d6156d1791a7e");
}

// Whatever is lost in one piece, what is whole passes and nothing else does.
TEST(LinkFrame, any_piece_may_be_missing) {
  const std::vector<Bytes> payloads = {Packet(1, 0), Packet(2, 30), Packet(0x7d7e7d7e, 9)};
  Bytes all;
  std::vector<size_t> ends;
  for (const Bytes& payload : payloads) {
    all = std::move(all) + Encode(Data(NumberOf(payload), payload.size()), payload);
    ends.push_back(all.size());
  }
  const Bytes last = Encode(Data(7, payloads[0].size()), payloads[0]);
  for (size_t from = 0; from <= all.size(); ++from) {
    for (size_t to = from; to <= all.size(); ++to) {
      FrameDecoder decoder;
      const auto found = Decode(decoder, UpTo(all, from) + From(all, to) + last);
      ASSERT_FALSE(found.empty());
      ASSERT_EQ(found.back().header.sequence, 7u);
      size_t expected = 1;
      size_t begin = 0;
      for (size_t i = 0; i < ends.size(); ++i) {
        const bool whole = ends[i] <= from || begin >= to || from == to;
        expected += whole ? 1 : 0;
        begin = ends[i];
      }
      // The first of its two kEnd may be the last one of the frame before.
      ASSERT_LE(found.size(), expected + 1);
      ASSERT_GE(found.size(), expected - (from == to ? 0 : 1));
      for (size_t i = 0; i + 1 < found.size(); ++i) {
        ASSERT_TRUE(std::ranges::find(payloads, found[i].payload) != payloads.end()) << from << to;
      }
    }
  }
}

TEST(LinkFrame, a_guest_cannot_forge_one) {
  // A packet whose payload is a frame, broken off within and gone on anywhere.
  const Bytes forged = Encode(Data(5, 50), Same(50, std::byte{1}));
  Bytes packet = Packet(1, static_cast<uint32_t>(forged.size()));
  std::ranges::copy(forged, packet.begin() + sizeof(vsock::PacketHeader));
  const Bytes whole = Encode(Data(1, packet.size()), packet);
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    FrameDecoder decoder;
    for (const Message& m : Decode(decoder, From(whole, cut) + whole)) {
      ASSERT_EQ(m.header.sequence, 1u);
    }
  }
}

// ---- the link

TEST(HostLink, says_nothing_before_somebody_is_there) {
  HostMachine m;
  ASSERT_TRUE(m.Put(Packet(1)));
  EXPECT_TRUE(m.Spoken().empty());
  m.Pass(100);
  EXPECT_TRUE(m.Spoken().empty());
  m.Open();
  ASSERT_EQ(m.host.received.size(), 1u);  // it waited
  EXPECT_TRUE(m.Works());
}

TEST(HostLink, packets_pass_both_ways) {
  HostMachine m;
  m.Open();
  EXPECT_EQ(m.host.sessions, 1u);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(m.Works()) << i;
  for (uint32_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(m.Put(Packet(i, 65536 - 100 * i)));
    m.host.Send(Packet(i, 65536 - 999 * i));
    m.Settle();
    ASSERT_EQ(m.host.received.back(), Packet(i, 65536 - 100 * i));
    ASSERT_EQ(m.Take(), Packet(i, 65536 - 999 * i));
  }
  EXPECT_EQ(m.host.sessions, 1u);
  EXPECT_EQ(m.link->counters().greetings, 1u);
  EXPECT_EQ(m.link->counters().refused, 0u);
  EXPECT_TRUE(m.settled);
}

TEST(HostLink, packets_stay_until_the_host_has_them) {
  HostMachine m;
  m.Open();
  const uint32_t free = m.to_link->Free();
  ASSERT_TRUE(m.Put(Packet(1, 60'000)));
  (void)m.Spoken();  // and lost
  EXPECT_LT(m.to_link->Free(), free);
  m.Pass(kPatienceSeconds);
  m.Settle();
  ASSERT_EQ(m.host.received.size(), 1u);
  EXPECT_EQ(m.to_link->Free(), free);
  EXPECT_EQ(m.host.sessions, 1u);
}

TEST(HostLink, a_switch_without_room_stops_the_line) {
  HostMachine m;
  m.Open();
  for (uint32_t i = 0; i < 10; ++i) m.host.Send(Packet(i, 65536));
  m.Settle();
  ASSERT_FALSE(m.blocked.empty());
  for (uint32_t i = 0; i < 10; ++i) {
    ASSERT_EQ(m.Take(), Packet(i, 65536));
    m.blocked = From(m.blocked, m.link->Receive(m.blocked));
  }
  m.Settle();
  EXPECT_TRUE(m.Works());
  EXPECT_EQ(m.host.sessions, 1u);
}

// Both directions, with an instance that ends and a piece of the line that is lost at every byte.
TEST(HostLink, VSOCK_16_each_packet_comes_once_whatever_is_lost) {
  const auto fill = [](HostMachine& m) {
    for (uint32_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(m.Put(Packet(i, 10 + 40 * i)));
      m.host.Send(Packet(10 + i, 60 - 20 * i));
    }
  };
  HostMachine whole;
  whole.Open();
  fill(whole);
  const size_t out = whole.Spoken().size(), in = whole.host.Speak().size();
  for (const bool dies : {false, true}) {
    for (size_t heard = 0; heard <= out; heard += 17) {
      for (size_t lost = 0; lost <= in; lost += 19) {
        HostMachine m;
        m.Open();
        fill(m);
        m.host.Hear(UpTo(m.Spoken(), heard));
        const Bytes answer = m.host.Speak();
        // A part of it came; or was lost, and the rest comes.
        const size_t cut = std::min(lost, answer.size());
        if (dies) {
          (void)m.link->Receive(UpTo(answer, cut));
          m.Start();
          m.Open();
        } else {
          (void)m.link->Receive(From(answer, cut));
          m.Settle();
          m.Pass(kPatienceSeconds);
          m.Settle();
        }
        ASSERT_EQ(m.host.sessions, 1u) << heard << " " << lost;
        ASSERT_EQ(m.host.received.size(), 3u) << heard << " " << lost;
        for (uint32_t i = 0; i < 3; ++i) {
          ASSERT_EQ(m.host.received[i], Packet(i, 10 + 40 * i));
          ASSERT_EQ(m.Take(), Packet(10 + i, 60 - 20 * i));
        }
        ASSERT_FALSE(m.Take());
        ASSERT_TRUE(m.Works());
      }
    }
  }
}

TEST(HostLinkDeath, VSOCK_16_each_packet_comes_once_whatever_store_it_dies_at) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  HostMachine m;
  m.Open();
  ASSERT_TRUE(m.Works());
  for (uint32_t i = 0; i < 2; ++i) ASSERT_TRUE(m.Put(Packet(i, 4)));
  for (uint32_t i = 10; i < 12; ++i) m.host.Send(Packet(i, 4));
  m.host.Hear(m.Spoken());
  const Bytes answer = m.host.Speak();
  std::vector<std::span<std::byte>> watched = {
      std::as_writable_bytes(std::span(m.journal.get(), 1))};
  for (const size_t ring : {size_t{0}, vsock::kRingBytes}) {
    watched.push_back(m.memory->span().subspan(ring, 128));
    watched.push_back(m.memory->span().subspan(ring + 4096, 640));
  }
  MemoryStates states(watched, 600);
  ASSERT_TRUE(states.Run([&] { (void)m.link->Receive(answer); }));
  ASSERT_GT(states.size(), 10u);
  const FakeHost before = m.host;
  for (size_t state = 0; state < states.size(); ++state) {
    SCOPED_TRACE(state);
    states.Restore(state);
    m.host = before;
    m.Attach();
    m.Start();
    m.Open();
    for (uint32_t i = 10; i < 12; ++i) ASSERT_EQ(m.Take(), Packet(i, 4));
    ASSERT_FALSE(m.Take());
    ASSERT_EQ(m.host.sessions, 1u);
    ASSERT_EQ(m.to_link->Free(), m.to_link->capacity());
    ASSERT_TRUE(m.Works());
  }
}

// A new host's program, a journal that is none, an epoch of the switch: what was is over, and the switch knows it first.
TEST(HostLink, a_new_session_begins_an_epoch) {
  enum Why { kProgram, kJournal, kEpoch, kLineDown };
  for (const Why why : {kProgram, kJournal, kEpoch, kLineDown}) {
    SCOPED_TRACE(why);
    HostMachine m;
    m.Open();
    ASSERT_TRUE(m.Works());
    const uint32_t epoch = m.from_link->writer_epoch();
    m.host.Send(Packet(1));
    ASSERT_TRUE(m.Put(Packet(2)));
    switch (why) {
      case kProgram:
        m.host = FakeHost();
        m.host.Say({.kind = Kind::kAsk});
        break;
      case kJournal:
        m.journal->placed ^= 1;
        m.Start();
        m.link->Open();
        break;
      case kEpoch: m.to_link->StartEpoch(); break;
      case kLineDown:
        m.link->Close();
        EXPECT_TRUE(m.from_link->WriterIsDown());
        EXPECT_TRUE(m.link->MustNotify());
        m.link->Open();
        break;
    }
    m.Settle();
    EXPECT_NE(m.from_link->writer_epoch(), epoch);
    EXPECT_FALSE(m.from_link->WriterIsDown());
    while (m.Take()) EXPECT_NE(m.mark, vsock::EpochMark(m.from_link->writer_epoch()));
    EXPECT_TRUE(m.Works());
    EXPECT_EQ(m.mark, vsock::EpochMark(m.from_link->writer_epoch()));
    if (why == kEpoch) {  // what was sent before it counts no more
      for (const Bytes& packet : m.host.received) EXPECT_NE(packet, Packet(2));
    }
  }
}

TEST(HostLink, hellos_are_repeated_and_answered_once) {
  HostMachine m;
  m.link->Open();
  const Bytes first = m.Spoken();
  EXPECT_TRUE(m.Spoken().empty());
  m.Pass(kGreetSeconds);
  const Bytes second = m.Spoken();
  EXPECT_EQ(first, second);
  m.host.Hear(first + second);
  m.Settle();
  EXPECT_EQ(m.host.sessions, 1u);
  EXPECT_TRUE(m.Works());
}

TEST(HostLink, what_the_host_says_is_checked) {
  const auto nonce = [](HostMachine& m) { return m.host.heard.back().payload; };
  const std::vector<std::function<void(HostMachine&)>> bad = {
      [](HostMachine& m) { m.host.Say({.kind = Kind{0}}); },
      [](HostMachine& m) { m.host.Say({.kind = Kind{99}, .session = m.host.session}); },
      [](HostMachine& m) { m.host.Say({.kind = Kind::kHello}, Bytes(8)); },
      [](HostMachine& m) { m.host.Say({.kind = Kind::kWelcome, .session = 5}, Bytes(8)); },
      [](HostMachine& m) { m.host.Say({.kind = Kind::kWelcome, .session = 5}); },
      [nonce](HostMachine& m) { m.host.Say({.kind = Kind::kWelcome, .session = 5}, nonce(m)); },
      [](HostMachine& m) { m.host.Say({.kind = Kind::kData, .session = 77}, Packet(1)); },
      [](HostMachine& m) { m.host.Say({.kind = Kind::kAck, .session = 77}); },
      // Acknowledges what was never sent, or half a packet.
      [](HostMachine& m) {
        m.host.Say({.kind = Kind::kAck, .session = m.host.session, .acknowledged = 1u << 20});
      },
      [](HostMachine& m) {
        m.host.Say(
            {.kind = Kind::kAck, .session = m.host.session, .acknowledged = m.host.expected + 1});
      },
      // Again.
      [](HostMachine& m) {
        m.host.Say({.kind = Kind::kData,
                    .session = m.host.session,
                    .sequence = ~0u,
                    .acknowledged = m.host.expected},
                   Packet(1));
      },
  };
  for (size_t i = 0; i < bad.size(); ++i) {
    SCOPED_TRACE(i);
    HostMachine m;
    m.Open();
    bad[i](m);
    m.Settle();
    EXPECT_EQ(m.link->counters().refused, 1u);
    EXPECT_EQ(m.host.sessions, 1u);
    EXPECT_FALSE(m.Take());
    EXPECT_TRUE(m.Works());
  }
}

TEST(HostLink, a_gap_and_a_packet_that_is_none_lead_to_a_new_greeting) {
  for (const bool gap : {true, false}) {
    HostMachine m;
    m.Open();
    m.host.Say({.kind = Kind::kData,
                .session = m.host.session,
                .sequence = gap ? 1u : 0u,
                .acknowledged = m.host.expected},
               gap ? Packet(1) : Bytes(sizeof(vsock::PacketHeader) - 1));
    m.Settle();
    EXPECT_EQ(m.link->counters().greetings, 2u);
    EXPECT_TRUE(m.Works());
    EXPECT_EQ(m.host.sessions, 1u);
  }
}

TEST(HostLink, a_welcome_that_acknowledges_what_never_was) {
  HostMachine m;
  m.Open();
  m.link->Receive(Encode({.kind = Kind::kAsk}));
  const Bytes hello = m.Spoken();
  FrameDecoder decoder;
  const Bytes nonce = Decode(decoder, hello).at(0).payload;
  m.host.out.clear();
  m.host.Say({.kind = Kind::kWelcome, .session = m.host.session, .acknowledged = 1u << 24}, nonce);
  m.Settle();
  EXPECT_EQ(m.host.sessions, 2u);
  EXPECT_TRUE(m.Works());
}

TEST(HostLink, a_switch_that_writes_nonsense_spoils_its_own_packets_only) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    HostMachine m;
    m.Open();
    for (uint32_t i = 0; i < 5; ++i) ASSERT_TRUE(m.Put(Packet(i, 100)));
    const auto ring = m.memory->span().subspan(vsock::kRingBytes);
    for (int i = 0; i < 8; ++i) {
      const size_t at = random() % 3 == 0 ? random() % 16 : 4096 + random() % 900;
      ring[at] = std::byte(random());
    }
    m.Settle();
    ASSERT_TRUE(m.settled);
    m.Pass(kPatienceSeconds);
    m.Settle();
    m.Attach();
    m.to_link->StartEpoch();
    m.Settle();
    ASSERT_TRUE(m.Works()) << round;
  }
}

}  // namespace
}  // namespace atoll::vsock_driver
