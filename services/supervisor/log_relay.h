// Hands the kernel's log on to the console service, which prints it between the guests' lines.
#ifndef ATOLL_SERVICES_SUPERVISOR_LOG_RELAY_H_
#define ATOLL_SERVICES_SUPERVISOR_LOG_RELAY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "ipc/status.h"
#include "services/runtime/byte_ring.h"
#include "services/supervisor/kernel_calls.h"

namespace atoll {

class LogRelay {
 public:
  constexpr explicit LogRelay(KernelCalls& kernel) : kernel_(kernel) {}

  // From now on the kernel does not print; what it logs goes through the ring in `memory`, whose reader is
  // the console. Errors: those of the ring and of the kernel, which then goes on printing.
  Status Start(std::span<std::byte> memory);

  // The same for a later instance of the supervisor: no line is lost between the two, none comes twice.
  Status Resume(std::span<std::byte> memory);

  // There may be new lines, or room for them. Moves whole lines, as many as fit.
  void Pass();

  // The kernel prints by itself again, at first what the console has not taken from the ring.
  void Stop();

 private:
  // Writes what fits of the lines at the front of `text` and returns how many bytes that is.
  size_t WriteLines(std::span<const std::byte> text);
  void ReportLoss();
  void NoteBase();

  KernelCalls& kernel_;
  std::optional<ByteRingWriter> ring_;
  uint64_t next_ = 0;  // position in the kernel's log after what was written to the ring
  uint64_t lost_ = 0;  // bytes that the kernel dropped before they were read, not yet reported
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_LOG_RELAY_H_
