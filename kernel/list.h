// Intrusive doubly linked list: no memory of its own, O(1) removal from the middle.
#ifndef ATOLL_KERNEL_LIST_H_
#define ATOLL_KERNEL_LIST_H_

namespace atoll {

template <typename T>
struct ListNode {
  T* next = nullptr;
  T* previous = nullptr;
  bool linked = false;
};

// `Node` is the member of T that links it here. A T is in at most one list per member.
template <typename T, ListNode<T> T::* Node>
class List {
 public:
  T* head() const { return head_; }
  bool empty() const { return head_ == nullptr; }
  static T* Next(const T& item) { return (item.*Node).next; }

  void PushBack(T& item) { InsertBefore(nullptr, item); }
  void PushFront(T& item) { InsertBefore(head_, item); }

  // Before `position`; at the end if null.
  void InsertBefore(T* position, T& item) {
    T* const previous = position != nullptr ? (position->*Node).previous : tail_;
    item.*Node = {.next = position, .previous = previous, .linked = true};
    (previous != nullptr ? (previous->*Node).next : head_) = &item;
    (position != nullptr ? (position->*Node).previous : tail_) = &item;
  }

  // No effect if it is in no list.
  void Remove(T& item) {
    ListNode<T>& node = item.*Node;
    if (!node.linked) return;
    (node.previous != nullptr ? (node.previous->*Node).next : head_) = node.next;
    (node.next != nullptr ? (node.next->*Node).previous : tail_) = node.previous;
    node = {};
  }

  T* PopFront() {
    T* const item = head_;
    if (item != nullptr) Remove(*item);
    return item;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_LIST_H_
