#include "guests/oracle/rng.h"

namespace oracle {
namespace {

inline constexpr uint64_t kUntouched = 0xa5a5'a5a5'a5a5'a5a5;

Virtqueue<RngOracle::kBuffers> queue;
uint64_t buffers[RngOracle::kBuffers][RngOracle::kWords + 1];  // and one that stays as it is

}  // namespace

bool RngOracle::Start(uint32_t slot) {
  transport_ = Transport(slot);
  if (transport_.device_id() != Transport::kEntropy || !transport_.Negotiate(0)) {
    report_.Lost("the entropy device does not start", slot);
    return false;
  }
  queue.Attach(transport_, 0);
  Attach(slot, *this);
  if (transport_.Run()) return true;
  report_.Lost("the entropy device does not run", slot);
  return false;
}

void RngOracle::Round(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    wanted_[i] = 1 + random_.Below(kWords);
    for (uint64_t& word : buffers[i]) word = kUntouched;
    queue.Describe(i, AddressOf(buffers[i]), wanted_[i] * 8, decltype(queue)::kDeviceWrites, 0);
    ++busy_;
    queue.Offer(i);
  }
  transport_.Notify(0);
  if (WaitFor([&] { return busy_ == 0; })) return;
  report_.Lost("requests for random bytes never completed", busy_);
  busy_ = 0;
}

void RngOracle::OnInterrupt() {
  if (!queue.IsSane()) {
    report_.Lost("the used index of random bytes is ahead of what was offered");
    return;
  }
  while (queue.HasUsed()) {
    const auto used = queue.TakeUsed();
    if (used.id >= kBuffers || wanted_[used.id] == 0) {
      report_.Lost("a buffer that is not under way was filled", used.id);
      continue;
    }
    Check(used.id, used.length);
    wanted_[used.id] = 0;
    --busy_;
  }
}

void RngOracle::Check(uint32_t buffer, uint32_t length) {
  const uint32_t wanted = wanted_[buffer];
  if (length != wanted * 8) report_.Lost("random bytes: came, wanted", length, wanted * 8);
  for (uint32_t i = 0; i < wanted; ++i) {
    const uint64_t word = buffers[buffer][i];
    uint64_t& seen = seen_[word % kRemembered];
    if (word == kUntouched) report_.Lost("random bytes were not written", i, wanted);
    if (word == seen) report_.Lost("the same random bytes came twice", i, word);
    seen = word;
  }
  for (uint32_t i = wanted; i <= kWords; ++i) {
    if (buffers[buffer][i] != kUntouched) report_.Lost("random bytes beyond the buffer", i, wanted);
  }
  report_.Done();
}

void RngOracle::Finish() {
  if (!transport_.is_running()) report_.Lost("the entropy device is not running any more");
  report_.Begin();
  report_.End();
}

}  // namespace oracle
