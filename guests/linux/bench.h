// What the programs of scripts/bench for Linux guests have in common.
#ifndef ATOLL_GUESTS_LINUX_BENCH_H_
#define ATOLL_GUESTS_LINUX_BENCH_H_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// Begin (even) or end (odd) of what scripts/instruction_counter.c counts.
#define MARK(number) __asm__ volatile("hint #" #number : : : "memory")

static inline uint64_t Nanoseconds(void) {
  uint64_t ticks, frequency;
  __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
  __asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
  return ticks * (1000000000 / frequency);
}

// For qsort, of uint64_t.
static inline int Compare(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

static inline void Fail(const char* what) {
  perror(what);
  exit(1);
}

#endif  // ATOLL_GUESTS_LINUX_BENCH_H_
