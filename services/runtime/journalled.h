// A device's state as declared fields: private to the instance, and in two copies in the journal with the token of what
// changed it last (TwoCopies). So a change and its cause count together or not at all, and a call or request that comes
// again finds out that its change was made.
#ifndef ATOLL_SERVICES_RUNTIME_JOURNALLED_H_
#define ATOLL_SERVICES_RUNTIME_JOURNALLED_H_

#include <cstdint>
#include <type_traits>

#include "services/runtime/two_copies.h"

namespace atoll {

// For devices that keep nothing.
struct NoState {
  uint64_t nothing = 0;
};

template <typename State>
class Journalled {
  static_assert(std::is_trivially_copyable_v<State>,
                "a journal outlives the program that wrote it");
  static_assert(std::has_unique_object_representations_v<State>,
                "the state has gaps, which no check can cover: fill them with fields");
  static_assert(sizeof(State) % sizeof(uint64_t) == 0,
                "the state's size is to be a multiple of 8 bytes: add a reserved field");

 public:
  struct Record {
    uint64_t token = 0;  // of the call or request whose change was the last one; 0: none
    uint32_t format = 0;
    uint32_t written = 0;  // of a request: the length that its used element is to have
    State state = {};
  };
  using Copies = TwoCopies<Record>;
  static constexpr size_t kBytes = sizeof(Copies);

  // Takes up what lies in `copies`. `format`: the layout's number, not 0.
  Journalled(Copies& copies, uint32_t format) : copies_(copies) {
    found_ = copies_.Load(record_);
    if (found_ != atoll::Copies::kGood && found_ != atoll::Copies::kRepaired) record_ = {};
    if (found_ == atoll::Copies::kGood || found_ == atoll::Copies::kRepaired)
      owning_ = Owning::kStored;
    if (record_.format != 0 && record_.format != format) owning_ = Owning::kRefused;
    if (refused()) record_ = {};
    record_.format = format;
  }

  atoll::Copies found() const { return found_; }
  // It is of another layout: nothing may be stored.
  bool refused() const { return owning_ == Owning::kRefused; }

  // What is kept here is what was stored last, if anything was. Not between Change and Commit.
  bool IsIntact() const {
    if (owning_ == Owning::kStored) return copies_.Confirms(record_);
    return owning_ == Owning::kNothing || refused();
  }

  // Takes what is stored if this is something else: true. Where nothing whole is stored, this is all that there is.
  bool Mend() { return copies_.Mend(record_); }

  const State& operator*() const { return record_.state; }
  const State* operator->() const { return &record_.state; }
  uint64_t token() const { return record_.token; }
  uint32_t written() const { return record_.written; }

  // The state, to be changed: it counts from the next Commit on.
  State& Change() {
    changed_ = true;
    return record_.state;
  }
  bool changed() const { return changed_; }

  void Commit(uint64_t token, uint32_t written = 0) {
    record_.token = token;
    record_.written = written;
    copies_.Store(record_);
    if (!refused()) owning_ = Owning::kStored;
    changed_ = false;
  }
  // A change that no call and no request asked for.
  void Commit() { Commit(record_.token, record_.written); }

 private:
  Copies& copies_;
  Record record_;
  atoll::Copies found_ = atoll::Copies::kFresh;
  Owning owning_ = Owning::kNothing;
  bool changed_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_JOURNALLED_H_
