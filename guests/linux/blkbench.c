// What reads and writes of a block device cost, O_DIRECT: blkbench NAME DEVICE
//
// 4 KiB at random places, one at a time and 32 at a time, and 1 MiB, one at a time. Prints lines BENCH NAME_WHAT
// NANOSECONDS, of a request each: the median, or the average where several are on their way. Around each measurement it
// executes two `hint` instructions that mark its begin and end for scripts/instruction_counter.c.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { kSmall = 4096, kSmallOperations = 2001, kBlocks = 4096 };
enum { kDepth = 32, kDeepOperations = 128 * kDepth };
enum { kLarge = 1 << 20, kLargeOperations = 101, kLargeBlocks = 16 };
enum { kMaxOperations = kSmallOperations };

static uint64_t random_state = 1;
static off_t RandomBlock(int blocks) {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;  // Knuth, MMIX
  return (off_t)(random_state >> 33) % blocks;
}

static void Report(const char* name, const char* what, uint64_t nanoseconds) {
  printf("BENCH %s_%s %llu\n", name, what, (unsigned long long)nanoseconds);
}

// One request at a time: the median.
static int MeasureSingle(const char* name, const char* what, int disk, char* buffer, int write, int bytes, int blocks,
                         int operations) {
  static uint64_t times[kMaxOperations];
  for (int i = -operations / 10; i < operations; ++i) {
    if (i == 0) MARK(100);
    const off_t at = RandomBlock(blocks) * bytes;
    const uint64_t begin = Nanoseconds();
    const ssize_t done = write ? pwrite(disk, buffer, bytes, at) : pread(disk, buffer, bytes, at);
    const uint64_t end = Nanoseconds();
    if (done != bytes) {
      perror(what);
      return 1;
    }
    if (i >= 0) times[i] = end - begin;
  }
  MARK(101);
  qsort(times, operations, sizeof(times[0]), Compare);
  Report(name, what, times[operations / 2]);
  return 0;
}

// As many as kDepth requests at a time: whatever is completed is replaced at once.
static int MeasureDeep(const char* name, const char* what, int disk, char* buffers, int write) {
  aio_context_t context = 0;
  static struct iocb requests[kDepth];
  struct iocb* next[kDepth];
  struct io_event events[kDepth];
  if (syscall(SYS_io_setup, kDepth, &context) != 0) {
    perror("io_setup");
    return 1;
  }
  for (int i = 0; i < kDepth; ++i) {
    requests[i].aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    requests[i].aio_fildes = disk;
    requests[i].aio_buf = (uintptr_t)(buffers + i * kSmall);
    requests[i].aio_nbytes = kSmall;
    next[i] = &requests[i];
  }
  uint64_t begin = 0;
  int submitted = 0, completed = 0, ready = kDepth;
  while (completed < kDepth + kDeepOperations) {
    if (begin == 0 && completed >= kDepth) {  // the first ones warm it up
      MARK(100);
      begin = Nanoseconds();
    }
    for (int i = 0; i < ready; ++i) next[i]->aio_offset = RandomBlock(kBlocks) * kSmall;
    if (ready > 0 && syscall(SYS_io_submit, context, ready, next) != ready) {
      perror("io_submit");
      return 1;
    }
    submitted += ready;
    const int done = syscall(SYS_io_getevents, context, 1, kDepth, events, NULL);
    if (done < 1) {
      perror("io_getevents");
      return 1;
    }
    completed += done;
    ready = 0;
    for (int i = 0; i < done; ++i) {
      if (events[i].res != kSmall) {
        fprintf(stderr, "%s: a request ended with %lld\n", what, (long long)events[i].res);
        return 1;
      }
      if (submitted + ready < kDepth + kDeepOperations) next[ready++] = (struct iocb*)(uintptr_t)events[i].obj;
    }
  }
  const uint64_t end = Nanoseconds();
  MARK(101);
  syscall(SYS_io_destroy, context);
  Report(name, what, (end - begin) / kDeepOperations);
  return 0;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const char* name = arguments[1];
  const int disk = open(arguments[2], O_RDWR | O_DIRECT);
  char* buffer = aligned_alloc(kLarge, kLarge);
  if (disk < 0 || buffer == NULL) {
    perror(arguments[2]);
    return 1;
  }
  for (int i = 0; i < kLarge; ++i) buffer[i] = (char)i;
  return MeasureSingle(name, "read_p50", disk, buffer, 0, kSmall, kBlocks, kSmallOperations) ||
         MeasureSingle(name, "write_p50", disk, buffer, 1, kSmall, kBlocks, kSmallOperations) ||
         MeasureDeep(name, "read_32", disk, buffer, 0) || MeasureDeep(name, "write_32", disk, buffer, 1) ||
         MeasureSingle(name, "read_1m", disk, buffer, 0, kLarge, kLargeBlocks, kLargeOperations) ||
         MeasureSingle(name, "write_1m", disk, buffer, 1, kLarge, kLargeBlocks, kLargeOperations);
}
