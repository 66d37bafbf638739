// An index that one side of a ring keeps for itself.
//
// Nobody else can write it, so it has a check only to notice that its owner's memory was written over. An owner that
// finds that ends at once: with a wrong index it would give old frames again. Its successor goes on where the ring's
// own memory says.
#ifndef ATOLL_SERVICES_NET_OWN_INDEX_H_
#define ATOLL_SERVICES_NET_OWN_INDEX_H_

#include <cstdint>

#include "services/runtime/check_word.h"

namespace atoll::net {

// The name is what the crash record's backtrace shows.
[[noreturn, gnu::noinline, gnu::cold]] inline void OwnIndexWasWrittenOver() { __builtin_trap(); }

class OwnIndex {
 public:
  explicit OwnIndex(uint32_t value) { Set(value); }

  void Set(uint32_t value) { word_ = WithComplement(value); }
  uint32_t value() const {
    if (!IsWhole()) [[unlikely]]
      OwnIndexWasWrittenOver();
    return static_cast<uint32_t>(word_);
  }
  bool IsWhole() const { return IsWithComplement(word_); }

 private:
  uint64_t word_;
};

}  // namespace atoll::net

#endif  // ATOLL_SERVICES_NET_OWN_INDEX_H_
