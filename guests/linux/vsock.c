// Standard input and output over a socket of virtio-vsock:
// vsock listen PORT [COMMAND...] | vsock connect CID PORT | vsock try CID PORT
//
// With a COMMAND, who connects gets its input and output instead. Ends when both directions have, or when what is to be
// received breaks off. Who connects tries until somebody listens, or once.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>  // needs sys/socket.h

enum { kChunk = 1 << 16, kConnectTries = 1200, kMicrosecondsBetween = 50000 };

static int Fail(const char* what) {
  fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
  return 1;
}

static int Copy(int from, int to, const char* what) {
  static __thread char chunk[kChunk];
  for (;;) {
    const ssize_t count = read(from, chunk, sizeof(chunk));
    if (count == 0) return 0;
    if (count < 0) return Fail(what);
    for (ssize_t done = 0; done < count;) {
      const ssize_t now = write(to, chunk + done, count - done);
      if (now < 0) return Fail(what);
      done += now;
    }
  }
}

static void* Send(void* argument) {
  const int connection = *(int*)argument;
  const int status = Copy(0, connection, "send");
  shutdown(connection, SHUT_WR);
  return status == 0 ? NULL : argument;
}

static int Connect(unsigned cid, unsigned port, int tries) {
  const struct sockaddr_vm peer = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
  for (int i = 0; i < tries; ++i) {
    if (i != 0) usleep(kMicrosecondsBetween);
    const int connection = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (connection < 0) return -1;
    if (connect(connection, (const struct sockaddr*)&peer, sizeof(peer)) == 0) return connection;
    const int error = errno;
    close(connection);
    errno = error;
  }
  return -1;
}

static int Accept(unsigned port) {
  const struct sockaddr_vm own = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (const struct sockaddr*)&own, sizeof(own)) != 0 ||
      listen(listener, 1) != 0) {
    return -1;
  }
  return accept(listener, NULL, NULL);
}

int main(int count, char** arguments) {
  int connection = -1;
  if (count >= 3 && strcmp(arguments[1], "listen") == 0) {
    connection = Accept(strtoul(arguments[2], NULL, 0));
    if (connection >= 0 && count > 3) {
      if (dup2(connection, 0) == 0 && dup2(connection, 1) == 1) execvp(arguments[3], &arguments[3]);
      return Fail(arguments[3]);
    }
  } else if (count == 4 && (strcmp(arguments[1], "connect") == 0 || strcmp(arguments[1], "try") == 0)) {
    const int tries = arguments[1][0] == 't' ? 1 : kConnectTries;
    connection = Connect(strtoul(arguments[2], NULL, 0), strtoul(arguments[3], NULL, 0), tries);
  } else {
    fprintf(stderr, "usage: vsock listen PORT [COMMAND...] | vsock connect CID PORT | vsock try CID PORT\n");
    return 2;
  }
  if (connection < 0) return Fail(arguments[1]);
  pthread_t sender;
  void* failed;
  pthread_create(&sender, NULL, Send, &connection);
  if (Copy(connection, 1, "receive") != 0) return 1;
  pthread_join(sender, &failed);
  return failed != NULL;
}
