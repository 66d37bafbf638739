// What an oracle says on the console. scripts/fault-campaign reads it:
//   oracle: VM.NAME line N          numbered, one after another
//   oracle: VM.NAME lost TEXT       something that no death of a service may do
//   oracle: VM.NAME ok N KEY=VALUE  at the end: N things were done and looked at
#ifndef ATOLL_GUESTS_ORACLE_REPORT_H_
#define ATOLL_GUESTS_ORACLE_REPORT_H_

#include "guests/bare/bare.h"

namespace oracle {

// The VM's name, which heads all reports.
void SetVm(std::string_view name);

class Report {
 public:
  explicit constexpr Report(std::string_view name) : name_(name) {}

  void Line(uint64_t number) const;
  // Something is wrong; only the first few are printed, all are counted.
  void Lost(std::string_view what, uint64_t first = 0, uint64_t second = 0, uint64_t third = 0);
  void Done(uint64_t count = 1) { done_ += count; }
  // A round of its work began at `counter` and has ended: the slowest is told at the end.
  void Took(uint64_t counter);
  // The last line of this oracle is under way: Pair for each further number, then End.
  void Begin() const;
  void Pair(std::string_view key, uint64_t value) const;
  void End() const;

  bool is_good() const { return problems_ == 0; }
  uint64_t done() const { return done_; }

 private:
  void Head() const;

  std::string_view name_;
  uint64_t done_ = 0;
  uint64_t problems_ = 0;
  uint64_t slowest_ = 0, slowest_began_ = 0;  // ticks
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_REPORT_H_
