// Every state that a piece of code leaves watched memory in, store by store: what a successor would
// find, had the code been killed at any of its instructions. Works by single-stepping, on x86-64
// hosts.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_MEMORY_STATES_H_
#define ATOLL_TESTS_UNIT_VIRTIO_MEMORY_STATES_H_

#include <ucontext.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace atoll {

class MemoryStates {
 public:
#if defined(__x86_64__)
  static constexpr bool kSupported = true;
#else
  static constexpr bool kSupported = false;
#endif

  explicit MemoryStates(std::vector<std::span<std::byte>> watched, size_t max_states = 2000)
      : watched_(std::move(watched)) {
    for (const auto& range : watched_) bytes_ += range.size();
    storage_.resize(bytes_ * max_states);
    states_ = 0;
  }

  // Runs `code` to its end. False: there were more states than there is room for.
  template <typename Code>
  bool Run(Code code) {
#if defined(__x86_64__)
    current_ = this;
    struct sigaction action = {};
    struct sigaction before = {};
    action.sa_sigaction = &OnTrap;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, &before);
    stepping_ = true;
    raise(SIGTRAP);  // the handler switches single-stepping on
    code();
    stepping_ = false;
    raise(SIGTRAP);  // and off
    sigaction(SIGTRAP, &before, nullptr);
#else
    code();
#endif
    return !overflow_;
  }

  // What `code` stores is one step: it is the commit window of a task, in which that is not killed.
  template <typename Code>
  static void AsOneStep(Code code) {
    held_ = true;
    code();
    held_ = false;
  }

  size_t size() const { return states_; }
  // Puts the watched memory back into state `index`; the last one is how the code left it.
  void Restore(size_t index) {
    const std::byte* from = storage_.data() + index * bytes_;
    for (const auto& range : watched_) {
      std::memcpy(range.data(), from, range.size());
      from += range.size();
    }
  }

 private:
  static void OnTrap(int, siginfo_t*, void* context) {
#if defined(__x86_64__)
    constexpr greg_t kTrapFlag = 0x100;
    greg_t& flags = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL];
    if (stepping_) {
      flags |= kTrapFlag;
    } else {
      flags &= ~kTrapFlag;
    }
    current_->Record();
#endif
  }

  bool SameAsLast() const {
    const std::byte* last = storage_.data() + (states_ - 1) * bytes_;
    for (const auto& range : watched_) {
      if (std::memcmp(range.data(), last, range.size()) != 0) return false;
      last += range.size();
    }
    return true;
  }
  void Record() {
    if (held_ || (states_ != 0 && SameAsLast())) return;
    if ((states_ + 1) * bytes_ > storage_.size()) {
      overflow_ = true;
      return;
    }
    std::byte* to = storage_.data() + states_ * bytes_;
    for (const auto& range : watched_) {
      std::memcpy(to, range.data(), range.size());
      to += range.size();
    }
    ++states_;
  }

  std::vector<std::span<std::byte>> watched_;
  std::vector<std::byte> storage_;
  size_t bytes_ = 0;
  size_t states_ = 0;
  bool overflow_ = false;
  static inline MemoryStates* current_ = nullptr;
  static inline volatile bool stepping_ = false;
  static inline volatile bool held_ = false;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VIRTIO_MEMORY_STATES_H_
