#include "kernel/log/panic.h"

#include <bits/functexcept.h>

#include <atomic>
#include <cstdlib>

#include "kernel/boot/image.h"
#include "kernel/boot/stacks.h"
#include "kernel/log/line.h"
#include "kernel/log/log_output.h"
#include "kernel/log/syndrome.h"
#include "kernel/machine/power.h"
#include "kernel/system_register.h"

namespace atoll {
namespace {

constexpr uint32_t kFailingStatus = 1;
constexpr size_t kMaxBacktrace = 32;
constexpr size_t kFrameRecordBytes = 16;  // AAPCS64: saved x29, x30
constexpr uint64_t kAffinityMask = 0xff'00ff'ffff;

// How many reports have begun, on all CPUs.
constinit std::atomic<uint32_t> reports = 0;

void PrintLine(Line& line) {
  line << '\n';
  LogEmergency(line.view());
}

// An address of the image as image+offset, which scripts/symbolize.py and people can read.
Line& AppendAddress(Line& line, uint64_t address) {
  const auto start = reinterpret_cast<uintptr_t>(image_start);
  const auto end = reinterpret_cast<uintptr_t>(image_text_end);
  if (address >= start && address < end) return line << "image+" << Hex(address - start);
  return line << Hex(address, 16);
}

void PrintFrame(size_t depth, uint64_t pc) {
  Line line;
  AppendAddress(line << "  #" << depth << ' ', pc);
  PrintLine(line);
}

// Follows the chain of frame records. A run of equal callers (recursion) is printed once.
void PrintBacktrace(uint64_t pc, uint64_t frame_pointer) {
  PrintFrame(0, pc);
  size_t printed = 1;
  for (size_t depth = 1; printed < kMaxBacktrace; ++depth) {
    if (frame_pointer % kFrameRecordBytes != 0 ||
        !InKernelStack(VirtAddr(frame_pointer), kFrameRecordBytes)) {
      return;
    }
    const auto* record = reinterpret_cast<const uint64_t*>(frame_pointer);
    if (record[1] == 0) return;             // boot and the vectors start chains with zeros
    const uint64_t caller = record[1] - 4;  // the call, not the instruction after it
    if (caller != pc) {
      PrintFrame(depth, caller);
      ++printed;
    }
    pc = caller;
    if (record[0] <= frame_pointer) return;  // frames only go up
    frame_pointer = record[0];
  }
}

void PrintRegisters(const PanicFrame& frame) {
  constexpr size_t kPerLine = 4;
  for (size_t first = 0; first < frame.x.size(); first += kPerLine) {
    Line line;
    line << " ";
    for (size_t i = first; i < first + kPerLine && i < frame.x.size(); ++i) {
      line << (i < 10 ? "  x" : " x") << i << ' ' << Hex(frame.x[i], 16);
    }
    PrintLine(line);
  }
}

// Only the first report is printed. A fault inside it says so and ends; later ones only end.
void BeginReport() {
  asm volatile("msr daifset, #0xf" ::: "memory");
  const uint32_t earlier = reports.fetch_add(1, std::memory_order_relaxed);
  if (earlier == 0) return;
  if (earlier == 1) LogEmergency("\natoll: second fault inside the panic report\n");
  PowerOff(kFailingStatus);
}

[[noreturn]] void EndReport() {
  LogEmergency("atoll: powering off with a failing status\n");
  PowerOff(kFailingStatus);
}

void PrintHeading(std::string_view reason) {
  Line line;
  line << "\natoll: kernel panic on CPU " << Hex(MpidrEl1::Read() & kAffinityMask) << ": "
       << reason;
  PrintLine(line);
}

}  // namespace

void Panic(std::string_view reason) {
  BeginReport();
  PrintHeading(reason);
  PrintBacktrace(reinterpret_cast<uint64_t>(__builtin_return_address(0)) - 4,
                 *static_cast<const uint64_t*>(__builtin_frame_address(0)));
  EndReport();
}

void PanicException(const PanicFrame& frame) {
  BeginReport();
  Line reason;
  DescribeSyndrome(reason, frame.esr);
  PrintHeading(reason.view());
  Line where;
  AppendAddress(where << "  pc ", frame.elr)
      << ", sp " << Hex(frame.sp, 16) << ", far " << Hex(frame.far, 16);
  PrintLine(where);
  Line state;
  state << "  esr " << Hex(frame.esr, 8) << ", spsr " << Hex(frame.spsr, 8);
  PrintLine(state);
  PrintRegisters(frame);
  PrintBacktrace(frame.elr, frame.x[29]);
  EndReport();
}

}  // namespace atoll

// What compiler and C++ library call when they are at a loss.
extern "C" void abort() { atoll::Panic("abort()"); }
extern "C" [[noreturn]] void __cxa_pure_virtual() { atoll::Panic("pure virtual call"); }

// What checks of the C++ library that throw end in, such as string_view::substr's.
void std::__throw_out_of_range_fmt(const char* format, ...) { atoll::Panic(format); }
