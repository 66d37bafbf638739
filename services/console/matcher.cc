#include "services/console/matcher.h"

#include <string.h>

#include <algorithm>
#include <atomic>
#include <span>

namespace atoll {
namespace {

constexpr size_t kChunk = 512;
static_assert(kChunk > Expectation::kTextBytes);

}  // namespace

bool Matcher::IsArmed() {
  const uint32_t number = std::atomic_ref(expectation_.armed).load(std::memory_order_acquire);
  if (number == 0 || std::atomic_ref(expectation_.met).load(std::memory_order_relaxed) == number) {
    number_ = 0;
    return false;
  }
  if (number == number_) return true;
  text_bytes_ = expectation_.text_bytes;
  text_ = expectation_.text;
  vm_ = expectation_.vm;
  std::atomic_thread_fence(std::memory_order_acquire);
  // It was changed meanwhile, and a signal says so; or it is none.
  if (std::atomic_ref(expectation_.armed).load(std::memory_order_relaxed) != number) return false;
  if (text_bytes_ == 0 || text_bytes_ > text_.size()) return false;
  number_ = number;
  looked_ = state_.searched;
  return true;
}

std::optional<uint32_t> Matcher::Find(uint32_t guest, std::string_view name,
                                      const ByteRingReader& output, size_t& budget) {
  const std::string_view vm(vm_.data(), strnlen(vm_.data(), vm_.size()));
  if (!vm.empty() && vm != name) return std::nullopt;
  const uint32_t end = output.Written();
  uint32_t& at = looked_[guest];
  // Also if the ring's indices make no sense.
  if (end - at > output.capacity()) at = end - static_cast<uint32_t>(output.capacity());
  const std::string_view text(text_.data(), text_bytes_);
  while (budget != 0 && end - at >= text.size()) {
    std::array<char, kChunk> chunk;
    const std::span<char> bytes = std::span(chunk).first(std::min<size_t>(kChunk, end - at));
    output.CopyFrom(at, std::as_writable_bytes(bytes));
    budget -= std::min(budget, bytes.size());
    const auto found = std::ranges::search(bytes, text);
    if (!found.empty()) {
      return at + static_cast<uint32_t>(found.begin() - bytes.begin() + text.size());
    }
    at += static_cast<uint32_t>(bytes.size() - (text.size() - 1));
  }
  return std::nullopt;
}

}  // namespace atoll
