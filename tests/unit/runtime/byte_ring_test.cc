#include "services/runtime/byte_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace atoll {
namespace {

constexpr size_t kCapacity = 16;

// Shared memory with nothing readable around it (ASan), and a peer that writes what it likes.
class Ring : public testing::Test {
 protected:
  std::span<std::byte> memory() { return memory_; }

  void SetIndex(size_t offset, uint32_t value) {
    std::memcpy(memory_.data() + offset, &value, sizeof value);
  }
  uint32_t Index(size_t offset) const {
    uint32_t value;
    std::memcpy(&value, memory_.data() + offset, sizeof value);
    return value;
  }
  void SetWriter(uint32_t value) { SetIndex(0, value); }
  void SetReader(uint32_t value) { SetIndex(64, value); }

  ByteRingWriter Writer() { return *ByteRingWriter::Attach(memory()); }
  ByteRingReader Reader() { return *ByteRingReader::Attach(memory()); }

  static std::span<const std::byte> Bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }
  static std::string Read(ByteRingReader& reader, size_t limit = 100) {
    std::string text(limit, '\0');
    text.resize(reader.Read(std::as_writable_bytes(std::span(text))));
    return text;
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(ByteRing::kHeaderBytes + kCapacity);
};

TEST_F(Ring, zeroed_memory_is_an_empty_ring) {
  EXPECT_EQ(Writer().Free(), kCapacity);
  EXPECT_EQ(Reader().Available(), 0u);
  EXPECT_EQ(Writer().capacity(), kCapacity);
}

TEST_F(Ring, bytes_come_out_in_order) {
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  EXPECT_EQ(writer.Write(Bytes("hello")), 5u);
  EXPECT_EQ(reader.Available(), 5u);
  EXPECT_EQ(Read(reader, 2), "he");
  EXPECT_EQ(writer.Write(Bytes(" you")), 4u);
  EXPECT_EQ(Read(reader), "llo you");
  EXPECT_EQ(Read(reader), "");
}

TEST_F(Ring, full_ring_takes_what_fits) {
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  EXPECT_EQ(writer.Write(Bytes("0123456789abcdefXYZ")), kCapacity);
  EXPECT_EQ(writer.Free(), 0u);
  EXPECT_EQ(writer.Write(Bytes("X")), 0u);
  EXPECT_EQ(Read(reader), "0123456789abcdef");
  EXPECT_EQ(writer.Free(), kCapacity);
}

TEST_F(Ring, wraps_at_the_end_of_the_data_and_of_the_index) {
  SetWriter(0xffffffff - 4);
  SetReader(0xffffffff - 4);
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  EXPECT_EQ(writer.Write(Bytes("0123456789abcdef")), kCapacity);
  EXPECT_EQ(Index(0), 11u);
  EXPECT_EQ(Read(reader), "0123456789abcdef");
  EXPECT_EQ(writer.Free(), kCapacity);
}

TEST_F(Ring, random_traffic_is_not_lost_doubled_or_reordered) {
  SetWriter(0xfffffff0);
  SetReader(0xfffffff0);
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  std::mt19937 random(1);
  uint8_t sent = 0, received = 0;
  for (int round = 0; round < 5000; ++round) {
    std::array<std::byte, 24> bytes;
    const size_t wanted = random() % bytes.size();
    for (size_t i = 0; i < wanted; ++i) bytes[i] = static_cast<std::byte>(sent + i);
    sent = static_cast<uint8_t>(sent + writer.Write(std::span(bytes).first(wanted)));
    const size_t count = reader.Read(std::span(bytes).first(random() % bytes.size()));
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(bytes[i], static_cast<std::byte>(received++));
  }
}

TEST_F(Ring, peeked_bytes_stay_until_consumed) {
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  ASSERT_EQ(writer.Write(Bytes("abcd")), 4u);
  std::array<std::byte, 8> bytes;
  EXPECT_EQ(reader.Peek(bytes), 4u);
  EXPECT_EQ(Reader().Available(), 4u);  // a reader that died here would see them again
  reader.Consume(3);
  EXPECT_EQ(Read(reader), "d");
  reader.Consume(100);
  EXPECT_EQ(writer.Free(), kCapacity);
}

TEST_F(Ring, either_side_may_start_anew) {
  ByteRingReader reader = Reader();
  ASSERT_EQ(Writer().Write(Bytes("one ")), 4u);
  ASSERT_EQ(Writer().Write(Bytes("two ")), 4u);
  EXPECT_EQ(Read(reader, 4), "one ");
  ByteRingReader next = Reader();
  ASSERT_EQ(Writer().Write(Bytes("three")), 5u);
  EXPECT_EQ(Read(next), "two three");
}

TEST_F(Ring, hostile_reader_index_means_no_room) {
  ByteRingWriter writer = Writer();
  ASSERT_EQ(writer.Write(Bytes("abc")), 3u);
  for (const uint32_t hostile : {4u, 100u, 0x7fffffffu, 0x80000000u, 0xffffff00u}) {
    SetReader(hostile);
    EXPECT_EQ(writer.Free(), 0u) << hostile;
    EXPECT_EQ(writer.Write(Bytes("x")), 0u) << hostile;
  }
  SetReader(3);
  EXPECT_EQ(writer.Free(), kCapacity);
}

TEST_F(Ring, hostile_writer_index_means_no_bytes) {
  ByteRingReader reader = Reader();
  std::array<std::byte, 64> bytes;
  for (const uint32_t hostile : {17u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    SetWriter(hostile);
    EXPECT_EQ(reader.Available(), 0u) << hostile;
    EXPECT_EQ(reader.Read(bytes), 0u) << hostile;
    reader.Consume(64);
    EXPECT_EQ(Index(64), 0u) << hostile;
  }
  SetWriter(16);
  EXPECT_EQ(reader.Read(bytes), kCapacity);
}

TEST_F(Ring, own_index_in_shared_memory_is_not_believed_while_running) {
  ByteRingWriter writer = Writer();
  ByteRingReader reader = Reader();
  ASSERT_EQ(writer.Write(Bytes("abc")), 3u);
  SetWriter(0xdeadbeef);  // by the peer
  ASSERT_EQ(writer.Write(Bytes("def")), 3u);
  EXPECT_EQ(Index(0), 6u);
  EXPECT_EQ(Read(reader), "abcdef");
}

TEST_F(Ring, contradicting_indices_at_attach_empty_the_ring) {
  SetWriter(1000);
  SetReader(5);
  EXPECT_EQ(Writer().Free(), kCapacity);
  EXPECT_EQ(Index(0), 5u);
  SetWriter(1000);
  EXPECT_EQ(Reader().Available(), 0u);
  EXPECT_EQ(Index(64), 1000u);
}

TEST_F(Ring, memory_that_cannot_hold_a_ring_is_refused) {
  alignas(64) std::array<std::byte, 256> bytes{};
  const std::span<std::byte> memory(bytes);
  for (const size_t size : {0, 64, 127, 128}) {
    EXPECT_EQ(ByteRingWriter::Attach(memory.first(size)).error(), Status::kInvalidArgument) << size;
    EXPECT_EQ(ByteRingReader::Attach(memory.first(size)).error(), Status::kInvalidArgument) << size;
  }
  EXPECT_EQ(ByteRingReader::Attach(memory.subspan(1)).error(), Status::kInvalidArgument);
  ASSERT_TRUE(ByteRingWriter::Attach(memory.first(129)).has_value());
  EXPECT_EQ(ByteRingWriter::Attach(memory.first(129))->capacity(), 1u);
  EXPECT_EQ(ByteRingWriter::Attach(memory.first(255))->capacity(), 64u);
}

}  // namespace
}  // namespace atoll
