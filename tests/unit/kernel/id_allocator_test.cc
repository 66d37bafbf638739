#include "kernel/memory/id_allocator.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <vector>

namespace atoll {
namespace {

using Allocator = IdAllocator<1024, 4>;

struct Counter {
  int flushes = 0;
  auto Flush() {
    return [this] { ++flushes; };
  }
};

TEST(IdAllocator, gives_different_ids_and_never_zero) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  std::vector<AddressSpaceTag> tags(255);
  std::set<uint32_t> seen;
  for (auto& tag : tags) seen.insert(ids.Activate(tag, 0, counter.Flush()));
  EXPECT_EQ(seen.size(), 255u);
  EXPECT_EQ(*seen.begin(), 1u);
  EXPECT_EQ(*seen.rbegin(), 255u);
  EXPECT_EQ(counter.flushes, 0);
}

TEST(IdAllocator, wider_ids_hold_more) {
  Allocator ids;
  ids.Initialize(16);
  Counter counter;
  std::vector<AddressSpaceTag> tags(1023);
  for (auto& tag : tags) EXPECT_LT(ids.Activate(tag, 0, counter.Flush()), 1024u);
  EXPECT_EQ(counter.flushes, 0);
  AddressSpaceTag more;
  ids.Activate(more, 0, counter.Flush());
  EXPECT_EQ(counter.flushes, 1);
}

TEST(IdAllocator, keeps_the_id_while_the_generation_lasts) {
  Allocator ids;
  Counter counter;
  AddressSpaceTag a;
  AddressSpaceTag b;
  const uint32_t first = ids.Activate(a, 0, counter.Flush());
  ids.Activate(b, 0, counter.Flush());
  EXPECT_TRUE(ids.TryActivate(a, 0));
  EXPECT_EQ(ids.Activate(a, 0, counter.Flush()), first);
}

TEST(IdAllocator, a_tag_that_was_never_activated_needs_the_slow_way) {
  Allocator ids;
  AddressSpaceTag tag;
  EXPECT_FALSE(ids.TryActivate(tag, 0));
}

TEST(IdAllocator, CACHE_08_all_ids_lent_flushes_once_and_makes_old_tags_stale) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  std::vector<AddressSpaceTag> tags(255);
  for (auto& tag : tags) ids.Activate(tag, 0, counter.Flush());
  AddressSpaceTag one_more;
  ids.Activate(one_more, 0, counter.Flush());
  EXPECT_EQ(counter.flushes, 1);
  EXPECT_FALSE(ids.TryActivate(tags[0], 0));
  EXPECT_TRUE(ids.TryActivate(one_more, 0));
}

TEST(IdAllocator, CACHE_08_what_runs_on_another_cpu_keeps_its_id) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  AddressSpaceTag running;
  const uint32_t id = ids.Activate(running, 3, counter.Flush());
  std::vector<AddressSpaceTag> tags(600);
  for (auto& tag : tags) ASSERT_NE(ids.Activate(tag, 0, counter.Flush()), id);
  EXPECT_GE(counter.flushes, 2);  // kept over more than one generation
  EXPECT_FALSE(ids.TryActivate(running, 3));
  EXPECT_EQ(ids.Activate(running, 3, counter.Flush()), id);
}

TEST(IdAllocator, one_vm_on_two_cpus_has_one_id) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  AddressSpaceTag vm;
  ids.Activate(vm, 1, counter.Flush());
  ids.Activate(vm, 2, counter.Flush());
  std::vector<AddressSpaceTag> tags(256);
  for (auto& tag : tags) ids.Activate(tag, 0, counter.Flush());
  EXPECT_EQ(ids.Activate(vm, 1, counter.Flush()), ids.Activate(vm, 2, counter.Flush()));
}

TEST(IdAllocator, released_ids_are_lent_again_without_a_flush_of_all) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  for (int i = 0; i < 2000; ++i) {
    AddressSpaceTag tag;
    ids.Activate(tag, 0, counter.Flush());
    ids.Release(tag);
    EXPECT_FALSE(ids.TryActivate(tag, 0));
  }
  EXPECT_EQ(counter.flushes, 0);
}

TEST(IdAllocator, releasing_a_stale_tag_does_not_free_its_successors_id) {
  Allocator ids;
  ids.Initialize(8);
  Counter counter;
  std::vector<AddressSpaceTag> tags(255);
  for (auto& tag : tags) ids.Activate(tag, 0, counter.Flush());
  std::vector<AddressSpaceTag> successors(200);
  for (auto& tag : successors) ids.Activate(tag, 0, counter.Flush());
  ASSERT_EQ(counter.flushes, 1);
  for (auto& tag : tags) {
    if (tag.id() != successors.back().id()) ids.Release(tag);
  }
  AddressSpaceTag newcomer;
  const uint32_t id = ids.Activate(newcomer, 0, counter.Flush());
  for (auto& tag : successors) EXPECT_NE(tag.id(), id);
}

TEST(IdAllocator, releasing_twice_does_no_harm) {
  Allocator ids;
  Counter counter;
  AddressSpaceTag tag;
  ids.Activate(tag, 0, counter.Flush());
  ids.Release(tag);
  AddressSpaceTag other;
  const uint32_t id = ids.Activate(other, 0, counter.Flush());
  ids.Release(tag);
  AddressSpaceTag third;
  EXPECT_NE(ids.Activate(third, 1, counter.Flush()), id);
}

// The property that matters: at no time do two address spaces that are in use on CPUs share an id,
// and an id changes hands only over a flush or a release.
TEST(IdAllocator, CACHE_08_random_switches_never_share_an_id) {
  Allocator ids;
  ids.Initialize(8);
  constexpr size_t kSpaces = 400;
  std::vector<AddressSpaceTag> tags(kSpaces);
  std::vector<int> last_owner(256, -1);  // whose TLB entries an id may have, by space
  std::array<int, 4> running = {-1, -1, -1, -1};
  std::mt19937 random(7);
  for (int step = 0; step < 200000; ++step) {
    const size_t cpu = random() % 4;
    const int space = static_cast<int>(random() % kSpaces);
    const auto flush = [&] {
      for (auto& owner : last_owner) owner = -1;
      // What runs goes on filling the TLB under its id.
      for (int who : running) {
        if (who >= 0) last_owner[tags[static_cast<size_t>(who)].id()] = who;
      }
    };
    auto& tag = tags[static_cast<size_t>(space)];
    if (!ids.TryActivate(tag, cpu)) ids.Activate(tag, cpu, flush);
    running[cpu] = space;
    int& owner = last_owner[tag.id()];
    ASSERT_TRUE(owner == -1 || owner == space) << "step " << step << " id " << tag.id();
    owner = space;
  }
}

}  // namespace
}  // namespace atoll
