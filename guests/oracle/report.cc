#include "guests/oracle/report.h"

#include "guests/oracle/events.h"

namespace oracle {
namespace {

inline constexpr uint64_t kPrintedProblems = 8;
std::string_view vm = "vm";

}  // namespace

void SetVm(std::string_view name) { vm = name; }

void Report::Head() const {
  bare::Print("oracle: ");
  bare::Print(vm);
  bare::Print(".");
  bare::Print(name_);
}

void Report::Line(uint64_t number) const {
  Head();
  bare::Print(" line ");
  bare::PrintNumber(number);
  bare::Print("\n");
}

void Report::Lost(std::string_view what, uint64_t first, uint64_t second, uint64_t third) {
  if (++problems_ > kPrintedProblems) return;
  Head();
  bare::Print(" lost ");
  bare::Print(what);
  for (const uint64_t number : {first, second, third}) {
    bare::Print(" ");
    bare::PrintNumber(number);
  }
  bare::Print("\n");
}

void Report::Took(uint64_t counter) {
  const uint64_t took = bare::Counter() - counter;
  if (took <= slowest_) return;
  slowest_ = took;
  slowest_began_ = counter;
}

void Report::Begin() const {
  Head();
  bare::Print(problems_ == 0 ? " ok " : " bad ");
  bare::PrintNumber(done_);
}

void Report::Pair(std::string_view key, uint64_t value) const {
  bare::Print(" ");
  bare::Print(key);
  bare::Print("=");
  bare::PrintNumber(value);
}

void Report::End() const {
  constexpr uint64_t kSecond = 1'000'000;
  Pair("slowest_us", slowest_ * kSecond / Ticks(kSecond));
  Pair("began_us", slowest_began_ * kSecond / Ticks(kSecond));
  if (problems_ != 0) Pair("problems", problems_);
  bare::Print("\n");
}

}  // namespace oracle
