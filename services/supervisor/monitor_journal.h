// What the monitor has to know of a script after the supervisor's death: a part of the supervisor's journal.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_JOURNAL_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_JOURNAL_H_

#include <cstdint>

namespace atoll {

struct MonitorJournal {
  uint64_t
      position;  // of the script's next line: offset in the file [31:0], its number from 0 [63:32]
  uint64_t wait_end;   // ticks: of the line that waits; written before ...
  uint64_t wait_line;  // ... the number of that line, from 1. 0: no line waits
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_JOURNAL_H_
