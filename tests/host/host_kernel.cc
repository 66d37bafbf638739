// The kernel as a service in a process of this computer sees it: each call becomes a message on a socket, answered by
// scripts/host_task.py, and the task's memory is a file that both have mapped. `main` is that of every host_NAME.
//
// A message is the registers of `svc #0` as ipc/abi.h tells them: x8, x0 .. x8 to the kernel, x0 .. x10 back. Before the
// first one come a Setup and its regions.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>

#include "ipc/system_call.h"
#include "services/runtime/kernel_ports.h"
#include "services/runtime/task_memory.h"

namespace atoll {

extern "C" [[noreturn]] void atoll_start_service(uint64_t config_bytes, uint64_t start);

namespace {

struct Setup {
  uint64_t regions;
  uint64_t config_bytes;  // x0 and x1 of a task's start
  uint64_t start;
  uint64_t counter;  // where in the file the system counter and its frequency are
};

struct Region {
  uint64_t address;  // of the task
  uint64_t bytes;
  uint64_t offset;  // in the file
  uint64_t writable;
};

using Registers = std::array<uint64_t, 10>;  // x8, x0 .. x8
using Answer = std::array<uint64_t, 11>;     // x0 .. x10

int connection = -1;
const volatile uint64_t* counter = nullptr;

[[noreturn]] void Fail(const char* what) {
  perror(what);
  _exit(2);
}

// Whoever plays the kernel may end the task at any call, which it does by hanging up.
void Receive(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = read(connection, bytes.data(), bytes.size());
    if (got <= 0) _exit(0);
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

Answer Ask(const Registers& registers) {
  if (write(connection, registers.data(), sizeof(registers)) != ssize_t{sizeof(registers)})
    _exit(0);
  Answer answer;
  Receive(std::as_writable_bytes(std::span(answer)));
  return answer;
}

Registers MessageRegisters(uint64_t number, uint64_t x0, const Message& message) {
  Registers registers{number, x0, message.label};
  std::ranges::copy(message.words, registers.begin() + 3);
  return registers;
}

Message MessageOf(const Answer& answer) {
  Message message{.label = answer[1], .words = {}};
  std::copy_n(answer.begin() + 2, message.words.size(), message.words.begin());
  return message;
}

void* Map(void* where, uint64_t bytes, int protection, int file, uint64_t offset) {
  const int fixed = where != nullptr ? MAP_FIXED_NOREPLACE : 0;
  void* const memory =
      mmap(where, bytes, protection, MAP_SHARED | fixed, file, static_cast<off_t>(offset));
  if (memory == MAP_FAILED || (where != nullptr && memory != where)) Fail("the task's memory");
  return memory;
}

void Connect(const char* path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (strlen(path) >= sizeof(address.sun_path)) Fail(path);
  strcpy(address.sun_path, path);
  connection = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    Fail(path);
}

[[noreturn]] void Start(const char* socket_path, const char* memory_path) {
  const int file = open(memory_path, O_RDWR);
  if (file < 0) Fail(memory_path);
  Connect(socket_path);
  Setup setup;
  Receive(std::as_writable_bytes(std::span(&setup, 1)));
  for (uint64_t i = 0; i < setup.regions; ++i) {
    Region region;
    Receive(std::as_writable_bytes(std::span(&region, 1)));
    Map(TaskPointer<void>(VirtAddr(region.address)), region.bytes,
        region.writable != 0 ? PROT_READ | PROT_WRITE : PROT_READ, file, region.offset);
  }
  counter = static_cast<uint64_t*>(Map(nullptr, kPageSize, PROT_READ, file, setup.counter));
  atoll_start_service(setup.config_bytes, setup.start);
}

}  // namespace

uint64_t SystemCounter::Ticks() const { return counter[0]; }
uint64_t SystemCounter::TicksPerSecond() const { return counter[1]; }

namespace abi {

KernelReply SystemCall(uint32_t number, Handle handle, const Words& words) {
  Registers registers{number, handle.slot};
  std::ranges::copy(words, registers.begin() + 2);
  const Answer answer = Ask(registers);
  KernelReply reply{.status = StatusFromNumber(answer[0]), .words = {}};
  std::copy_n(answer.begin() + 1, reply.words.size(), reply.words.begin());
  return reply;
}

Result<Message> Call(Handle endpoint, const Message& request) {
  const Answer answer = Ask(MessageRegisters(kCall, endpoint.slot, request));
  if (answer[0] != 0) return std::unexpected(StatusFromNumber(answer[0]));
  return MessageOf(answer);
}

Received ReplyWait(uint64_t token, const Message& reply) {
  const Answer answer = Ask(MessageRegisters(kReplyWait, token, reply));
  return {.status = StatusFromNumber(answer[0]),
          .call = {.badge = answer[8], .token = answer[9], .attempt = answer[10]},
          .message = MessageOf(answer)};
}

Status Reply(uint64_t token, const Message& reply) {
  return StatusFromNumber(Ask(MessageRegisters(kReply, token, reply))[0]);
}

std::span<std::byte> IpcPage() { return MappedMemory(kIpcPage, kIpcBytes); }

}  // namespace abi

}  // namespace atoll

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "%s SOCKET MEMORY: scripts/host-run starts it\n", argv[0]);
    return 2;
  }
  atoll::Start(argv[1], argv[2]);
}
