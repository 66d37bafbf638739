// A stream of bytes each way between two ends that know what the other must send: numbered records of 64 bytes, whose
// content follows from sender, number and kind. A byte that is missing, doubled or another is seen.
#ifndef ATOLL_GUESTS_ORACLE_STREAM_H_
#define ATOLL_GUESTS_ORACLE_STREAM_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "guests/oracle/random.h"
#include "guests/oracle/report.h"

namespace oracle {

class Stream {
 public:
  enum class Kind : uint64_t {
    kNumbered,
    kLast,   // no numbered ones follow
    kKnows,  // ... and the sender has the other's last one
  };
  static constexpr uint32_t kRecordBytes = 64;

  explicit constexpr Stream(Report& report) : report_(report) {}

  // Numbers of the two ends; the same if what is sent comes back.
  void Start(uint64_t own, uint64_t peer) {
    own_ = own;
    peer_ = peer;
  }

  // The next bytes to be sent.
  void Give(uint8_t* to, uint32_t bytes, Kind kind = Kind::kNumbered) {
    while (bytes != 0) {
      if (out_at_ == 0) out_ = Make(own_, given_, kind);
      const uint32_t count = std::min(bytes, kRecordBytes - out_at_);
      std::memcpy(to, reinterpret_cast<const uint8_t*>(&out_) + out_at_, count);
      out_at_ = (out_at_ + count) % kRecordBytes;
      if (out_at_ == 0) ++given_;
      to += count;
      bytes -= count;
    }
  }
  // The rest of the record that is under way, and one of this kind. How many bytes; kEndBytes at most.
  static constexpr uint32_t kEndBytes = 2 * kRecordBytes;
  uint32_t GiveEnd(uint8_t* to, Kind kind) {
    const uint32_t rest = out_at_ == 0 ? 0 : kRecordBytes - out_at_;
    Give(to, rest);
    Give(to + rest, kRecordBytes, kind);
    return rest + kRecordBytes;
  }

  // What has come.
  void Take(const uint8_t* from, uint32_t bytes) {
    while (bytes != 0 && !is_broken_) {
      const uint32_t count = std::min(bytes, kRecordBytes - in_at_);
      std::memcpy(reinterpret_cast<uint8_t*>(&in_) + in_at_, from, count);
      in_at_ += count;
      from += count;
      bytes -= count;
      if (in_at_ != kRecordBytes) continue;
      in_at_ = 0;
      TakeRecord();
    }
  }

  uint64_t given() const { return given_; }  // whole records
  uint64_t taken() const { return taken_; }
  bool peer_ended() const { return peer_ended_; }
  bool peer_knows() const { return peer_knows_; }
  bool is_broken() const { return is_broken_; }

 private:
  struct Record {
    uint64_t number, kind;
    uint64_t content[6];
  };
  static_assert(sizeof(Record) == kRecordBytes);

  static Record Make(uint64_t sender, uint64_t number, Kind kind) {
    Record record{.number = number, .kind = static_cast<uint64_t>(kind), .content = {}};
    uint64_t word = Mix(sender << 56 ^ record.kind << 48 ^ number);
    for (uint64_t& content : record.content) content = word = Mix(word + 1);
    return record;
  }

  void TakeRecord() {
    const auto kind = static_cast<Kind>(in_.kind);
    const Record wanted = Make(peer_, taken_, kind);
    const bool follows = kind <= Kind::kKnows && (kind != Kind::kNumbered || !peer_ended_);
    if (!follows || std::memcmp(&in_, &wanted, sizeof(wanted)) != 0) {
      report_.Lost("the stream is not the peer's: record, its number, its kind", taken_, in_.number,
                   in_.kind);
      is_broken_ = true;
      return;
    }
    ++taken_;
    if (kind == Kind::kNumbered) report_.Done();
    peer_ended_ = peer_ended_ || kind != Kind::kNumbered;
    peer_knows_ = peer_knows_ || kind == Kind::kKnows;
  }

  Report& report_;
  uint64_t own_ = 0, peer_ = 0;
  Record out_ = {}, in_ = {};
  uint32_t out_at_ = 0, in_at_ = 0;  // bytes of them that were given and taken
  uint64_t given_ = 0, taken_ = 0;
  bool peer_ended_ = false, peer_knows_ = false, is_broken_ = false;
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_STREAM_H_
