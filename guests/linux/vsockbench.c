// What sockets of virtio-vsock cost: `vsockbench serve`, then `vsockbench CID` in another guest. A program of the host may
// serve, too (scripts/bench_sockets.py).
//
// A connection begins with two 64-bit words of the client: so many bytes it sends, then it takes so many. The client prints
// BENCH vsock_to NANOSECONDS, of 32 MiB to the server until that says that it has them, and BENCH vsock_from, of as many from
// it. Around each it executes two `hint` instructions that mark begin and end for scripts/instruction_counter.c.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>  // needs sys/socket.h

#include "bench.h"

enum { kPort = 5000, kTries = 600, kMicrosecondsBetween = 100000, kConnections = 3 };
enum { kStreamBytes = 32 << 20, kWarmUpBytes = 2 << 20, kAnswerBytes = 8, kBuffer = 256 << 10 };

static char buffer[kBuffer];

static void Send(int connection, const void* from, uint64_t bytes, int repeat) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t left = bytes - done;
    const char* const at = repeat ? buffer : (const char*)from + done;
    const ssize_t sent = write(connection, at, repeat && left > kBuffer ? kBuffer : left);
    if (sent <= 0) Fail("send");
    done += sent;
  }
}

static void Take(int connection, void* to, uint64_t bytes, int repeat) {
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t left = bytes - done;
    char* const at = repeat ? buffer : (char*)to + done;
    const ssize_t got = read(connection, at, repeat && left > kBuffer ? kBuffer : left);
    if (got <= 0) Fail("receive");
    done += got;
  }
}

static int Serve(void) {
  const struct sockaddr_vm own = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = kPort};
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (bind(listener, (const struct sockaddr*)&own, sizeof(own)) != 0 || listen(listener, 1) != 0) Fail("listen");
  for (int i = 0; i < kConnections; ++i) {
    const int connection = accept(listener, NULL, NULL);
    uint64_t counts[2];
    Take(connection, counts, sizeof(counts), 0);
    Take(connection, NULL, counts[0], 1);
    Send(connection, NULL, counts[1], 1);
    close(connection);
  }
  return 0;
}

static int Connect(unsigned cid) {
  const struct sockaddr_vm peer = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = kPort};
  for (int i = 0; i < kTries; ++i) {
    const int connection = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (connect(connection, (const struct sockaddr*)&peer, sizeof(peer)) == 0) return connection;
    close(connection);
    usleep(kMicrosecondsBetween);
  }
  Fail("connect");
  return -1;
}

static uint64_t Exchange(unsigned cid, uint64_t sent, uint64_t taken) {
  const int connection = Connect(cid);
  const uint64_t counts[2] = {sent, taken}, begin = Nanoseconds();
  Send(connection, counts, sizeof(counts), 0);
  Send(connection, NULL, sent, 1);
  Take(connection, NULL, taken, 1);
  const uint64_t end = Nanoseconds();
  close(connection);
  return end - begin;
}

int main(int count, char** arguments) {
  if (count != 2) return 2;
  memset(buffer, 0x5a, sizeof(buffer));
  if (strcmp(arguments[1], "serve") == 0) return Serve();
  const unsigned cid = strtoul(arguments[1], NULL, 0);
  Exchange(cid, kWarmUpBytes, kWarmUpBytes);
  MARK(100);
  const uint64_t to = Exchange(cid, kStreamBytes, kAnswerBytes);
  MARK(101);
  printf("BENCH vsock_to %llu\n", (unsigned long long)to);
  MARK(100);
  const uint64_t from = Exchange(cid, 0, kStreamBytes);
  MARK(101);
  printf("BENCH vsock_from %llu\n", (unsigned long long)from);
  return 0;
}
