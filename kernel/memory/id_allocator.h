// ASIDs and VMIDs: small numbers that tag TLB entries, lent to address spaces.
//
// There may be more address spaces than ids. An address space holds a *tag*: generation and id. A
// tag of the present generation is good. When all ids are lent, the generation ends: everybody's
// tag turns stale at once, all TLBs are flushed, and each address space gets a new id when it is
// activated next. What is active on some CPU at that moment keeps its id, since that CPU goes on
// using it.
//
// Activate runs with the owner's lock held; TryActivate needs none and is all that a switch needs
// mostly. Id 0 is never lent (the kernel's own ASID; the VMID of nobody).
#ifndef ATOLL_KERNEL_MEMORY_ID_ALLOCATOR_H_
#define ATOLL_KERNEL_MEMORY_ID_ALLOCATOR_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace atoll {

// In each address space; written by IdAllocator only. 0 = none yet.
struct AddressSpaceTag {
  std::atomic<uint64_t> value{0};
  uint32_t id() const {
    return static_cast<uint32_t>(value.load(std::memory_order_relaxed) & 0xffff);
  }
};

// kMaxIds: most ids in use at a time, at most 65536; more address spaces than that take turns.
template <size_t kMaxIds, size_t kMaxCpus>
class IdAllocator {
  static_assert(kMaxIds % 64 == 0 && kMaxIds >= 64 && kMaxIds <= 65536);

 public:
  // Before the first use. `id_bits`: 8 or 16, what the CPU has.
  constexpr void Initialize(unsigned id_bits) { limit_ = std::min(kMaxIds, size_t{1} << id_bits); }

  // Makes `tag` the one in use on `cpu` if it is of the present generation. Lock-free: if a new
  // generation begins at the same time, either it sees this CPU's tag and keeps its id, or the
  // exchange here fails.
  bool TryActivate(const AddressSpaceTag& tag, size_t cpu) {
    const uint64_t value = tag.value.load(std::memory_order_relaxed);
    uint64_t active = active_[cpu].load(std::memory_order_relaxed);
    return active != 0 &&
           (value & kGenerationMask) == generation_.load(std::memory_order_relaxed) &&
           active_[cpu].compare_exchange_strong(active, value);
  }

  // The same for every tag; gives it an id first if it has none that is good. `flush_all` is called
  // if all ids were lent: it must invalidate the TLB entries of all ids on all CPUs.
  template <typename FlushAll>
  uint32_t Activate(AddressSpaceTag& tag, size_t cpu, FlushAll&& flush_all) {
    uint64_t value = tag.value.load(std::memory_order_relaxed);
    if ((value & kGenerationMask) != generation_.load(std::memory_order_relaxed)) {
      value = Renew(value, flush_all);
      tag.value.store(value, std::memory_order_relaxed);
    }
    active_[cpu].store(value);
    return static_cast<uint32_t>(value & kIdMask);
  }

  // Gives the id back. The caller has flushed it from all TLBs, and no CPU has it active (another
  // tag was activated there since).
  void Release(AddressSpaceTag& tag) {
    const uint64_t value = tag.value.exchange(0, std::memory_order_relaxed);
    if (value == 0) return;
    bool lent = (value & kGenerationMask) == generation_.load(std::memory_order_relaxed);
    for (uint64_t& kept : kept_) {  // a stale tag's id is its own only if it was kept for it
      if (kept != value) continue;
      kept = 0;
      lent = true;
    }
    if (!lent) return;
    used_[(value & kIdMask) / 64] &= ~(uint64_t{1} << (value & 63));
    next_ = std::min<size_t>(next_, value & kIdMask);
  }

 private:
  static constexpr uint64_t kIdMask = 0xffff;
  static constexpr uint64_t kGenerationMask = ~kIdMask;
  static constexpr uint64_t kOneGeneration = kIdMask + 1;

  template <typename FlushAll>
  uint64_t Renew(uint64_t stale, FlushAll& flush_all) {
    if (stale != 0) {
      const uint64_t renewed = generation_.load(std::memory_order_relaxed) | (stale & kIdMask);
      // Was active when the generation ended: its id was kept for it.
      bool kept_for_it = false;
      for (uint64_t& kept : kept_) {
        if (kept != stale) continue;
        kept = renewed;
        kept_for_it = true;
      }
      if (kept_for_it) return renewed;
      // Nobody took its old id yet.
      if (TakeId(stale & kIdMask)) return renewed;
    }
    size_t id = FindFree();
    if (id == 0) {
      BeginGeneration();
      flush_all();
      id = FindFree();  // there are more ids than CPUs
    }
    TakeId(id);
    return generation_.load(std::memory_order_relaxed) | id;
  }

  void BeginGeneration() {
    generation_.fetch_add(kOneGeneration, std::memory_order_relaxed);
    used_ = {};
    used_[0] = 1;
    next_ = 1;
    for (size_t cpu = 0; cpu < kMaxCpus; ++cpu) {
      // 0 makes TryActivate there come here. A CPU that did not switch since the last generation
      // ended has nothing in active_, but still uses what was kept for it then.
      const uint64_t active = active_[cpu].exchange(0);
      if (active != 0) kept_[cpu] = active;
      if (kept_[cpu] != 0) TakeId(kept_[cpu] & kIdMask);
    }
  }

  bool TakeId(size_t id) {
    const uint64_t bit = uint64_t{1} << (id % 64);
    if ((used_[id / 64] & bit) != 0) return false;
    used_[id / 64] |= bit;
    return true;
  }

  // 0: all are lent.
  size_t FindFree() {
    for (size_t word = next_ / 64; word * 64 < limit_; ++word) {
      const size_t id = word * 64 + static_cast<size_t>(std::countr_one(used_[word]));
      if (id < (word + 1) * 64 && id < limit_) {
        next_ = id;
        return id;
      }
    }
    next_ = limit_;
    return 0;
  }

  static_assert(kMaxCpus < 255, "an id for each CPU and one more");

  size_t limit_ = std::min<size_t>(kMaxIds, 256);
  size_t next_ = 1;  // no id below it is free
  std::atomic<uint64_t> generation_{kOneGeneration};
  std::array<uint64_t, kMaxIds / 64> used_ = {1};  // bit 0: id 0
  std::array<std::atomic<uint64_t>, kMaxCpus> active_ = {};
  std::array<uint64_t, kMaxCpus> kept_ = {};
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_MEMORY_ID_ALLOCATOR_H_
