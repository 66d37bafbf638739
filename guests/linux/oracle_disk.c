// Writes that are read back: oracle_disk VM PATH SECONDS
//
// PATH is a block device or a file of 16 MiB. Each thread has blocks of its own, which it rewrites in any order, a few
// at a time, with numbers that only grow; then it makes them durable (fsync), and now and then reads some with O_DIRECT.
// What was acknowledged is known here, in memory: a block with an older number lost a write, one with another block's
// number or a wrong check is corrupted.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

enum { kThreads = 4, kBlock = 4096, kBlocks = 1024, kWords = kBlock / 8, kAtATime = 4 };

static const char* path;
static double end;
static atomic_ulong writes, reads, flushes;

static void Fill(uint64_t* words, uint64_t block, uint64_t number) {
  words[0] = block << 40 | number;
  uint64_t word = OracleMix(words[0]);
  for (int i = 1; i < kWords; ++i) words[i] = word += 0x9e3779b97f4a7c15;
}

static void Check(const uint64_t* words, uint64_t block, uint64_t number) {
  static __thread uint64_t expected[kWords];
  const uint64_t found = words[0] & ((1ull << 40) - 1);
  if (words[0] >> 40 != block) {
    OracleLost("corrupted block %lu: says %lu", block, words[0] >> 40);
  } else if (found != number) {
    OracleLost("%s block %lu: number %lu, wanted %lu", found < number ? "acknowledged write of" : "corrupted", block, found,
               number);
  } else {
    Fill(expected, block, number);
    if (memcmp(expected, words, kBlock) != 0) OracleLost("corrupted content of block %lu, number %lu", block, number);
  }
}

static int Transfer(int file, int write, void* data, uint64_t block) {
  const off_t at = (off_t)block * kBlock;
  const ssize_t done = write ? pwrite(file, data, kBlock, at) : pread(file, data, kBlock, at);
  if (done == kBlock) return 1;
  OracleLost("I/O error %d: %s of block %lu", errno, write ? "write" : "read", block);
  return 0;
}

static void* Work(void* argument) {
  const uint64_t thread = (uintptr_t)argument, first = thread * kBlocks;
  const int direct = open(path, O_RDWR | O_DIRECT), cached = open(path, O_RDWR);
  uint64_t *words, numbers[kBlocks] = {0}, number = 0, seed = OracleMix(thread + 1);
  if (direct < 0 || cached < 0 || posix_memalign((void**)&words, kBlock, kBlock) != 0) {
    OracleLost("%s does not open: %d", path, errno);
    return NULL;
  }
  while (OracleGoesOn(end)) {
    // Half of the threads write through the page cache: what fsync acknowledged must be on the disk.
    const int file = thread % 2 == 0 ? direct : cached;
    seed = OracleMix(seed + 0x9e3779b97f4a7c15);
    const unsigned count = 1 + seed % kAtATime;
    for (unsigned i = 0; i < count; ++i) {
      const uint64_t block = OracleMix(seed + i) % kBlocks;
      Fill(words, first + block, ++number);
      if (Transfer(file, 1, words, first + block)) numbers[block] = number;
      ++writes;
    }
    if (fdatasync(file) != 0) OracleLost("flush: error %d", errno);
    ++flushes;
    for (unsigned i = 0; i < count; ++i) {
      // Of those just written, and of any others.
      const uint64_t block = OracleMix(seed + i + (i % 2 == 0 ? 0 : number)) % kBlocks;
      if (numbers[block] == 0) continue;
      if (Transfer(direct, 0, words, first + block)) Check(words, first + block, numbers[block]);
      ++reads;
    }
    atomic_fetch_add(&oracle_done, count);
  }
  for (uint64_t block = 0; block < kBlocks; ++block) {
    if (numbers[block] != 0 && Transfer(direct, 0, words, first + block)) Check(words, first + block, numbers[block]);
  }
  return NULL;
}

int main(int count, char** arguments) {
  if (count != 4) return 2;
  oracle_vm = arguments[1];
  oracle_name = "disk";
  path = arguments[2];
  end = OracleSeconds() + atof(arguments[3]);
  pthread_t threads[kThreads];
  for (uintptr_t i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, Work, (void*)i);
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  return OracleEnd(" writes=%lu reads=%lu flushes=%lu", writes, reads, flushes);
}
