#include "guests/oracle/disk.h"

namespace oracle {
namespace {

inline constexpr uint32_t kPerRequest = 3;
inline constexpr uint32_t kEntries = 64;
inline constexpr uint32_t kTries = 8;
inline constexpr uint32_t kFlushFeature = 1u << 9;
static_assert(DiskOracle::kDepthMax * kPerRequest <= kEntries);

using Queue = Virtqueue<kEntries>;
Queue queue;
struct {
  uint32_t type, reserved;
  uint64_t sector;
} headers[DiskOracle::kDepthMax];
volatile uint8_t statuses[DiskOracle::kDepthMax];
alignas(4096) uint64_t data[DiskOracle::kDepthMax][DiskOracle::kSpanMax * DiskOracle::kWords];

}  // namespace

bool DiskOracle::Start(uint32_t slot) {
  transport_ = Transport(slot);
  if (transport_.device_id() != Transport::kBlock || !transport_.Negotiate(kFlushFeature)) {
    report_.Lost("the disk does not start", slot);
    return false;
  }
  queue.Attach(transport_, 0);
  Attach(slot, *this);
  if (!transport_.Run()) {
    report_.Lost("the disk does not run", slot);
    return false;
  }
  for (uint32_t sector = 0; sector < kSectors; sector += kSpanMax) {
    if (!WaitUntilBusy(kDepthMax - 1)) return false;
    Begin(Kind::kWrite, sector, kSpanMax);
  }
  return WaitUntilBusy(0);
}

void DiskOracle::Round(uint32_t requests, uint32_t depth, uint32_t span) {
  for (uint32_t i = 0; i < requests && !is_stuck_; ++i) {
    if (WaitUntilBusy(depth - 1)) Submit(depth, span);
  }
  WaitUntilBusy(0);
}

void DiskOracle::WriteAndRead(uint32_t span) {
  const uint32_t sector = random_.Below(kSectors - span + 1);
  for (const Kind kind : {Kind::kWrite, Kind::kRead}) {
    Begin(kind, sector, span);
    if (!WaitUntilBusy(0)) return;
  }
}

void DiskOracle::Finish() {
  for (uint32_t sector = 0; sector < kSectors; sector += kSpanMax) {
    if (WaitUntilBusy(0)) Begin(Kind::kRead, sector, kSpanMax);
  }
  WaitUntilBusy(0);
  if (!transport_.is_running()) report_.Lost("the device is not running any more");
  report_.Begin();
  report_.Pair("writes", writes_);
  report_.Pair("reads", reads_);
  report_.Pair("flushes", flushes_);
  report_.End();
}

void DiskOracle::Submit(uint32_t, uint32_t span) {
  for (uint32_t i = 0; i < kTries; ++i) {
    const uint32_t choice = random_.Below(16);
    const Kind kind = choice == 0 ? Kind::kFlush : choice % 2 == 0 ? Kind::kRead : Kind::kWrite;
    const uint32_t count = 1 + random_.Below(span);
    const uint32_t sector = random_.Below(kSectors - count + 1);
    if (!MayBegin(kind, sector, count)) continue;
    Begin(kind, sector, count);
    return;
  }
}

bool DiskOracle::MayBegin(Kind kind, uint32_t sector, uint32_t count) const {
  if (kind == Kind::kFlush) return true;
  for (uint32_t i = sector; i < sector + count; ++i) {
    const Sector& one = sectors_[i];
    if (kind == Kind::kRead ? one.writers != 0 : one.readers != 0 || one.is_closed) return false;
  }
  return true;
}

void DiskOracle::Begin(Kind kind, uint32_t sector, uint32_t count) {
  if (is_stuck_) return;  // what it gave up on keeps its place
  uint32_t slot = 0;
  while (requests_[slot].is_busy) ++slot;
  Request& request = requests_[slot];
  if (kind == Kind::kFlush) sector = count = 0;
  request = {true, kind, sector, count, kind == Kind::kWrite ? ++versions_ : 0};
  for (uint32_t i = 0; i < count; ++i) {
    Sector& one = sectors_[sector + i];
    if (kind == Kind::kRead) {
      ++one.readers;
      continue;
    }
    one.is_closed = one.writers != 0;
    one.other = one.writers != 0 ? one.version : 0;
    one.version = request.version;
    ++one.writers;
    Fill(&data[slot][i * kWords], sector + i, request.version);
  }
  if (kind == Kind::kRead) {
    for (uint32_t i = 0; i < count; ++i) data[slot][i * kWords] = ~0ull;
  }
  headers[slot] = {static_cast<uint32_t>(kind), 0, sector};
  statuses[slot] = 0xff;
  const uint32_t head = slot * kPerRequest;
  queue.Describe(head, AddressOf(headers[slot]), sizeof(Header), Queue::kNext,
                 kind == Kind::kFlush ? head + 2 : head + 1);
  queue.Describe(head + 1, AddressOf(data[slot]), count * 512,
                 kind == Kind::kRead ? Queue::kNext | Queue::kDeviceWrites : Queue::kNext,
                 head + 2);
  queue.Describe(head + 2, AddressOf(statuses[slot]), 1, Queue::kDeviceWrites, 0);
  ++busy_;
  queue.Offer(head);
  transport_.Notify(0);
}

void DiskOracle::OnInterrupt() {
  if (!queue.IsSane()) {
    report_.Lost("the used index is ahead of what was offered");
    is_stuck_ = true;
    return;
  }
  while (queue.HasUsed()) {
    const Queue::Used used = queue.TakeUsed();
    const uint32_t slot = used.id / kPerRequest;
    if (used.id % kPerRequest != 0 || slot >= kDepthMax || !requests_[slot].is_busy) {
      report_.Lost("a request that is not under way was completed", used.id);
    } else {
      End(slot, used.length);
    }
  }
}

void DiskOracle::End(uint32_t slot, uint32_t length) {
  Request& request = requests_[slot];
  request.is_busy = false;
  --busy_;
  const uint32_t written = request.kind == Kind::kRead ? request.count * 512 + 1 : 1;
  if (statuses[slot] != 0) {
    report_.Lost("I/O error", statuses[slot], static_cast<uint32_t>(request.kind), request.sector);
  }
  if (length != written) report_.Lost("used length", length, written);
  if (request.kind == Kind::kRead && statuses[slot] == 0) Check(request, data[slot]);
  for (uint32_t i = 0; i < request.count; ++i) {
    Sector& one = sectors_[request.sector + i];
    if (request.kind == Kind::kRead) {
      --one.readers;
    } else if (--one.writers == 0) {
      one.is_closed = false;
    }
  }
  ++(request.kind == Kind::kRead ? reads_ : request.kind == Kind::kWrite ? writes_ : flushes_);
  report_.Done();
}

void DiskOracle::Check(const Request& request, const uint64_t* words) {
  for (uint32_t i = 0; i < request.count; ++i, words += kWords) {
    const uint32_t number = request.sector + i;
    Sector& one = sectors_[number];
    const auto version = static_cast<uint32_t>(words[0]);
    if (words[0] >> 32 != number) {
      report_.Lost("corrupted sector", number, words[0] >> 32, version);
      continue;
    }
    if (version != one.version && (one.other == 0 || version != one.other)) {
      report_.Lost(version < one.version ? "acknowledged write of sector" : "corrupted version of",
                   number, one.version, version);
      continue;
    }
    one.version = version;  // from now on it is this one
    one.other = 0;
    uint64_t expected[kWords];
    Fill(expected, number, version);
    for (uint32_t word = 0; word < kWords; ++word) {
      if (words[word] == expected[word]) continue;
      report_.Lost("corrupted sector, version, word", number, version, word);
      break;
    }
  }
}

bool DiskOracle::WaitUntilBusy(uint32_t count) {
  if (is_stuck_) return false;
  if (WaitFor([&] { return busy_ <= count || is_stuck_; })) return !is_stuck_;
  is_stuck_ = true;
  report_.Lost(queue.HasUsed() ? "interrupt of completed requests" : "requests never completed",
               busy_);
  return false;
}

void DiskOracle::Fill(uint64_t* words, uint32_t sector, uint32_t version) {
  words[0] = uint64_t{sector} << 32 | version;
  uint64_t word = Mix(words[0]);
  for (uint32_t i = 1; i < kWords; ++i) words[i] = word += 0x9e37'79b9'7f4a'7c15;
}

}  // namespace oracle
