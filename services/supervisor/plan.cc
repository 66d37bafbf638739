#include "services/supervisor/plan.h"

#include <pb_decode.h>

#include <algorithm>

namespace atoll {
namespace {

// Bytes of records of a well-formed plan; a length that is larger is not even
// tried.
constexpr uint64_t kMaxRecordBytes = atoll_PlanRecord_size;

}  // namespace

LogLine PlanProblem(uint32_t record, std::string_view reason) {
  return LogLine(kPlanFile).Append(": record ").Decimal(record).Append(": ").Append(reason);
}

Checked<PlanReader> PlanReader::Open(std::span<const std::byte> file) {
  PlanReader reader;
  reader.rest_ = file;
  atoll_PlanRecord record;
  if (auto decoded = reader.Decode(record); !decoded) return std::unexpected(decoded.error());
  if (record.which_record != atoll_PlanRecord_header_tag) {
    return std::unexpected(PlanProblem(0, "is not the header"));
  }
  reader.header_ = record.record.header;
  if (reader.header_.version != kPlanVersion) {
    return std::unexpected(PlanProblem(0, "header.version is ")
                               .Decimal(reader.header_.version)
                               .Append(", this supervisor reads ")
                               .Decimal(kPlanVersion));
  }
  return reader;
}

Checked<bool> PlanReader::Next(atoll_PlanRecord& record) {
  if (read_ < header_.records) {
    if (auto decoded = Decode(record); !decoded) return std::unexpected(decoded.error());
    return true;
  }
  if (std::ranges::any_of(rest_, [](std::byte byte) { return byte != std::byte{0}; })) {
    return std::unexpected(PlanProblem(read_, "is one more than header.records says"));
  }
  return false;
}

Checked<void> PlanReader::Decode(atoll_PlanRecord& record) {
  const uint32_t index = read_++;
  auto* const bytes = reinterpret_cast<const pb_byte_t*>(rest_.data());
  pb_istream_t stream = pb_istream_from_buffer(bytes, rest_.size());
  uint32_t length = 0;
  if (!pb_decode_varint32(&stream, &length) || length == 0 || length > stream.bytes_left) {
    return std::unexpected(PlanProblem(index, "the plan ends before it"));
  }
  if (length > kMaxRecordBytes) {
    return std::unexpected(PlanProblem(index, "is longer than a record can be"));
  }
  const size_t start = rest_.size() - stream.bytes_left;
  pb_istream_t body = pb_istream_from_buffer(bytes + start, length);
  record = atoll_PlanRecord_init_zero;
  if (!pb_decode(&body, atoll_PlanRecord_fields, &record)) {
    return std::unexpected(PlanProblem(index, PB_GET_ERROR(&body)));
  }
  if (record.which_record == 0) return std::unexpected(PlanProblem(index, "is of no known kind"));
  rest_ = rest_.subspan(start + length);
  return {};
}

}  // namespace atoll
