// Latency of 4 KiB O_DIRECT reads and writes of a block device, one at a time: blkbench NAME DEVICE
// Prints lines BENCH NAME_read_p50 TICKS, of the system counter.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { kBytes = 4096, kWarmUp = 200, kOperations = 2001, kBlocks = 4096 };

static uint64_t Ticks(void) {
  uint64_t ticks;
  __asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
  return ticks;
}

static int Compare(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

static uint64_t ticks[kOperations];

static int Measure(const char* name, const char* what, int disk, char* buffer, int write) {
  uint64_t random = 1;
  for (int i = -kWarmUp; i < kOperations; ++i) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;  // Knuth, MMIX
    const off_t at = (off_t)(random >> 33) % kBlocks * kBytes;
    const uint64_t begin = Ticks();
    const ssize_t done = write ? pwrite(disk, buffer, kBytes, at) : pread(disk, buffer, kBytes, at);
    const uint64_t end = Ticks();
    if (done != kBytes) {
      perror(what);
      return 1;
    }
    if (i >= 0) ticks[i] = end - begin;
  }
  qsort(ticks, kOperations, sizeof(ticks[0]), Compare);
  printf("BENCH %s_%s_p50 %llu\n", name, what, (unsigned long long)ticks[kOperations / 2]);
  return 0;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const int disk = open(arguments[2], O_RDWR | O_DIRECT);
  char* buffer = aligned_alloc(kBytes, kBytes);
  if (disk < 0 || buffer == NULL) {
    perror(arguments[2]);
    return 1;
  }
  for (int i = 0; i < kBytes; ++i) buffer[i] = (char)i;
  return Measure(arguments[1], "read", disk, buffer, 0) || Measure(arguments[1], "write", disk, buffer, 1);
}
