#include "services/net/frame_ring.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/net/packets.h"

namespace atoll::net {
namespace {

constexpr uint32_t kCapacity = 262144;

// Shared memory with nothing readable around it (ASan), and a peer that writes what it likes.
class Ring : public testing::Test {
 protected:
  std::span<std::byte> memory() { return {static_cast<std::byte*>(memory_.get()), kBytes}; }
  void Set(size_t offset, uint32_t value) {
    std::memcpy(memory().data() + offset, &value, sizeof value);
  }
  uint32_t Get(size_t offset) {
    uint32_t value;
    std::memcpy(&value, memory().data() + offset, sizeof value);
    return value;
  }
  void SetBothIndices(uint32_t value) {
    Set(kWriter, value);
    Set(kReader, value);
  }
  void SetRecord(uint32_t index, uint32_t bytes) { Set(4096 + index % kCapacity, bytes); }

  FrameWriter Writer() { return *FrameWriter::Attach(memory()); }
  FrameReader Reader() { return *FrameReader::Attach(memory()); }

  // A frame whose bytes tell its number.
  static bool Send(FrameWriter& writer, uint32_t bytes, uint8_t number) {
    const std::span<std::byte> room = writer.Reserve(bytes);
    if (room.empty()) return false;
    EXPECT_EQ(room.size(), bytes);
    std::ranges::fill(room, std::byte{number});
    writer.Publish({.bytes = bytes, .flow = number});
    return true;
  }
  static void Receive(FrameReader& reader, uint32_t bytes, uint8_t number) {
    const std::optional<Frame> frame = reader.Next();
    ASSERT_TRUE(frame.has_value());
    ASSERT_EQ(frame->bytes.size(), bytes);
    EXPECT_EQ(frame->header.bytes, bytes);
    EXPECT_EQ(frame->header.flow, number);
    EXPECT_EQ(frame->bytes.front(), std::byte{number});
    EXPECT_EQ(frame->bytes.back(), std::byte{number});
    reader.Consume();
  }

  static constexpr size_t kBytes = 4096 + kCapacity;
  static constexpr size_t kWriter = 0, kWriterWaits = 4, kReader = 64;

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_{[] {
    void* const memory = std::aligned_alloc(4096, kBytes);
    std::memset(memory, 0, kBytes);
    return memory;
  }()};
};

TEST_F(Ring, zeroed_memory_is_an_empty_ring) {
  FrameReader reader = Reader();
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.Wait());
  EXPECT_EQ(reader.capacity(), kCapacity);
  EXPECT_EQ(Writer().capacity(), kCapacity);
}

TEST_F(Ring, frames_come_out_in_order_with_their_headers) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  const FrameHeader header{.bytes = 100,
                           .flags = 1,
                           .gso_type = 0x81,
                           .header_bytes = 54,
                           .gso_size = 1448,
                           .checksum_start = 34,
                           .checksum_offset = 16,
                           .flow = 3};
  ASSERT_EQ(writer.Reserve(100).size(), 100u);
  EXPECT_FALSE(reader.Next().has_value());  // reserved is not published
  writer.Publish(header);
  ASSERT_TRUE(Send(writer, 14, 7));
  const std::optional<Frame> frame = reader.Next();
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(std::memcmp(&frame->header, &header, sizeof header), 0);
  EXPECT_EQ(reader.Next()->header.bytes, 100u);  // until it is consumed
  reader.Consume();
  Receive(reader, 14, 7);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(Get(kWriter), Get(kReader));
}

TEST_F(Ring, frames_of_no_valid_size_get_no_room) {
  FrameWriter writer = Writer();
  for (const uint32_t bytes : {0u, 1u, 13u, 65551u, 0x10000u + 15, 0xfffffff0u, 0xffffffffu}) {
    EXPECT_TRUE(writer.Reserve(bytes).empty()) << bytes;
    EXPECT_TRUE(writer.TryReserve(bytes).empty()) << bytes;
  }
  EXPECT_EQ(Get(kWriterWaits), 0u);
  EXPECT_TRUE(Send(writer, 65550, 1));
}

TEST_F(Ring, publish_takes_no_more_than_was_reserved_and_only_once) {
  FrameWriter writer = Writer();
  writer.Publish({.bytes = 60});
  ASSERT_FALSE(writer.Reserve(60).empty());
  writer.Publish({.bytes = 61});
  writer.Publish({.bytes = 0});
  EXPECT_EQ(Get(kWriter), 0u);
  writer.Publish({.bytes = 20});  // less is fine
  EXPECT_EQ(Get(kWriter), 48u);
  writer.Publish({.bytes = 20});
  EXPECT_EQ(Get(kWriter), 48u);
  ASSERT_FALSE(writer.Reserve(60).empty());
  EXPECT_TRUE(writer.Reserve(1).empty());  // gives the other up
  writer.Publish({.bytes = 60});
  EXPECT_EQ(Get(kWriter), 48u);
}

TEST_F(Ring, full_ring_has_room_again_when_a_frame_is_consumed) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  ASSERT_TRUE(Send(writer, 65520, 1));  // records of 65536
  ASSERT_TRUE(Send(writer, 65520, 2));
  ASSERT_TRUE(Send(writer, 65520, 3));
  ASSERT_TRUE(Send(writer, 65520, 4));
  EXPECT_TRUE(writer.TryReserve(14).empty());
  EXPECT_EQ(Get(kWriterWaits), 0u);
  EXPECT_TRUE(writer.Reserve(14).empty());
  EXPECT_EQ(Get(kWriterWaits), 1u);
  Receive(reader, 65520, 1);
  EXPECT_TRUE(reader.WriterWaits());
  EXPECT_FALSE(reader.WriterWaits());  // one signal is enough
  EXPECT_TRUE(Send(writer, 14, 5));
  for (uint8_t number = 2; number <= 4; ++number) Receive(reader, 65520, number);
  Receive(reader, 14, 5);
}

TEST_F(Ring, a_frame_is_never_cut_by_the_end_of_the_data) {
  for (const uint32_t start : {kCapacity - 16, kCapacity - 32, kCapacity - 48, kCapacity - 4096,
                               0u - 16, 0u - 4096}) {  // the index wraps as well
    SetBothIndices(start);
    FrameWriter writer = Writer();
    FrameReader reader = Reader();
    EXPECT_TRUE(Send(writer, 65550, 1));
    EXPECT_TRUE(Send(writer, 65550, 2));
    Receive(reader, 65550, 1);
    Receive(reader, 65550, 2);
    EXPECT_FALSE(reader.Next().has_value());
    EXPECT_EQ(reader.faults() + writer.faults(), 0u);
  }
}

TEST_F(Ring, a_frame_that_just_fits_before_the_end_stays_there) {
  SetBothIndices(kCapacity - 64);
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  EXPECT_TRUE(Send(writer, 48, 1));
  EXPECT_EQ(Get(kWriter), kCapacity);
  Receive(reader, 48, 1);
}

TEST_F(Ring, room_at_the_end_and_at_the_start_is_not_added_up) {
  SetBothIndices(kCapacity - 4096);
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  for (uint8_t number = 0; number < 3; ++number) ASSERT_TRUE(Send(writer, 65520, number));
  // What is free lies in one piece before the reader's index.
  EXPECT_TRUE(writer.TryReserve(65520).empty());
  EXPECT_FALSE(writer.TryReserve(61440 - 16).empty());
  EXPECT_TRUE(writer.TryReserve(61440).empty());
  for (uint8_t number = 0; number < 3; ++number) Receive(reader, 65520, number);
}

TEST_F(Ring, random_traffic_is_not_lost_doubled_or_reordered) {
  SetBothIndices(0u - 1024 * 1024);
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  Random random(1);
  std::vector<uint32_t> sizes;
  size_t received = 0;
  for (int round = 0; round < 4000; ++round) {
    for (uint32_t burst = random() % 5; burst != 0; --burst) {
      const uint32_t bytes = random() % 4 == 0 ? 14 + random() % 65537 : 14 + random() % 100;
      if (Send(writer, bytes, static_cast<uint8_t>(sizes.size()))) sizes.push_back(bytes);
    }
    for (uint32_t burst = random() % 5; burst != 0 && received != sizes.size(); --burst) {
      ASSERT_NO_FATAL_FAILURE(Receive(reader, sizes[received], static_cast<uint8_t>(received)));
      ++received;
    }
    if (random() % 8 == 0) reader = Reader();  // a new instance, between frames
    if (random() % 8 == 0) writer = Writer();
  }
  EXPECT_GT(received, 1000u);
  EXPECT_EQ(reader.faults() + writer.faults(), 0u);
}

TEST_F(Ring, who_is_not_asleep_is_not_signalled) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  ASSERT_TRUE(Send(writer, 60, 1));
  EXPECT_FALSE(writer.ReaderWaits());
  EXPECT_TRUE(reader.Wait());  // a frame came: look again
  EXPECT_FALSE(writer.ReaderWaits());
  Receive(reader, 60, 1);
  EXPECT_FALSE(reader.WriterWaits());
  EXPECT_FALSE(reader.Wait());
  ASSERT_TRUE(Send(writer, 60, 2));
  EXPECT_TRUE(writer.ReaderWaits());
  ASSERT_TRUE(Send(writer, 60, 3));
  EXPECT_FALSE(writer.ReaderWaits());
}

TEST_F(Ring, a_reader_that_died_before_consuming_sees_the_frame_again) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  ASSERT_TRUE(Send(writer, 60, 1));
  ASSERT_TRUE(Send(writer, 70, 2));
  ASSERT_TRUE(reader.Next().has_value());
  reader = Reader();
  Receive(reader, 60, 1);
  Receive(reader, 70, 2);
}

TEST_F(Ring, a_writer_that_died_before_publishing_leaves_nothing) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  std::ranges::fill(writer.Reserve(60), std::byte{1});
  writer = Writer();
  ASSERT_TRUE(Send(writer, 50, 2));
  Receive(reader, 50, 2);
}

TEST_F(Ring, hostile_reader_index_costs_the_frames_and_heals) {
  for (const uint32_t hostile : {16u, 100u, 0x7fffffffu, 0x80000000u, 0xfffffff0u, 0xffffffffu}) {
    SetBothIndices(0);
    FrameWriter writer = Writer();
    Set(kReader, hostile);
    // No index of the reader brings a write outside the data, and its next instance gets frames.
    EXPECT_TRUE(Send(writer, 65550, 1)) << hostile;
    // The last two may be the truth, as far as the writer can know.
    EXPECT_EQ(writer.faults(), hostile < 0xfffffff0 ? 1u : 0u) << hostile;
    FrameReader reader = Reader();
    while (reader.Next().has_value()) reader.Consume();
    EXPECT_TRUE(Send(writer, 60, 2)) << hostile;
    Receive(reader, 60, 2);
  }
}

TEST_F(Ring, hostile_writer_index_is_a_fault_once_and_heals) {
  for (const uint32_t hostile :
       {kCapacity + 16, 8u, 24u, 0x7fffffffu, 0x80000000u, 0xfffffff0u, 0xffffffffu}) {
    SetBothIndices(0);
    SetRecord(0, 0);
    FrameReader reader = Reader();
    Set(kWriter, hostile);
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(reader.Next().has_value()) << hostile;
    EXPECT_EQ(reader.faults(), hostile + 1 == 0 ? 0u : 1u)
        << hostile;                          // up to 16: 0, its own index
    EXPECT_FALSE(reader.Wait()) << hostile;  // it can sleep
    FrameWriter writer = Writer();
    ASSERT_TRUE(Send(writer, 60, 1)) << hostile;
    Receive(reader, 60, 1);
  }
}

TEST_F(Ring, hostile_records_empty_the_ring) {
  for (const uint32_t bytes : {0u, 13u, 65551u, 0x80000000u, 0xfffffff0u, 0xfffffffeu, 49u}) {
    SetBothIndices(0);
    FrameReader reader = Reader();
    FrameWriter writer = Writer();
    ASSERT_TRUE(Send(writer, 48, 1));
    SetRecord(0, bytes);  // 49: more than was published
    EXPECT_FALSE(reader.Next().has_value()) << bytes;
    EXPECT_EQ(reader.faults(), 1u) << bytes;
    reader.Consume();
    ASSERT_TRUE(Send(writer, 60, 2)) << bytes;
    Receive(reader, 60, 2);
  }
}

TEST_F(Ring, hostile_skips_empty_the_ring) {
  // A skip at the start of the data, one that ends at the writer's index, one after a skip.
  SetBothIndices(0);
  FrameReader reader = Reader();
  Set(kWriter, kCapacity);
  SetRecord(0, ~0u);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.faults(), 1u);

  SetBothIndices(kCapacity - 64);
  reader = Reader();
  Set(kWriter, kCapacity);
  SetRecord(kCapacity - 64, ~0u);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.faults(), 1u);

  SetBothIndices(kCapacity - 64);
  reader = Reader();
  Set(kWriter, kCapacity + 128);
  SetRecord(kCapacity - 64, ~0u);
  SetRecord(0, ~0u);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.faults(), 1u);
}

TEST_F(Ring, a_record_that_would_leave_the_data_is_a_fault) {
  SetBothIndices(kCapacity - 64);
  FrameReader reader = Reader();
  SetRecord(kCapacity - 64, 1000);
  Set(kWriter, kCapacity + 4096);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_EQ(reader.faults(), 1u);
}

TEST_F(Ring, memory_zeroed_under_both_sides_is_an_empty_ring_again) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  for (uint8_t i = 0; i < 3; ++i) ASSERT_TRUE(Send(writer, 60000, i));
  Receive(reader, 60000, 0);
  std::ranges::fill(memory(), std::byte{0});
  EXPECT_FALSE(reader.Next().has_value());
  // The other side starts anew, as when its VM starts again.
  FrameWriter fresh = Writer();
  ASSERT_TRUE(Send(fresh, 60, 9));
  Receive(reader, 60, 9);

  SetBothIndices(0);
  FrameReader other = Reader();
  for (int i = 0; i < 10 && writer.faults() == 0; ++i) Send(writer, 60, 1);
  while (other.Next().has_value()) other.Consume();
  ASSERT_TRUE(Send(writer, 60, 2));
  Receive(other, 60, 2);
}

TEST_F(Ring, own_index_in_shared_memory_is_not_believed_while_running) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  ASSERT_TRUE(Send(writer, 60, 1));
  Set(kWriter, 0xdeadbeef);
  Set(kReader, 0);
  ASSERT_TRUE(Send(writer, 60, 2));
  EXPECT_EQ(Get(kWriter), 160u);
  Receive(reader, 60, 1);
  Set(kReader, 0xdeadbee0);
  Receive(reader, 60, 2);
  EXPECT_EQ(Get(kReader), 160u);
}

TEST_F(Ring, attach_at_any_state_makes_a_ring_that_works) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    for (size_t i = 0; i < kBytes; i += 4) {
      if (i < 128 || i % 64 < 4) Set(i, random());
    }
    FrameWriter writer = Writer();
    FrameReader reader = Reader();
    for (int i = 0; i < 40 && reader.Next().has_value(); ++i) reader.Consume();
    ASSERT_FALSE(reader.Next().has_value());
    ASSERT_TRUE(Send(writer, 65550, 1));
    // A fault that only the writer could see may have cost the reader this frame.
    if (reader.Next().has_value()) Receive(reader, 65550, 1);
    ASSERT_TRUE(Send(writer, 65550, 2));
    Receive(reader, 65550, 2);
  }
}

TEST_F(Ring, memory_that_cannot_hold_a_ring_is_refused) {
  EXPECT_EQ(FrameWriter::Attach(memory().subspan(8)).error(), Status::kInvalidArgument);
  EXPECT_EQ(FrameReader::Attach(memory().subspan(1)).error(), Status::kInvalidArgument);
  for (const size_t bytes : {size_t{0}, size_t{4095}, size_t{4096}, kBytes - 1}) {
    EXPECT_EQ(FrameWriter::Attach(memory().first(bytes)).error(), Status::kInvalidArgument);
    EXPECT_EQ(FrameReader::Attach(memory().first(bytes)).error(), Status::kInvalidArgument);
  }
}

// Two threads that sleep whenever the ring tells them to: a lost wake-up hangs here.
// In how many words of its own a side notices damage.
template <typename Side>
int DamagedWords(const Side& good, std::span<std::byte> memory) {
  static_assert(sizeof(Side) % sizeof(uint32_t) == 0);
  EXPECT_TRUE(good.IsIntact(memory));
  int damaged = 0;
  for (size_t i = 0; i < sizeof(Side) / sizeof(uint32_t); ++i) {
    Side side = good;
    uint32_t word;
    std::memcpy(&word, reinterpret_cast<std::byte*>(&side) + i * sizeof word, sizeof word);
    word ^= 0x4000'0010;
    std::memcpy(reinterpret_cast<std::byte*>(&side) + i * sizeof word, &word, sizeof word);
    damaged += !side.IsIntact(memory);
  }
  return damaged;
}

TEST_F(Ring, a_side_whose_own_words_were_written_over_is_not_intact) {
  constexpr int kOfSpans = 8;
  constexpr int kOfPlace = 2;
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  Send(writer, 100, 1);
  Send(writer, 100, 2);
  Receive(reader, 100, 1);
  EXPECT_EQ(DamagedWords(writer, memory()), kOfSpans + kOfPlace + 1);
  EXPECT_EQ(DamagedWords(reader, memory()), kOfSpans + kOfPlace + 1);
}

// It would give old frames again, or write over frames that nobody has read.
TEST_F(Ring, a_side_whose_place_was_written_over_uses_it_no_more) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  for (uint8_t i = 0; i < 4; ++i) Send(writer, 100, i);
  for (uint8_t i = 0; i < 3; ++i) Receive(reader, 100, i);
  const auto move_back = [](FrameRing& side) {
    const uint32_t place = side.position();
    auto* const words = reinterpret_cast<uint32_t*>(&side);
    uint32_t* const copy = std::find(words, words + sizeof(FrameRing) / sizeof(uint32_t), place);
    ASSERT_NE(copy, words + sizeof(FrameRing) / sizeof(uint32_t));
    *copy = 0;
  };
  const uint32_t before = Get(kReader);
  const FrameReader whole = reader;
  move_back(reader);
  EXPECT_FALSE(reader.IsIntact(memory()));
  EXPECT_DEATH((void)reader.Next(), "");
  EXPECT_DEATH((void)reader.Wait(), "");
  move_back(writer);
  EXPECT_FALSE(writer.IsIntact(memory()));
  EXPECT_DEATH((void)writer.Reserve(100), "");
  EXPECT_EQ(Get(kReader), before);
  reader = Reader();  // a new instance
  Receive(reader, 100, 3);
  EXPECT_EQ(reader.position(), whole.position() + before / 3);
}

TEST_F(Ring, no_peer_makes_a_side_look_damaged) {
  FrameWriter writer = Writer();
  FrameReader reader = Reader();
  Send(writer, 100, 1);
  Set(kReader, 0x1234'5678);
  Set(kWriter, 0x8765'4321);
  EXPECT_TRUE(writer.IsIntact(memory()));
  EXPECT_TRUE(reader.IsIntact(memory()));
}

TEST_F(Ring, two_threads_lose_neither_frames_nor_wake_ups) {
  constexpr uint32_t kFrames = 20000;
  std::atomic<uint32_t> frames_came{0}, room_came{0};
  const auto wait = [](std::atomic<uint32_t>& signal) {
    signal.wait(0);
    signal.store(0);
  };
  const auto notify = [](std::atomic<uint32_t>& signal) {
    signal.store(1);
    signal.notify_one();
  };
  std::thread sender([&] {
    FrameWriter writer = Writer();
    Random random(3);
    for (uint32_t i = 0; i < kFrames; ++i) {
      const uint32_t bytes = random() % 16 == 0 ? 65550 : 14 + random() % 300;
      while (!Send(writer, bytes, static_cast<uint8_t>(i))) wait(room_came);
      if (writer.ReaderWaits()) notify(frames_came);
    }
  });
  FrameReader reader = Reader();
  Random random(3);
  uint32_t received = 0;
  while (received < kFrames) {
    const std::optional<Frame> frame = reader.Next();
    if (!frame.has_value()) {
      if (!reader.Wait()) wait(frames_came);
      continue;
    }
    const uint32_t bytes = random() % 16 == 0 ? 65550 : 14 + random() % 300;
    EXPECT_EQ(frame->header.bytes, bytes);
    EXPECT_EQ(frame->header.flow, received & 0xff);
    EXPECT_EQ(frame->bytes.back(), std::byte(received & 0xff));
    reader.Consume();
    if (reader.WriterWaits()) notify(room_came);
    ++received;
  }
  sender.join();
  EXPECT_EQ(reader.faults(), 0u);
}

}  // namespace
}  // namespace atoll::net
