// What a virtio device cannot do without, kept by somebody else: its registers and the set-up of its queues, while its
// driver uses it. Nobody knows them a second time but a driver that will not say them again: a device that has lost them
// can neither finish what was asked of it nor say so.
//
// The journal is where they are taken from. This copy counts if both of the journal's are lost: the service cannot write
// over it.
#ifndef ATOLL_SERVICES_VIRTIO_KEPT_COPY_H_
#define ATOLL_SERVICES_VIRTIO_KEPT_COPY_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "ipc/status.h"
#include "services/runtime/check_word.h"
#include "services/virtio/journal.h"

namespace atoll::virtio {

// Keeps a few words of this device over deaths of its service.
class Keeper {
 public:
  using Part = std::array<uint64_t, 4>;

  virtual Status Keep(uint32_t number, const Part& part) = 0;
  // Zeros if nothing was kept.
  virtual Result<Part> Recall(uint32_t number) = 0;

 protected:
  ~Keeper() = default;
};

class KeptCopy {
 public:
  // null: nobody keeps it.
  void Use(Keeper* keeper) { keeper_ = keeper; }

  // Of a device that is in use. Kept when this returns, as far as the keeper lives.
  template <typename Queues>
  void Set(const Registers& registers, const Queues& queues) {
    Parts parts = {};
    const auto words = std::bit_cast<std::array<Keeper::Part, kRegisterParts>>(registers);
    std::ranges::copy(words, parts.begin());
    for (uint32_t i = 0; i < registers.queue_count && i < kMaxQueues; ++i) {
      parts[kRegisterParts + i] = std::bit_cast<Keeper::Part>(queues[i].setup());
    }
    parts[kParts - 1] = {CheckOf(parts)};
    Store(parts);
  }
  // The driver lets go of the device: what is kept counts no more.
  void Clear() { Store({}); }
  // The VM has just started, and nobody keeps anything yet.
  void AssumeNothing() { is_known_ = true; }

  // False: nothing is kept, or not all of it.
  bool Recall() {
    is_known_ = false;
    if (keeper_ == nullptr) return false;
    for (uint32_t i = 0; i < kParts; ++i) {
      const Result<Keeper::Part> part = keeper_->Recall(i);
      if (!part.has_value()) return false;
      parts_[i] = *part;
    }
    is_known_ = true;
    return registers().format != 0 && parts_[kParts - 1][0] == CheckOf(parts_);
  }
  // After a Recall that said false: the keeper says that no driver uses the device.
  bool nothing_is_kept() const { return is_known_ && parts_ == Parts{}; }
  // After Recall.
  Registers registers() const {
    std::array<Keeper::Part, kRegisterParts> words;
    std::copy_n(parts_.begin(), kRegisterParts, words.begin());
    return std::bit_cast<Registers>(words);
  }
  QueueSetup queue(uint32_t index) const {
    return std::bit_cast<QueueSetup>(parts_[kRegisterParts + index % kMaxQueues]);
  }

  static constexpr uint32_t kRegisterParts = sizeof(Registers) / sizeof(Keeper::Part);
  static constexpr uint32_t kParts = kRegisterParts + kMaxQueues + 1;  // the last is a check

 private:
  static_assert(sizeof(Registers) % sizeof(Keeper::Part) == 0);
  static_assert(sizeof(QueueSetup) == sizeof(Keeper::Part));
  using Parts = std::array<Keeper::Part, kParts>;

  static uint64_t CheckOf(const Parts& parts) {
    CheckWord check;
    for (uint32_t i = 0; i < kParts - 1; ++i) check.AddObject(parts[i]);
    return check.value();
  }

  // What has changed, the check last: in between nothing counts.
  void Store(const Parts& parts) {
    if (keeper_ == nullptr) return;
    for (uint32_t i = 0; i < kParts; ++i) {
      if (is_known_ && parts[i] == parts_[i]) continue;
      if (!IsOk(keeper_->Keep(i, parts[i]))) {
        is_known_ = false;
        return;
      }
      parts_[i] = parts[i];
    }
    is_known_ = true;
  }

  Keeper* keeper_ = nullptr;
  Parts parts_ = {};
  bool is_known_ = false;  // the keeper has parts_
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_KEPT_COPY_H_
