#include <gtest/gtest.h>

#include <vector>

#include "kernel/list.h"

namespace atoll {
namespace {

struct Item {
  int number = 0;
  ListNode<Item> node;
  ListNode<Item> other;
};
using Items = List<Item, &Item::node>;

class ListTest : public testing::Test {
 protected:
  ListTest() {
    for (int i = 0; i < 4; ++i) items_[i].number = i;
  }
  // Forwards, and checked against the way back.
  static std::vector<int> Numbers(const Items& list) {
    std::vector<int> numbers;
    const Item* last = nullptr;
    for (const Item* item = list.head(); item != nullptr; item = Items::Next(*item)) {
      EXPECT_EQ(item->node.previous, last);
      EXPECT_TRUE(item->node.linked);
      numbers.push_back(item->number);
      last = item;
    }
    EXPECT_EQ(list.empty(), numbers.empty());
    return numbers;
  }
  using Sequence = std::vector<int>;

  Item items_[4];
  Items list_;
};

TEST_F(ListTest, EmptyAtFirst) {
  EXPECT_EQ(Numbers(list_), Sequence());
  EXPECT_EQ(list_.PopFront(), nullptr);
}

TEST_F(ListTest, PushesAtBothEnds) {
  list_.PushBack(items_[1]);
  list_.PushFront(items_[0]);
  list_.PushBack(items_[2]);
  EXPECT_EQ(Numbers(list_), Sequence({0, 1, 2}));
}

TEST_F(ListTest, InsertsBeforeAPositionAndAtTheEnd) {
  list_.InsertBefore(nullptr, items_[3]);
  list_.InsertBefore(&items_[3], items_[0]);
  list_.InsertBefore(&items_[3], items_[1]);
  EXPECT_EQ(Numbers(list_), Sequence({0, 1, 3}));
  list_.InsertBefore(nullptr, items_[2]);
  EXPECT_EQ(Numbers(list_), Sequence({0, 1, 3, 2}));
}

TEST_F(ListTest, RemovesFromEveryPlace) {
  for (const size_t removed : {0, 1, 2}) {
    Items list;
    for (size_t i = 0; i < 3; ++i) list.PushBack(items_[i]);
    list.Remove(items_[removed]);
    Sequence left = {0, 1, 2};
    left.erase(left.begin() + static_cast<ptrdiff_t>(removed));
    EXPECT_EQ(Numbers(list), left);
    EXPECT_FALSE(items_[removed].node.linked);
    // The ends are right still.
    list.PushBack(items_[3]);
    list.PushFront(items_[removed]);
    left.push_back(3);
    left.insert(left.begin(), static_cast<int>(removed));
    EXPECT_EQ(Numbers(list), left);
    while (list.PopFront() != nullptr) {
    }
  }
}

TEST_F(ListTest, TheOnlyItemLeavesAnEmptyList) {
  list_.PushBack(items_[0]);
  list_.Remove(items_[0]);
  EXPECT_EQ(Numbers(list_), Sequence());
  list_.PushBack(items_[1]);
  EXPECT_EQ(Numbers(list_), Sequence({1}));
}

TEST_F(ListTest, RemovingWhatIsInNoListDoesNothing) {
  list_.PushBack(items_[0]);
  list_.Remove(items_[1]);
  list_.Remove(items_[0]);
  list_.Remove(items_[0]);
  EXPECT_EQ(Numbers(list_), Sequence());
}

TEST_F(ListTest, PopsFromTheFront) {
  list_.PushBack(items_[2]);
  list_.PushBack(items_[0]);
  EXPECT_EQ(list_.PopFront(), &items_[2]);
  EXPECT_EQ(list_.PopFront(), &items_[0]);
  EXPECT_EQ(list_.PopFront(), nullptr);
  EXPECT_FALSE(items_[0].node.linked);
}

TEST_F(ListTest, AnItemIsInOneListPerMember) {
  List<Item, &Item::other> second;
  list_.PushBack(items_[0]);
  list_.PushBack(items_[1]);
  second.PushFront(items_[0]);
  second.PushFront(items_[1]);
  list_.Remove(items_[0]);
  EXPECT_EQ(second.PopFront(), &items_[1]);
  EXPECT_EQ(second.PopFront(), &items_[0]);
  EXPECT_EQ(Numbers(list_), Sequence({1}));
}

}  // namespace
}  // namespace atoll
