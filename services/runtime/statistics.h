// A task's statistics page: what it counts for the user. It writes the page and never reads a decision from it; the
// supervisor reads it and never believes it. Zeroed at each start.
#ifndef ATOLL_SERVICES_RUNTIME_STATISTICS_H_
#define ATOLL_SERVICES_RUNTIME_STATISTICS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ipc/abi.h"

namespace atoll {

struct Statistics {
  static constexpr size_t kCounters = 24;
  static constexpr size_t kNameBytes = 16;

  // CNTPCT_EL0 when this instance had done its first job (a call answered, signals served), and completed its first
  // request; 0: not yet.
  uint64_t first_answer;
  uint64_t first_completion;
  uint64_t
      longest;  // ticks that the longest batch of signals took, with whatever else ran meanwhile
  std::array<uint64_t, kCounters> counters;
  std::array<std::array<char, kNameBytes>, kCounters> names;  // zeros at the end; empty: not used
  uint64_t heartbeats;  // that its loop has seen: it does not only take its signals
};
static_assert(sizeof(Statistics) <= kPageSize);

#if __STDC_HOSTED__
inline Statistics host_statistics{};
inline Statistics& OwnStatistics() { return host_statistics; }
inline uint64_t StatisticsTicks() { return 1; }
#else
inline Statistics& OwnStatistics() {
  return *reinterpret_cast<Statistics*>(abi::kStatisticsPage.value);
}
inline uint64_t StatisticsTicks() {
  uint64_t ticks;
  asm volatile("mrs %0, cntpct_el0" : "=r"(ticks));
  return ticks;
}
#endif

inline void NoteHeartbeat() { ++OwnStatistics().heartbeats; }

inline void NoteFirstAnswer() { OwnStatistics().first_answer = StatisticsTicks(); }

// Only the first one of an instance is noted, so it may be called for each.
inline void NoteCompletion() {
  uint64_t& first = OwnStatistics().first_completion;
  if (first == 0) [[unlikely]]
    first = StatisticsTicks();
}

// A batch of signals was served that began at `begin`.
inline void NoteSignals(uint64_t begin) {
  uint64_t& longest = OwnStatistics().longest;
  const uint64_t passed = StatisticsTicks() - begin;
  if (passed > longest) [[unlikely]]
    longest = passed;
}

// Counters are named when the service starts; those without a name are not shown.
inline void NameCounter(size_t index, std::string_view name) {
  auto& place = OwnStatistics().names[index];
  std::copy_n(name.begin(), std::min(name.size(), place.size()), place.begin());
}
inline void Count(size_t index, uint64_t amount = 1) { OwnStatistics().counters[index] += amount; }

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_STATISTICS_H_
