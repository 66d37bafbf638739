// What the measuring guests share. Under -icount shift=0 the counter shows instructions of all exception levels
// together (1 ns each).
#ifndef ATOLL_GUESTS_BENCH_BENCH_H_
#define ATOLL_GUESTS_BENCH_BENCH_H_

#include "guests/bare/bare.h"

namespace bare {

// Prints BENCH NAME HUNDREDTHS, of an instruction.
inline void Report(std::string_view name, uint64_t hundredths) {
  Print("BENCH ");
  Print(name);
  Print(" ");
  PrintNumber(hundredths);
  Print("\n");
}

inline uint64_t Hundredths(uint64_t ticks, uint64_t operations) {
  const uint64_t nanoseconds_per_tick = 1'000'000'000 / BARE_READ("cntfrq_el0");
  return ticks * nanoseconds_per_tick * 100 / operations;
}

// Moments for scripts/instruction_counter.c; no operation for a processor.
inline void MarkBegin() { asm volatile("hint #100" ::: "memory"); }
inline void MarkEnd() { asm volatile("hint #101" ::: "memory"); }

}  // namespace bare

// The leanest handler there is (vectors.S): x9 scratch, x10 = counter at entry, x11 counts, x13 != 0 turns the
// virtual timer off. All in registers, so what is measured is not the guest's own.
extern "C" char bench_vectors[];
#define BENCH_REGISTERS "x9", "x10", "x11", "x12", "x13", "x14", "memory", "cc"

#endif  // ATOLL_GUESTS_BENCH_BENCH_H_
