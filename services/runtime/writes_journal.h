// Whether anything is written for a successor.
#ifndef ATOLL_SERVICES_RUNTIME_WRITES_JOURNAL_H_
#define ATOLL_SERVICES_RUNTIME_WRITES_JOURNAL_H_

namespace atoll {

// False in one executable, which scripts/bench measures to tell what journals cost: a service that cannot be restarted,
// with neither stores to its journal nor checks over it. What a service works on itself is where it always is.
#if defined(ATOLL_WITHOUT_JOURNAL)
inline constexpr bool kWritesJournal = false;
#else
inline constexpr bool kWritesJournal = true;
#endif

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_WRITES_JOURNAL_H_
