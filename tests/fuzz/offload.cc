#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "services/net/segmenter.h"
#include "tests/fuzz/offload_fuzz.h"

namespace atoll::net {
namespace {

void Require(bool invariant) {
  if (!invariant) std::abort();
}

void Cut(const FrameHeader& header, std::span<const std::byte> frame,
         Segmenter::Checksum checksum) {
  auto segmenter = Segmenter::Make(header, frame, checksum);
  Require(segmenter.has_value());  // the header passed validation
  Require(segmenter->count() >= 1 && segmenter->count() <= kMaxSegments);
  size_t payload = 0;
  uint32_t segments = 0;
  for (uint32_t next; (next = segmenter->NextBytes()) != 0; ++segments) {
    const auto segment = segmenter->Next();
    Require(segment.has_value());
    Require(segment->head.size() == header.header_bytes && !segment->payload.empty());
    Require(segment->payload.size() <= header.gso_size);
    Require(segment->header.bytes == next &&
            next == segment->head.size() + segment->payload.size());
    Require(segment->payload.data() == frame.data() + segment->head.size() + payload);
    payload += segment->payload.size();
  }
  Require(segments == segmenter->count());
  Require(header.header_bytes + payload == frame.size());
}

}  // namespace

void FuzzOffload(std::span<const std::byte> input) {
  FrameHeader header;
  if (input.size() < sizeof header) return;
  std::memcpy(&header, input.data(), sizeof header);
  std::vector<std::byte> frame(input.begin() + sizeof header, input.end());
  header.bytes = static_cast<uint32_t>(frame.size());

  const std::span head = std::span(frame).first(std::min(frame.size(), kHeadBytes));
  const auto valid = ValidateOffload(header, head);
  if (valid.has_value()) {
    Require(valid->bytes == frame.size());
    // What is canonical stays as it is.
    const auto again = ValidateOffload(*valid, head);
    Require(again.has_value() && std::memcmp(&*again, &*valid, sizeof *valid) == 0);
    if (valid->gso_type != FrameHeader::kGsoNone) {
      Cut(*valid, frame, Segmenter::Checksum::kComplete);
      Cut(*valid, frame, Segmenter::Checksum::kLeftToReceiver);
    }
  } else {
    Require(!Segmenter::Make(header, frame, Segmenter::Checksum::kComplete).has_value());
  }
  CompleteChecksum(frame, header);  // whatever the header says
}

}  // namespace atoll::net
