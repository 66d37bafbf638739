// Well-formed ELF files, archives and plans, for tests to use or to damage.
#ifndef ATOLL_TESTS_UNIT_SUPERVISOR_SAMPLES_H_
#define ATOLL_TESTS_UNIT_SUPERVISOR_SAMPLES_H_

#include <pb_encode.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/address.h"
#include "proto/plan.pb.h"

namespace atoll::samples {

using Bytes = std::vector<std::byte>;

template <typename T>
void Put(Bytes& bytes, size_t offset, T value) {
  if (bytes.size() < offset + sizeof(value)) bytes.resize(offset + sizeof(value));
  std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

struct Segment {
  uint32_t flags = 5;  // PF_R 4, PF_W 2, PF_X 1
  uint64_t address = 0x40'0000;
  std::string data;
  uint64_t bytes = 0x1000;  // in memory
};

// An AArch64 ET_EXEC file; the data of segment i is at 0x1000 * (i + 1).
inline Bytes Elf(const std::vector<Segment>& segments, uint64_t entry = 0x40'0000) {
  Bytes file(0x1000);
  const std::string_view ident(
      "\x7f"
      "ELF\x02\x01\x01",
      7);
  std::memcpy(file.data(), ident.data(), ident.size());
  Put<uint16_t>(file, 16, 2);
  Put<uint16_t>(file, 18, 183);
  Put<uint32_t>(file, 20, 1);
  Put<uint64_t>(file, 24, entry);
  Put<uint64_t>(file, 32, 64);
  Put<uint16_t>(file, 52, 64);
  Put<uint16_t>(file, 54, 56);
  Put<uint16_t>(file, 56, static_cast<uint16_t>(segments.size()));
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const size_t header = 64 + i * 56;
    const uint64_t offset = 0x1000 * (i + 1);
    Put<uint32_t>(file, header, 1);
    Put<uint32_t>(file, header + 4, segment.flags);
    Put<uint64_t>(file, header + 8, offset);
    Put<uint64_t>(file, header + 16, segment.address);
    Put<uint64_t>(file, header + 24, segment.address);
    Put<uint64_t>(file, header + 32, segment.data.size());
    Put<uint64_t>(file, header + 40, segment.bytes);
    Put<uint64_t>(file, header + 48, 0x1000);
    if (file.size() < offset + segment.data.size()) file.resize(offset + segment.data.size());
    std::memcpy(file.data() + offset, segment.data.data(), segment.data.size());
  }
  return file;
}

// Code, and data with 0x1800 bytes of zeros after it.
inline Bytes ServiceElf() {
  return Elf({{.flags = 5, .address = 0x40'0000, .data = "code", .bytes = 4},
              {.flags = 6, .address = 0x40'1000, .data = "data", .bytes = 0x1804}});
}

inline Bytes ToBytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// A newc archive as scripts/archive.py writes it.
class ArchiveBuilder {
 public:
  ArchiveBuilder& Add(std::string_view name, Bytes data, bool whole_pages = true) {
    if (whole_pages) data.resize(AlignUp(data.size(), kPageSize));
    uint64_t name_bytes = name.size() + 1;
    if (whole_pages)
      name_bytes = AlignUp(bytes_.size() + 110 + name_bytes, kPageSize) - bytes_.size() - 110;
    Header(name_bytes, data.size());
    const size_t start = bytes_.size();
    Append(ToBytes(name));
    bytes_.resize(AlignUp(start + name_bytes, 4));
    Append(data);
    bytes_.resize(AlignUp(bytes_.size(), 4));
    return *this;
  }
  Bytes Build() {
    Header(11, 0);
    Append(ToBytes(std::string_view("TRAILER!!!\0", 11)));
    return bytes_;
  }

 private:
  void Header(uint64_t name_bytes, uint64_t file_bytes) {
    char header[111];
    std::snprintf(header, sizeof(header),
                  "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1, 0100444, 0, 0, 1,
                  0, static_cast<unsigned>(file_bytes), 0, 0, 0, 0,
                  static_cast<unsigned>(name_bytes), 0);
    Append(ToBytes(header));
  }
  void Append(const Bytes& bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  Bytes bytes_;
};

// Records one after another, each with its length.
class PlanBuilder {
 public:
  uint32_t owner = 0;  // of what is added: a VM's slot

  atoll_PlanRecord& Add(pb_size_t which) {
    records_.push_back(atoll_PlanRecord_init_zero);
    records_.back().which_record = which;
    records_.back().owner_vm = owner;
    return records_.back();
  }
  std::vector<atoll_PlanRecord>& records() { return records_; }

  uint32_t heartbeat_ms = 0;

  Bytes Build(uint32_t version = 1, uint32_t extra_records = 0, bool quiet = false) const {
    atoll_PlanRecord header = atoll_PlanRecord_init_zero;
    header.which_record = atoll_PlanRecord_header_tag;
    header.record.header = {.version = version,
                            .records = static_cast<uint32_t>(records_.size()) + 1 + extra_records,
                            .quiet = quiet,
                            .heartbeat_ms = heartbeat_ms,
                            .deadline_ms = 10};
    Bytes plan = Encode(header);
    for (const auto& record : records_) {
      const Bytes bytes = Encode(record);
      plan.insert(plan.end(), bytes.begin(), bytes.end());
    }
    return plan;
  }

  static Bytes Encode(const atoll_PlanRecord& record) {
    std::array<pb_byte_t, 2048> buffer;
    pb_ostream_t stream = pb_ostream_from_buffer(buffer.data(), buffer.size());
    if (!pb_encode_ex(&stream, atoll_PlanRecord_fields, &record, PB_ENCODE_DELIMITED)) std::abort();
    const auto bytes = std::as_bytes(std::span(buffer).first(stream.bytes_written));
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::vector<atoll_PlanRecord> records_;
};

inline void Copy(char* to, std::string_view text) {
  text.copy(to, text.size());
  to[text.size()] = '\0';
}

}  // namespace atoll::samples

#endif  // ATOLL_TESTS_UNIT_SUPERVISOR_SAMPLES_H_
