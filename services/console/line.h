// The line between a guest's pl011 service and the console: two byte rings in the memory that both
// manifests name "ring", the guest's output in its first half, its input in the second.
#ifndef ATOLL_SERVICES_CONSOLE_LINE_H_
#define ATOLL_SERVICES_CONSOLE_LINE_H_

#include <cstddef>
#include <expected>
#include <span>

#include "ipc/status.h"
#include "services/runtime/byte_ring.h"

namespace atoll {

template <typename Output, typename Input>
struct ConsoleLineEnd {
  // Errors: those of the rings' Attach.
  static Result<ConsoleLineEnd> Attach(std::span<std::byte> memory) {
    const size_t half = memory.size() / 2;
    Result<Output> output = Output::Attach(memory.first(half));
    if (!output.has_value()) return std::unexpected(output.error());
    Result<Input> input = Input::Attach(memory.subspan(half));
    if (!input.has_value()) return std::unexpected(input.error());
    return ConsoleLineEnd{.output = *output, .input = *input};
  }

  Output output;  // from the guest
  Input input;    // to the guest
};

using GuestLine = ConsoleLineEnd<ByteRingWriter, ByteRingReader>;    // pl011's end
using ConsoleLine = ConsoleLineEnd<ByteRingReader, ByteRingWriter>;  // the console's end

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_LINE_H_
