#include "tests/kernel/inventory.h"

#include <algorithm>
#include <array>
#include <span>

#include "tests/kernel/harness.h"

namespace atoll::test::inventory {
namespace {

struct Record {
  enum Kind : uint32_t { kGone, kObject, kMapping, kGrant } kind = kGone;
  uint32_t object = 0;  // kObject: its slot; kMapping: the space; kGrant: the task
  uint32_t slot = 0;    // kGrant: the slot in its table
  ObjectType type = ObjectType::kNone;
  uint64_t address = 0;
  uint64_t bytes = 0;
};

constinit std::array<Record, 512> records;
constinit size_t count = 0;

std::span<Record> All() { return std::span(records).first(count); }

void Add(const Record& record) {
  if (count == records.size()) {  // keeps the order
    const auto end = std::remove_if(records.begin(), records.end(),
                                    [](const Record& r) { return r.kind == Record::kGone; });
    count = static_cast<size_t>(end - records.begin());
  }
  if (count == records.size()) GiveUp("harness: too many objects in one test");
  records[count++] = record;
}

void StopEverything() {
  for (const Record& record : All()) {
    if (record.kind != Record::kObject) continue;
    if (record.type == ObjectType::kTask) EXPECT_OK(kernel::KillTask({record.object}));
    if (record.type == ObjectType::kVcpu) EXPECT_OK(kernel::StopVcpu({record.object}));
  }
}

// Front first: mappings that continue each other are one.
void UnmapAndRevokeEverything() {
  for (Record& record : All()) {
    if (record.kind == Record::kMapping) {
      EXPECT_OK(UnmapAll(record.object, record.address, record.bytes));
      record.kind = Record::kGone;
    } else if (record.kind == Record::kGrant) {
      EXPECT_OK(kernel::GrantHandle(kSelf, {.task = record.object, .slot = record.slot}));
      record.kind = Record::kGone;
    }
  }
}

// Objects refer to each other: again and again, as long as one goes.
void DestroyEverything() {
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t i = count; i-- > 0;) {
      Record& record = records[i];
      if (record.kind != Record::kObject || !IsOk(kernel::DestroyObject({record.object}))) continue;
      record.kind = Record::kGone;
      progress = true;
    }
  }
  for (const Record& record : All()) {
    if (record.kind == Record::kGone) continue;
    char buffer[kLogLineBytes];
    ReportFailure(Format(buffer, "FAILED harness: object of type ", AsNumber(record.type),
                         " in slot ", record.object,
                         " is not destroyed: ", kernel::DestroyObject({record.object})));
  }
}

}  // namespace

void AddObject(uint32_t slot, ObjectType type) {
  Add({.kind = Record::kObject, .object = slot, .type = type});
}

void AddMapping(uint32_t space, uint64_t address, uint64_t bytes) {
  Add({.kind = Record::kMapping, .object = space, .address = address, .bytes = bytes});
}

void AddGrant(uint32_t task, uint32_t slot) {
  Add({.kind = Record::kGrant, .object = task, .slot = slot});
}

void ForgetObject(uint32_t slot) {
  for (Record& record : All()) {
    if (record.object == slot) record.kind = Record::kGone;
  }
}

void ForgetMapping(uint32_t space, uint64_t address) {
  for (Record& record : All()) {
    if (record.kind == Record::kMapping && record.object == space && record.address == address) {
      record.kind = Record::kGone;
    }
  }
}

Status UnmapAll(uint32_t space, uint64_t address, uint64_t bytes) {
  while (bytes > 0) {
    const auto done = kernel::UnmapMemory({space}, {.address = address, .bytes = bytes});
    if (!done.has_value()) return done.error();
    address += done->bytes;
    bytes -= done->bytes;
  }
  return Status::kOk;
}

void UnmapSpace(uint32_t space) {
  for (Record& record : All()) {
    if (record.kind != Record::kMapping || record.object != space) continue;
    if (!IsOk(UnmapAll(space, record.address, record.bytes)))
      GiveUp("harness: a space is not unmapped");
    record.kind = Record::kGone;
  }
}

void TakeBack() {
  StopEverything();
  UnmapAndRevokeEverything();
  DestroyEverything();
  count = 0;
}

void Forget() { count = 0; }

}  // namespace atoll::test::inventory
