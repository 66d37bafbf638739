// Interrupts that wait for a list register, by group and priority: everything in constant time.
#ifndef ATOLL_KERNEL_VGIC_PENDING_QUEUE_H_
#define ATOLL_KERNEL_VGIC_PENDING_QUEUE_H_

#include <array>
#include <bit>
#include <cstdint>

#include "kernel/vgic/interrupt.h"

namespace atoll {

inline constexpr uint32_t kGroups = 2;
inline constexpr uint32_t kBothGroups = 3;       // bit g: Group g
inline constexpr uint32_t kPriorityLevels = 32;  // 5 priority bits
inline constexpr uint32_t kPriorityStep = 8;
inline constexpr uint32_t kIdlePriority = 0xff;

// A circular list through VirtualInterrupt::next and previous. An interrupt is in one list at most.
class InterruptList {
 public:
  bool empty() const { return head_ == nullptr; }
  VirtualInterrupt* head() const { return head_; }

  void PushBack(VirtualInterrupt& interrupt) {
    if (head_ == nullptr) {
      interrupt.next = interrupt.previous = &interrupt;
      head_ = &interrupt;
      return;
    }
    interrupt.next = head_;
    interrupt.previous = head_->previous;
    head_->previous->next = &interrupt;
    head_->previous = &interrupt;
  }
  void PushFront(VirtualInterrupt& interrupt) {
    PushBack(interrupt);
    head_ = &interrupt;
  }
  void Remove(VirtualInterrupt& interrupt) {
    if (interrupt.next == &interrupt) {
      head_ = nullptr;
      return;
    }
    interrupt.previous->next = interrupt.next;
    interrupt.next->previous = interrupt.previous;
    if (head_ == &interrupt) head_ = interrupt.next;
  }

 private:
  VirtualInterrupt* head_ = nullptr;
};

// Equal priorities are served in the order in which they came, so none starves another.
// An interrupt's group and priority must not change while it is in here.
class PendingQueue {
 public:
  bool empty() const { return (occupied_[0] | occupied_[1]) == 0; }

  void PushBack(VirtualInterrupt& interrupt) {
    ListOf(interrupt).PushBack(interrupt);
    occupied_[interrupt.group()] |= BitOf(interrupt);
  }
  void PushFront(VirtualInterrupt& interrupt) {
    ListOf(interrupt).PushFront(interrupt);
    occupied_[interrupt.group()] |= BitOf(interrupt);
  }
  void Remove(VirtualInterrupt& interrupt) {
    InterruptList& list = ListOf(interrupt);
    list.Remove(interrupt);
    if (list.empty()) occupied_[interrupt.group()] &= ~BitOf(interrupt);
  }

  // The first of the highest priority (lowest number) in these groups; null: there is none.
  VirtualInterrupt* Top(uint32_t groups) const {
    const uint32_t group0 = (groups & 1) != 0 ? occupied_[0] : 0;
    const uint32_t group1 = (groups & 2) != 0 ? occupied_[1] : 0;
    if ((group0 | group1) == 0) return nullptr;
    const int level = std::countr_zero(group0 | group1);
    return lists_[(group0 >> level) & 1 ? 0 : 1][level].head();
  }

 private:
  static uint32_t LevelOf(const VirtualInterrupt& interrupt) {
    return interrupt.priority / kPriorityStep;
  }
  static uint32_t BitOf(const VirtualInterrupt& interrupt) { return 1u << LevelOf(interrupt); }
  InterruptList& ListOf(const VirtualInterrupt& interrupt) {
    return lists_[interrupt.group()][LevelOf(interrupt)];
  }

  std::array<uint32_t, kGroups> occupied_ = {};
  std::array<std::array<InterruptList, kPriorityLevels>, kGroups> lists_;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_PENDING_QUEUE_H_
