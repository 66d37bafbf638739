// State in a journal that changes rarely: two copies, each with a number and a check.
//
// A change writes the first copy and then the second. A copy that is being written has number 0, which no copy keeps. So
// after a death at any store one of the two is whole: the second as it was before the change, or the first as it is
// after it. One copy that was scribbled over is mended from the other; that both were is noticed.
//
// The owner works on its private value and takes the copies' once, when it starts: what happens to them later reaches
// it only if it dies before its next change. It may ask whether its own is still what it stored (Confirms).
#ifndef ATOLL_SERVICES_RUNTIME_TWO_COPIES_H_
#define ATOLL_SERVICES_RUNTIME_TWO_COPIES_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "services/runtime/check_word.h"

namespace atoll {

// What Load found.
enum class Copies {
  kFresh,     // zeros: nothing was ever stored
  kGood,      // the last value stored, or, of a change that was cut short, the one before it
  kRepaired,  // the same; one copy was damaged
  kLost,      // both are damaged
};

template <typename T>
class TwoCopies {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(uint64_t) == 0);

 public:
  void Store(const T& value) {
    if constexpr (!kWritesJournal) return;
    uint64_t number = Newest() + 1;
    if (number == 0) number = 1;
    for (Copy& copy : copies_) Write(copy, number, value);
  }

  // Whether this, the owner's, is what was stored last: one whole copy that says so is enough. Where none is whole the
  // owner's is the only one that there is, and is stored again: the journal was written over, not the owner.
  bool Confirms(const T& value) {
    if constexpr (!kWritesJournal) return true;
    bool any_whole = false;
    for (const Copy& copy : copies_) {
      if (!IsWhole(copy)) continue;
      if (__builtin_memcmp(&copy.value, &value, sizeof(T)) == 0) return true;
      any_whole = true;
    }
    if (!any_whole) Store(value);
    return !any_whole;
  }

  // A whole copy's value; null if there is none.
  const T* Stored() const {
    const auto whole = std::ranges::find_if(copies_, IsWhole);
    return whole != std::end(copies_) ? &whole->value : nullptr;
  }

  // Makes `value` what is stored, if anything whole is: true if it was something else.
  bool Mend(T& value) const {
    const T* const stored = Stored();
    if (stored == nullptr || __builtin_memcmp(stored, &value, sizeof(T)) == 0) return false;
    value = *stored;
    return true;
  }

  // Fills `value` if there is one, and makes both copies alike.
  Copies Load(T& value) {
    const bool first = IsWhole(copies_[0]);
    const bool second = IsWhole(copies_[1]);
    if (!first && !second) return IsFresh() ? Copies::kFresh : Copies::kLost;
    const bool take_first = first && (!second || copies_[0].number >= copies_[1].number);
    const Copy& source = copies_[take_first ? 0 : 1];
    Copy& other = copies_[take_first ? 1 : 0];
    value = source.value;
    if (first && second && copies_[0].number == copies_[1].number) return Copies::kGood;
    // A copy of number 0 is one that a death left half written, and an earlier one that the change did not reach.
    const bool cut_short = other.number == 0 || (first && second);
    Write(other, source.number, value);
    return cut_short ? Copies::kGood : Copies::kRepaired;
  }

 private:
  struct Copy {
    uint64_t number;
    uint64_t check;
    T value;
  };

  static uint64_t CheckOf(uint64_t number, const T& value) {
    CheckWord check;
    check.Add(number);
    check.AddObject(value);
    return check.value();
  }
  static bool IsWhole(const Copy& copy) {
    return copy.number != 0 && copy.check == CheckOf(copy.number, copy.value);
  }
  // The first change of all may have been cut short in the first copy.
  bool IsFresh() const {
    return copies_[0].number == 0 && copies_[1].number == 0 && copies_[1].check == 0;
  }
  uint64_t Newest() const {
    return copies_[0].number > copies_[1].number ? copies_[0].number : copies_[1].number;
  }
  static void Write(Copy& copy, uint64_t number, const T& value) {
    std::atomic_ref<uint64_t> mark(copy.number);
    mark.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    asm volatile("" ::: "memory");
    copy.value = value;
    copy.check = CheckOf(number, value);
    mark.store(number, std::memory_order_release);
  }

  Copy copies_[2];
};

// What an owner knows of its copies. A word that was written over is none of these, so damage does not hide itself.
enum class Owning : uint64_t {
  kNothing = 0x9e37'79b9'7f4a'7c15,  // nothing was stored yet
  kStored = 0xc2b2'ae3d'27d4'eb4f,
  kLost = 0x1656'67b1'9e37'79f9,     // nothing could be read, and nothing was stored since
  kRefused = 0x2545'f491'4f6c'dd1d,  // what was read is of another layout: nothing may be stored
};

// The owner's private value of two copies.
template <typename T>
class Kept {
 public:
  explicit Kept(TwoCopies<T>& copies) : copies_(copies) {
    const Copies found = copies_.Load(value_);
    if (found == Copies::kGood || found == Copies::kRepaired) owning_ = Owning::kStored;
    if (found == Copies::kLost) owning_ = Owning::kLost;
    if (lost()) value_ = {};
  }

  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }
  // Nothing could be read, and nothing was stored since.
  bool lost() const { return owning_ == Owning::kLost; }
  // The value is what was stored last, if anything was.
  bool IsIntact() const {
    if (owning_ == Owning::kStored) return copies_.Confirms(value_);
    return owning_ == Owning::kNothing || owning_ == Owning::kLost;
  }
  // As TwoCopies::Mend.
  bool Mend() { return copies_.Mend(value_); }

  void Set(const T& value) {
    value_ = value;
    copies_.Store(value_);
    owning_ = Owning::kStored;
  }
  // `change(T&)` makes the next value of the present one.
  template <typename Make>
  void Change(Make change) {
    change(value_);
    Set(value_);
  }

 private:
  TwoCopies<T>& copies_;
  T value_ = {};
  Owning owning_ = Owning::kNothing;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_TWO_COPIES_H_
