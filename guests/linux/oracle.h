// What the oracles of Linux guests have in common. Their reports are those of guests/oracle/report.h.
#ifndef ATOLL_GUESTS_LINUX_ORACLE_H_
#define ATOLL_GUESTS_LINUX_ORACLE_H_

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char* oracle_vm;
static const char* oracle_name;
static atomic_ulong oracle_done, oracle_problems;
enum { kOraclePrinted = 8 };

// One write for a line, so that lines of several programs do not mix.
static void OracleSay(const char* word, const char* format, va_list arguments) {
  char line[256];
  int length = snprintf(line, sizeof(line), "oracle: %s.%s %s ", oracle_vm, oracle_name, word);
  length += vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
  line[length++] = '\n';
  if (write(1, line, length) != length) _exit(1);
}

__attribute__((format(printf, 1, 2))) static inline void OracleLost(const char* format, ...) {
  if (atomic_fetch_add(&oracle_problems, 1) >= kOraclePrinted) return;
  va_list arguments;
  va_start(arguments, format);
  OracleSay("lost", format, arguments);
  va_end(arguments);
}

__attribute__((format(printf, 1, 2))) static inline void OracleLine(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  OracleSay("line", format, arguments);
  va_end(arguments);
}

// The last line; `format`: " key=value"s. The exit status of the program.
__attribute__((format(printf, 1, 2))) static inline int OracleEnd(const char* format, ...) {
  va_list arguments;
  char numbers[128];
  va_start(arguments, format);
  vsnprintf(numbers, sizeof(numbers), format, arguments);
  va_end(arguments);
  printf("oracle: %s.%s %s %lu%s\n", oracle_vm, oracle_name, oracle_problems ? "bad" : "ok",
         oracle_done, numbers);
  return oracle_problems != 0;
}

static inline double OracleSeconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Until `end`, or until somebody was told to end (oracle_machine echo).
#define ORACLE_STOP "/tmp/stop"
static inline int OracleGoesOn(double end) {
  return OracleSeconds() < end && access(ORACLE_STOP, F_OK) != 0;
}

// A bijection that spreads its argument over all bits (the finalizer of SplitMix64).
static inline uint64_t OracleMix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

#endif  // ATOLL_GUESTS_LINUX_ORACLE_H_
