// Streams both ways: oracle_stream VM[.NAME] SECONDS PORT [ADDRESS], over TCP; ... PORT vsock [CID]
//
// Without an address or CID it waits for the peer. NAME: in reports, `stream` by default. Each side sends for so long and
// looks at each byte that it gets; the stream
// says itself what byte is where. A connection that breaks, and a byte that is missing, doubled or another, is a loss.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>  // needs sys/socket.h

#include "oracle.h"

enum { kStreams = 2, kChunk = 16384, kConnectTries = 600, kMicrosecondsBetween = 100000 };

static double seconds;
static int port;
static int is_vsock;
static const char* address;  // or CID; NULL: it waits
static atomic_ulong sent_bytes;

// Bytes at `at` (a multiple of 8) of stream `stream` in direction `direction`.
static void Fill(uint64_t* words, unsigned stream, unsigned direction, uint64_t at) {
  for (int i = 0; i < kChunk / 8; ++i) words[i] = OracleMix((uint64_t)stream << 60 | (uint64_t)direction << 56 | (at / 8 + i));
}

static void* Send(void* argument) {
  const uint64_t packed = (uintptr_t)argument;
  const int socket_of = packed & 0xffff;
  const unsigned stream = packed >> 16;
  static __thread uint64_t chunk[kChunk / 8];
  const double end = OracleSeconds() + seconds;
  for (uint64_t at = 0; OracleGoesOn(end); at += kChunk) {
    Fill(chunk, stream, address != NULL, at);
    for (size_t done = 0; done < kChunk;) {
      const ssize_t now = send(socket_of, (char*)chunk + done, kChunk - done, MSG_NOSIGNAL);
      if (now <= 0) {
        OracleLost("stream %u: connection broke after %lu bytes sent: error %d", stream, at + done, errno);
        return NULL;
      }
      done += now;
    }
    sent_bytes += kChunk;
  }
  shutdown(socket_of, SHUT_WR);
  return NULL;
}

static void Receive(int socket_of, unsigned stream) {
  static __thread uint64_t chunk[kChunk / 8], expected[kChunk / 8];
  for (uint64_t at = 0;; at += kChunk) {
    size_t done = 0;
    while (done < kChunk) {
      const ssize_t now = recv(socket_of, (char*)chunk + done, kChunk - done, 0);
      if (now < 0) OracleLost("stream %u: connection broke after %lu bytes received: error %d", stream, at + done, errno);
      if (now < 0) return;
      if (now == 0) break;
      done += now;
    }
    Fill(expected, stream, address == NULL, at);
    if (memcmp(expected, chunk, done) != 0) {
      OracleLost("stream %u: corrupted in the %d bytes from %lu", stream, kChunk, at);
      return;
    }
    atomic_fetch_add(&oracle_done, done);
    if (done == 0) return;
    if (done != kChunk) {
      OracleLost("stream %u: ended in the middle, after %lu bytes", stream, at + done);
      return;
    }
  }
}

typedef union {
  struct sockaddr any;
  struct sockaddr_in internet;
  struct sockaddr_vm vm;
} Address;

// Of the peer, or one's own.
static socklen_t AddressOf(unsigned stream, Address* result) {
  memset(result, 0, sizeof(*result));
  if (is_vsock) {
    result->vm = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_port = port + stream,
                                      .svm_cid = address != NULL ? strtoul(address, NULL, 0) : VMADDR_CID_ANY};
    return sizeof(result->vm);
  }
  result->internet = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port + stream)};
  if (address != NULL) inet_pton(AF_INET, address, &result->internet.sin_addr);
  return sizeof(result->internet);
}

// Somebody on the way may have taken the connection before the peer listens: then it ends before the peer's first byte,
// which comes without being asked for.
static int Connect(unsigned stream) {
  Address peer;
  const socklen_t bytes = AddressOf(stream, &peer);
  for (int i = 0; i < kConnectTries; ++i) {
    const int socket_of = socket(peer.any.sa_family, SOCK_STREAM, 0);
    char first;
    if (connect(socket_of, &peer.any, bytes) == 0 && recv(socket_of, &first, 1, MSG_PEEK) == 1) return socket_of;
    close(socket_of);
    usleep(kMicrosecondsBetween);
  }
  return -1;
}

static int Accept(unsigned stream) {
  Address own;
  const socklen_t bytes = AddressOf(stream, &own);
  const int listener = socket(own.any.sa_family, SOCK_STREAM, 0), yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(listener, &own.any, bytes) != 0 || listen(listener, 1) != 0) return -1;
  return accept(listener, NULL, NULL);
}

static void* Stream(void* argument) {
  const unsigned stream = (uintptr_t)argument;
  const int socket_of = address != NULL ? Connect(stream) : Accept(stream);
  if (socket_of < 0) {
    OracleLost("stream %u: no connection: error %d", stream, errno);
    return NULL;
  }
  pthread_t sender;
  pthread_create(&sender, NULL, Send, (void*)(uintptr_t)(stream << 16 | socket_of));
  Receive(socket_of, stream);
  pthread_join(sender, NULL);
  return NULL;
}

int main(int count, char** arguments) {
  if (count < 4) return 2;
  oracle_vm = arguments[1];
  char* const dot = strchr(arguments[1], '.');
  oracle_name = dot != NULL ? dot + 1 : "stream";
  if (dot != NULL) *dot = '\0';
  seconds = atof(arguments[2]);
  port = atoi(arguments[3]);
  is_vsock = count > 4 && strcmp(arguments[4], "vsock") == 0;
  address = count > 4 + is_vsock ? arguments[4 + is_vsock] : NULL;
  pthread_t threads[kStreams];
  for (uintptr_t i = 0; i < kStreams; ++i) pthread_create(&threads[i], NULL, Stream, (void*)i);
  for (int i = 0; i < kStreams; ++i) pthread_join(threads[i], NULL);
  return OracleEnd(" sent=%lu", sent_bytes);
}
