// Where the log goes; for boot and the panic report.
#ifndef ATOLL_KERNEL_LOG_LOG_OUTPUT_H_
#define ATOLL_KERNEL_LOG_LOG_OUTPUT_H_

#include <string_view>

#include "kernel/machine/pl011.h"

namespace atoll {

// The UART that lines are printed on from now on.
void LogSetUart(Pl011 uart);

// Prints past the lock and past LogSetOutput, into ring and UART.
void LogEmergency(std::string_view text);

}  // namespace atoll

#endif  // ATOLL_KERNEL_LOG_LOG_OUTPUT_H_
