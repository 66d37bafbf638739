// Journals that were written over: the device goes on whatever they say, or fails visibly; a reset makes a good one.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/virtio_net/network_machine.h"

namespace atoll::virtio_net {
namespace {

using virtio::JournalFound;

void Scribble(std::span<std::byte> journal, uint64_t hits, uint64_t first_words,
              std::mt19937_64& random) {
  auto* const words = reinterpret_cast<uint64_t*>(journal.data());
  const uint64_t count = std::min<uint64_t>(journal.size() / 8, first_words);
  for (uint64_t i = 0; i < hits; ++i) {
    // Bits, small numbers and anything.
    uint64_t& word = words[hits >= count ? i % count : random() % count];
    const uint64_t kind = random() % 4;
    word = kind == 0 ? word ^ uint64_t { 1 } << random() % 64
                     : random() >> (kind == 1 ? random() % 64 : 0);
  }
}

// As many as were on their way, in the end, give or take the one in hand at each death.
class NetJournalFuzz : public testing::TestWithParam<bool> {};

TEST_P(NetJournalFuzz, NET_73_whatever_the_journal_says_the_device_answers) {
  const bool kept = GetParam();
  std::mt19937_64 random(kept ? 5 : 6);
  int repaired = 0;
  int damaged = 0;
  for (int round = 0; round < 250; ++round) {
    SCOPED_TRACE(round);
    Wire wire;
    const uint32_t pairs = 1 + static_cast<uint32_t>(random() % 2) * 3;
    NetMachine m(wire, {.mac = kMac, .mtu = 1500, .pairs = pairs});
    m.has_keeper = kept;
    ASSERT_EQ(m.Restart(), JournalFound::kGood);
    const uint64_t features = round % 3 == 0 ? kBase : kAllFeatures | (pairs > 1 ? kFeatureMq : 0);
    ASSERT_TRUE(m.Live(features, 16));
    m.GiveBuffers(8, 2048);
    m.Doorbell(m.rx().index);
    if (features != kBase) {
      ASSERT_EQ(m.Command({kControlRx, kRxAllMulti, 1}), kAckOk);
      if (pairs > 1) {
        ASSERT_EQ(m.Command({kControlMq, kMqPairsSet, 2, 0}), kAckOk);
      }
    }
    ASSERT_TRUE(m.GiveAndReceive(MakeFrame(kMac)));
    bool refused = false;
    for (int death = 0; death < 3; ++death) {
      const uint64_t all = m.journal_bytes().size() / 8;
      Scribble(m.journal_bytes(), round % 8 == 0 ? all : 1 + random() % 64,
               round % 2 == 0 ? all : 80, random);
      const auto found =
          m.Restart({.blamed = random() % 2 == 0, .failed = round % 16 == 15 && death == 2});
      refused =
          found == JournalFound::kRefused;  // one bit of the version, and nothing else is left
      if (refused) break;
      m.SignalOfSwitch();
      ASSERT_TRUE(m.Pump());
      repaired += found == JournalFound::kRepaired;
      damaged += found == JournalFound::kDamaged;
      if (kept) {
        ASSERT_NE(found, JournalFound::kDamaged);
      }
      ASSERT_EQ(m.broken(), found == JournalFound::kDamaged || m.broken());
      if (found == JournalFound::kDamaged) {
        ASSERT_TRUE(m.broken() && m.line.high);
        break;
      }
    }
    ASSERT_FALSE(kept && refused);
    if (refused || round % 16 == 15) continue;
    if (!m.broken() && kept) {
      // Frames go on in both directions. The first may be what an instance had in hand.
      for (int i = 0; i < 2; ++i) m.Send(MakeFrame(kMac));
      int sent = 0;
      while (wire.Take().has_value()) ++sent;
      ASSERT_GE(sent, 1);
      ASSERT_TRUE(wire.Give(MakeFrame(kMac)) && wire.Give(MakeFrame(kMac)));
      m.SignalOfSwitch();
      ASSERT_TRUE(m.Pump());
      ASSERT_TRUE(m.Receive().has_value());
    }
    ASSERT_TRUE(m.Live(kAllFeatures, 16));
    ASSERT_TRUE(Works(m));
  }
  EXPECT_GT(repaired, 90);
  EXPECT_EQ(damaged > 10, !kept);
}
INSTANTIATE_TEST_SUITE_P(Kept, NetJournalFuzz, testing::Bool());

// Somebody who knows the checks: whatever numbers there are, they are bounded again.
TEST(NetJournalForged, NET_73_numbers_that_pass_their_checks_are_looked_at) {
  std::mt19937_64 random(9);
  for (int round = 0; round < 250; ++round) {
    SCOPED_TRACE(round);
    Wire wire;
    NetMachine m(wire, {.mac = kMac, .mtu = 1500, .pairs = 4});
    ASSERT_TRUE(m.Live(kAllFeatures | kFeatureMq, 16));
    m.GiveBuffers(4, 2048);
    ASSERT_TRUE(m.GiveAndReceive(MakeFrame(kMac)));
    const auto any = [&](auto& object, size_t first_word) {
      auto* const words = reinterpret_cast<uint64_t*>(&object);
      uint64_t& word = words[first_word + random() % (sizeof(object) / 8 - first_word)];
      word = random() % 2 == 0 ? random() >> random() % 64 : word ^ uint64_t { 1 } << random() % 64;
    };
    virtio::Registers registers = RegistersOf(m);
    if (round % 2 == 0) any(registers, 2);
    m.journal().transport.registers.Store(registers);
    DriverSettings settings = ChosenOf(m);
    any(settings, 0);
    m.journal().device.settings.Store(settings);
    for (auto& queue : std::span(m.journal().queues).first(3)) {
      virtio::QueueSetup setup;
      (void)queue.setup.Load(setup);
      if (round % 3 == 0) any(setup, 0);
      queue.setup.Store(setup);
      if (round % 5 == 0) {
        queue.cursor = queue.cursor_backup = virtio::CursorWord::Pack(
            {static_cast<uint16_t>(random()), static_cast<uint16_t>(random()),
             static_cast<uint16_t>(random())});
      }
    }
    for (uint64_t* word : {&m.journal().device.sending, &m.journal().device.receiving}) {
      *word = std::bit_cast<uint64_t>(Transfer{static_cast<uint32_t>(random() % 512),
                                               static_cast<uint16_t>(random() % 8),
                                               static_cast<uint16_t>(random() % 0x400)});
    }
    m.journal().transport.at_work = random() % 20;
    m.journal().transport.suspect = random() >> random() % 64;
    if (m.Restart({.blamed = true}) == JournalFound::kRefused) continue;
    for (int i = 0; i < 3; ++i) {
      (void)wire.Give(MakeFrame(kMac));
      m.SignalOfSwitch();
      m.Send(MakeFrame(kMac));
      ASSERT_TRUE(m.Pump());
    }
    ASSERT_TRUE(m.Live(kAllFeatures, 16));
    ASSERT_TRUE(Works(m));
  }
}

TEST(NetJournal, NET_73_settings_that_are_lost_are_those_that_serve_any_driver) {
  Wire wire;
  NetMachine m(wire);
  ASSERT_TRUE(m.Live());
  m.GiveBuffers(8, 2048);
  ASSERT_EQ(m.Command({kControlMac, kMacAddrSet, 2, 6, 7, 8, 9, 10}), kAckOk);
  ASSERT_EQ(m.Command({kControlVlan, kVlanAdd, 5, 0}), kAckOk);
  std::memset(&m.journal().device.settings, 0x77, sizeof(m.journal().device.settings));
  ASSERT_EQ(m.Restart(), JournalFound::kRepaired);
  EXPECT_FALSE(m.broken());
  EXPECT_TRUE(m.GiveAndReceive(MakeFrame(0x0a09'0807'0602)));  // the address that it had set
  Bytes tagged = MakeFrame(kMac, 64, 0x8100);
  net::Put(tagged, 14, 2, 77);
  EXPECT_TRUE(m.GiveAndReceive(tagged));
  EXPECT_EQ(m.Restart(), JournalFound::kGood);
}

}  // namespace
}  // namespace atoll::virtio_net
