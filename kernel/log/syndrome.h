// ESR_EL2 in words, for reports.
#ifndef ATOLL_KERNEL_LOG_SYNDROME_H_
#define ATOLL_KERNEL_LOG_SYNDROME_H_

#include <cstdint>

#include "kernel/log/line.h"

namespace atoll {

// Appends e.g. "data abort, translation fault at level 3, write".
void DescribeSyndrome(Line& line, uint64_t esr);

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_SYNDROME_H_
