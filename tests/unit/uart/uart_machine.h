// A PL011 between a guest (register accesses) and a console (the other ends of its rings).
#ifndef ATOLL_TESTS_UNIT_UART_UART_MACHINE_H_
#define ATOLL_TESTS_UNIT_UART_UART_MACHINE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "services/console/line.h"
#include "services/pl011/pl011.h"
#include "services/pl011/registers.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll {

struct UartMachine {
  // Rings of 512 bytes each: small, so that tests fill them quickly.
  static constexpr size_t kRingCapacity = 512;
  static constexpr size_t kLineBytes = 2 * (kRingCapacity + ByteRing::kHeaderBytes);

  UartMachine() { Boot(); }

  // A new instance of the service on the same journal and rings, and a console that takes up what it finds.
  void BootBoth() {
    Boot();
    console = *ConsoleLine::Attach(memory.span());
  }
  // A new instance of the service on the same journal and rings.
  void Boot() {
    state = AttachPl011State(journal.span())->state;
    device = std::make_unique<Pl011>(Pl011::Ports{line, console_signal, timer, counter},
                                     *GuestLine::Attach(memory.span()), *state);
    timer.deadline = DeadlineTimer::kNever;
    device->Start();
  }
  // What the supervisor does to start the VM afresh.
  void ResetVm() {
    journal = {};
    Boot();
  }

  uint64_t Load(uint64_t offset, uint32_t size = 4) {
    return *device->Access({.offset = offset, .size = size, .write = false, .value = 0});
  }
  void Store(uint64_t offset, uint64_t value, uint32_t size = 4) {
    (void)*device->Access({.offset = offset, .size = size, .write = true, .value = value});
  }
  // One access as the kernel delivers it, perhaps not for the first time.
  uint64_t Access(pl011::Register index, bool write, uint64_t value, uint64_t token) {
    return *device->Access({.offset = pl011::kTable.offset(index),
                            .size = 4,
                            .write = write,
                            .value = value,
                            .token = token});
  }
  uint32_t Read(pl011::Register index) {
    return static_cast<uint32_t>(Load(pl011::kTable.offset(index)));
  }
  void Write(pl011::Register index, uint64_t value) { Store(pl011::kTable.offset(index), value); }

  // As a driver does: FIFOs on, everything enabled.
  void Enable(bool fifo = true) {
    Write(pl011::kLcrH, pl011::kLcrHWordLength8 | (fifo ? pl011::kLcrHFifoEnable : 0));
    Write(pl011::kCr, pl011::kCrUartEnable | pl011::kCrTransmitEnable | pl011::kCrReceiveEnable);
  }
  void Print(std::string_view text) {
    for (const char c : text) Write(pl011::kDr, static_cast<uint8_t>(c));
  }
  // Fills the output ring to the last byte: 16 of them are in the transmit FIFO.
  void FillOutput() {
    while ((Read(pl011::kFr) & pl011::kFrTxFifoFull) == 0) Write(pl011::kDr, 'x');
  }
  // Reads what is there, like a driver without interrupts.
  std::string DrainInput() {
    std::string text;
    while ((Read(pl011::kFr) & pl011::kFrRxFifoEmpty) == 0) {
      text.push_back(static_cast<char>(Read(pl011::kDr)));
    }
    return text;
  }

  // The console's side.
  std::string ConsoleReads(size_t most = 1 << 20) {
    std::string text;
    for (; most != 0; --most) {
      const std::optional<std::byte> byte = console.output.Take();
      if (!byte.has_value()) break;
      text.push_back(static_cast<char>(*byte));
    }
    return text;
  }
  size_t ConsoleWrites(std::string_view text, bool signal = true) {
    const size_t written = console.input.Write(std::as_bytes(std::span(text)));
    if (signal) device->OnSignals(Pl011::kConsoleSignal);
    return written;
  }

  void PassMicroseconds(uint64_t microseconds) {
    const uint64_t end = counter.ticks + microseconds * FakeCounter::kFrequency / 1'000'000;
    while (timer.deadline <= end) {
      counter.ticks = std::max(counter.ticks, timer.deadline);
      if (timer.Expire(counter.ticks)) device->OnSignals(Pl011::kTimerSignal);
    }
    counter.ticks = end;
  }

  AlignedMemory<kLineBytes> memory;
  AlignedMemory<4096> journal;
  FakeLine line;
  FakeNotifier console_signal;
  FakeTimer timer;
  FakeCounter counter;
  Pl011State* state = nullptr;
  std::unique_ptr<Pl011> device;
  ConsoleLine console = *ConsoleLine::Attach(memory.span());
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_UART_UART_MACHINE_H_
