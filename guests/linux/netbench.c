// What frames between two machines cost: `netbench server`, then `netbench client ADDRESS` on the other one.
//
// The client prints BENCH net_round_trip NANOSECONDS, the median of UDP messages of 64 bytes there and back, and
// BENCH net_stream NANOSECONDS, of 32 MiB by TCP until the server says that it has them. Around the latter it executes two
// `hint` instructions that mark begin and end for scripts/instruction_counter.c. Then it tells the server to end.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench.h"

enum { kStreamPort = 5001, kMessagePort = 5002 };
enum { kMessageBytes = 64, kRounds = 1001, kWarmUp = 100, kTries = 200, kMicrosecondsBetween = 100000 };
enum { kStreamBytes = 32 << 20, kWarmUpBytes = 4 << 20, kBuffer = 256 << 10 };

static char buffer[kBuffer];

static struct sockaddr_in Address(const char* host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) Fail(host);
  return address;
}

static int Socket(int type, const char* host, int port, int to_connect) {
  const struct sockaddr_in address = Address(host, port);
  const int yes = 1, made = socket(AF_INET, type, 0);
  if (made < 0) Fail("socket");
  setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  const int done = to_connect ? connect(made, (const struct sockaddr*)&address, sizeof(address))
                              : bind(made, (const struct sockaddr*)&address, sizeof(address));
  if (done == 0) return made;
  close(made);
  return -1;
}

// Takes streams, then echoes messages until an empty one.
static int Serve(void) {
  const int listener = Socket(SOCK_STREAM, "0.0.0.0", kStreamPort, 0);
  const int messages = Socket(SOCK_DGRAM, "0.0.0.0", kMessagePort, 0);
  if (listener < 0 || messages < 0 || listen(listener, 1) != 0) Fail("server");
  for (int i = 0; i < 2; ++i) {  // the one to warm up, and the one that counts
    const int stream = accept(listener, NULL, NULL);
    uint64_t total = 0;
    ssize_t got;
    while ((got = read(stream, buffer, sizeof(buffer))) > 0) total += got;
    if (write(stream, &total, sizeof(total)) != sizeof(total)) Fail("answer");
    close(stream);
  }
  for (;;) {
    struct sockaddr_in peer;
    socklen_t bytes = sizeof(peer);
    const ssize_t got = recvfrom(messages, buffer, sizeof(buffer), 0, (struct sockaddr*)&peer, &bytes);
    if (got <= 0) return got < 0;
    sendto(messages, buffer, got, 0, (const struct sockaddr*)&peer, bytes);
  }
}

static uint64_t Stream(const char* host, uint64_t bytes) {
  int stream = -1;
  for (int i = 0; i < kTries && stream < 0; ++i) {
    if (i > 0) usleep(kMicrosecondsBetween);
    stream = Socket(SOCK_STREAM, host, kStreamPort, 1);
  }
  if (stream < 0) Fail("connect");
  const uint64_t begin = Nanoseconds();
  for (uint64_t left = bytes; left > 0;) {
    const ssize_t sent = write(stream, buffer, left < kBuffer ? left : kBuffer);
    if (sent <= 0) Fail("send");
    left -= sent;
  }
  shutdown(stream, SHUT_WR);
  uint64_t taken = 0;
  if (read(stream, &taken, sizeof(taken)) != sizeof(taken) || taken != bytes) Fail("the server's count");
  const uint64_t end = Nanoseconds();
  close(stream);
  return end - begin;
}

static uint64_t RoundTrip(const char* host) {
  static uint64_t times[kRounds];
  const int messages = Socket(SOCK_DGRAM, host, kMessagePort, 1);
  const struct timeval second = {.tv_sec = 1};
  setsockopt(messages, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
  for (int i = -kWarmUp; i < kRounds; ++i) {
    const uint64_t begin = Nanoseconds();
    if (send(messages, buffer, kMessageBytes, 0) != kMessageBytes) Fail("send");
    if (recv(messages, buffer, sizeof(buffer), 0) != kMessageBytes) Fail("answer");
    if (i >= 0) times[i] = Nanoseconds() - begin;
  }
  send(messages, buffer, 0, 0);
  qsort(times, kRounds, sizeof(times[0]), Compare);
  return times[kRounds / 2];
}

int main(int count, char** arguments) {
  memset(buffer, 0x5a, sizeof(buffer));
  if (count == 2 && strcmp(arguments[1], "server") == 0) return Serve();
  if (count != 3) return 2;
  Stream(arguments[2], kWarmUpBytes);
  MARK(100);
  const uint64_t stream = Stream(arguments[2], kStreamBytes);
  MARK(101);
  printf("BENCH net_stream %llu\n", (unsigned long long)stream);
  printf("BENCH net_round_trip %llu\n", (unsigned long long)RoundTrip(arguments[2]));
  return 0;
}
