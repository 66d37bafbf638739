// The supervisor's own lines in the kernel's log.
#ifndef ATOLL_SERVICES_SUPERVISOR_REPORTER_H_
#define ATOLL_SERVICES_SUPERVISOR_REPORTER_H_

#include "services/supervisor/kernel_calls.h"
#include "services/supervisor/log_line.h"

namespace atoll {

class Reporter {
 public:
  constexpr explicit Reporter(KernelCalls& kernel) : kernel_(kernel) {}

  // Problems only.
  void set_quiet(bool quiet) { quiet_ = quiet; }

  void Info(const LogLine& line) {
    if (!quiet_) kernel_.Log(line.view());
  }
  void Warn(const LogLine& line) { kernel_.Log(line.view()); }

 private:
  KernelCalls& kernel_;
  bool quiet_ = false;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_REPORTER_H_
