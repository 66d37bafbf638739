// The binary interface between kernel and tasks: registers of a call, labels, memory layout of a task.
//
// The kernel calls themselves (numbers, arguments, results, bounds) are declared in proto/kernel.proto.
// Three calls move messages and are declared here, because their registers *are* the interface:
//
//   svc #0 with x8 = call number; flags are not preserved, x19-x30 and SP are.
//
//   kCall       in  x0 endpoint handle, x1 label, x2-x7 words
//               out x0 status of the call itself, x1 reply label, x2-x7 reply words
//   kReplyWait  in  x0 reply token (0: reply to nobody), x1 reply label, x2-x7 reply words
//               out x0 status, x1 label, x2-x7 words, x8 badge, x9 token, x10 attempt
//                   token 0: not a call but signals; x2 = the signal bits, now cleared
//                   status CANCELLED: the caller answered is gone; nothing was waited for
//   kReply      in  as kReplyWait; out x0 status. Does not wait.
//
// A token names one call of one caller: bits [63:48] the caller, bits [47:0] its call id, which the
// kernel counts per caller and repeats unchanged when a call is redelivered after the death of a server;
// then attempt (1 at first) grows by one.
#ifndef ATOLL_IPC_ABI_H_
#define ATOLL_IPC_ABI_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "ipc/address.h"
#include "ipc/status.h"

namespace atoll::abi {

// Call numbers of the three message calls. All others: the `call` option of proto/kernel.proto, >= 8.
inline constexpr uint64_t kCall = 1;
inline constexpr uint64_t kReplyWait = 2;
inline constexpr uint64_t kReply = 3;

// Payload words of a register message: x2..x7 of the message calls, x1..x6 of kernel calls.
inline constexpr size_t kMessageWords = 6;
using Words = std::array<uint64_t, kMessageWords>;

// Label, x1 of a message. Request: [15:0] method ((interface << 8) | rpc). Reply: [15:0] status code.
// Both: [63:32] bytes of a buffer message in the IPC page, 0 for a register message.
constexpr uint64_t MakeLabel(uint32_t code, uint32_t buffer_bytes = 0) {
  return (uint64_t{buffer_bytes} << 32) | (code & 0xffff);
}
constexpr uint32_t LabelCode(uint64_t label) { return static_cast<uint32_t>(label & 0xffff); }
constexpr uint32_t LabelBytes(uint64_t label) { return static_cast<uint32_t>(label >> 32); }

// The largest buffer message; the size of a task's IPC page.
inline constexpr size_t kIpcBytes = 4096;

// A handle is an index into the task's handle table. 0 is never a valid handle.
struct Handle {
  uint32_t slot = 0;
  constexpr bool operator==(const Handle&) const = default;
};

// Handles of one kind, so that nothing else is taken for one (manifest.h of services).
struct SignalHandle : Handle {};
struct EndpointHandle : Handle {};

// Fixed places in a task's address space (39 bits, TTBR0_EL2). Everything else is placed by the
// manifest, at or above kGrantBase.
inline constexpr VirtAddr kImageBase{0x0040'0000};   // ELF image
inline constexpr VirtAddr kStackTop{0x1000'0000};    // grows down; unmapped below its size
inline constexpr VirtAddr kIpcPage{0x1000'1000};     // one page, read-write
inline constexpr VirtAddr kConfigPage{0x1000'3000};  // start configuration, read-only, 16 KiB
inline constexpr size_t kConfigBytes = 16384;
inline constexpr VirtAddr kStatisticsPage{
    0x1000'8000};  // one page, read-write: services/runtime/statistics.h
inline constexpr VirtAddr kJournalBase{0x1010'0000};      // memory that outlives the instance
inline constexpr VirtAddr kGrantBase{0x2000'0000};        // shared rings, devices, images
inline constexpr VirtAddr kGuestRamBase{0x20'0000'0000};  // guest RAM of the task's VM: base + IPA
inline constexpr uint64_t kTaskSpaceBits = 39;

// Guest physical address space of every VM.
inline constexpr uint64_t kGuestPhysBits = 40;

// The supervisor, which the kernel itself starts again when it dies: its journal, and in the last page of that what the
// kernel notes of its last death. All zero when the machine starts.
inline constexpr size_t kRootJournalBytes = 512 * 1024;
struct RootDeath {
  uint64_t deaths;  // so far
  uint64_t cause;   // DeathCause
  uint64_t esr;
  uint64_t far;
  uint64_t time;  // CNTPCT_EL0
  std::array<uint64_t, 31> x;
  uint64_t sp;
  uint64_t pc;
  uint64_t pstate;
};
inline constexpr VirtAddr kRootDeathPage = kJournalBase + (kRootJournalBytes - kPageSize);

// Rank order of calls: a task may only be granted endpoints of a lower rank (no cycles, depth <= 4).
inline constexpr uint32_t kMaxRank = 4;  // vCPUs call with this rank

// Start of a task: x0 = bytes of configuration in kConfigPage, x1 = instance generation (0 at first) and flags.
inline constexpr uint64_t kStartGeneration = 0xffff'ffff;
inline constexpr uint64_t kStartFailed = uint64_t{1}
                                         << 32;  // failed mode: services/runtime/service.h

inline constexpr uint64_t kStartBlamed =
    uint64_t{1} << 33;  // the instance before died of what it did: StartInfo::blamed

// Bit of every task's signal with which the supervisor asks for a sign of life: whoever receives it lives.
inline constexpr uint32_t kHeartbeatBit = 61;

}  // namespace atoll::abi

#endif  // ATOLL_IPC_ABI_H_
