#include "services/supervisor/plan.h"

#include <pb_decode.h>

#include <algorithm>
#include <optional>

namespace atoll {
namespace {

// Bytes of records of a well-formed plan; a length that is larger is not even
// tried.
constexpr uint64_t kMaxRecordBytes = atoll_PlanRecord_size;

// Protocol Buffers' encoding, as far as plans have it.
struct Field {
  uint32_t number = 0;
  uint64_t value = 0;               // of a varint
  std::span<const std::byte> body;  // of what has a length
};

std::optional<uint64_t> TakeVarint(std::span<const std::byte>& rest) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<uint64_t>(rest[0]);
    rest = rest.subspan(1);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// Nothing at the end, or if it is no such encoding.
std::optional<Field> TakeField(std::span<const std::byte>& rest) {
  constexpr uint64_t kVarint = 0, kLength = 2, kWireTypeMask = 7;
  const std::optional<uint64_t> key = TakeVarint(rest);
  const std::optional<uint64_t> value = TakeVarint(rest);
  if (!key || !value) return std::nullopt;
  Field field{.number = static_cast<uint32_t>(*key >> 3), .value = *value, .body = {}};
  if ((*key & kWireTypeMask) == kVarint) return field;
  if ((*key & kWireTypeMask) != kLength || *value > rest.size()) return std::nullopt;
  field.body = rest.first(*value);
  rest = rest.subspan(*value);
  return field;
}

}  // namespace

LogLine PlanProblem(uint32_t record, std::string_view reason) {
  return LogLine(kPlanFile).Append(": record ").Decimal(record).Append(": ").Append(reason);
}

Checked<PlanReader> PlanReader::Open(std::span<const std::byte> file) {
  PlanReader reader;
  reader.rest_ = file;
  atoll_PlanRecord record;
  if (auto taken = reader.Take(); !taken) return std::unexpected(taken.error());
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
  const Checked<bool> taken = TakeNext();
  if (!taken || !*taken) return taken;
  if (auto decoded = Decode(record); !decoded) return std::unexpected(decoded.error());
  return true;
}

Checked<bool> PlanReader::Next(PlanOutline& outline) {
  const Checked<bool> taken = TakeNext();
  if (!taken || !*taken) return taken;
  outline = {};
  std::span<const std::byte> rest = body_, inner;
  while (const std::optional<Field> field = TakeField(rest)) {
    if (field->number == atoll_PlanRecord_owner_vm_tag) {
      outline.owner_vm = static_cast<uint32_t>(field->value);
    } else {
      outline.which = static_cast<pb_size_t>(field->number);
      inner = field->body;
    }
  }
  static_assert(atoll_PlanObject_slot_tag == atoll_PlanMemory_slot_tag);
  if (outline.which != atoll_PlanRecord_object_tag &&
      outline.which != atoll_PlanRecord_memory_tag) {
    return true;
  }
  while (const std::optional<Field> field = TakeField(inner)) {
    if (field->number == atoll_PlanObject_slot_tag) {
      outline.slot = static_cast<uint32_t>(field->value);
    }
  }
  return true;
}

Checked<bool> PlanReader::TakeNext() {
  if (read_ < header_.records) {
    if (auto taken = Take(); !taken) return std::unexpected(taken.error());
    return true;
  }
  if (std::ranges::any_of(rest_, [](std::byte byte) { return byte != std::byte{0}; })) {
    return std::unexpected(PlanProblem(read_, "is one more than header.records says"));
  }
  return false;
}

Checked<void> PlanReader::Take() {
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
  body_ = rest_.subspan(start, length);
  rest_ = rest_.subspan(start + length);
  return {};
}

Checked<void> PlanReader::Decode(atoll_PlanRecord& record) {
  pb_istream_t body =
      pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(body_.data()), body_.size());
  record = atoll_PlanRecord_init_zero;
  if (!pb_decode(&body, atoll_PlanRecord_fields, &record)) {
    return std::unexpected(PlanProblem(index(), PB_GET_ERROR(&body)));
  }
  if (record.which_record == 0) return std::unexpected(PlanProblem(index(), "is of no known kind"));
  return {};
}

}  // namespace atoll
