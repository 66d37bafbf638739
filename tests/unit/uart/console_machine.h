// The console service between guests' rings and a fake UART, as its tests see and move it.
#ifndef ATOLL_TESTS_UNIT_UART_CONSOLE_MACHINE_H_
#define ATOLL_TESTS_UNIT_UART_CONSOLE_MACHINE_H_

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "services/console/console.h"
#include "tests/unit/uart/fake_ports.h"
#include "tests/unit/uart/fake_uart.h"

namespace atoll {

inline constexpr uint64_t kUartSignal = 1u << 0;
inline constexpr size_t kRingCapacity = 4096;
inline constexpr size_t kLineBytes = 2 * (kRingCapacity + ByteRing::kHeaderBytes);

struct GuestSide {
  AlignedMemory<kLineBytes> memory;
  FakeNotifier input;
  GuestLine line = *GuestLine::Attach(memory.span());

  size_t Print(std::string_view text) { return line.output.Write(std::as_bytes(std::span(text))); }
  std::string Read(size_t most = 1 << 20) {
    std::string text;
    for (; most != 0; --most) {
      const auto byte = line.input.Take();
      if (!byte.has_value()) break;
      text.push_back(static_cast<char>(*byte));
    }
    return text;
  }
};

struct ConsoleMachine {
  explicit ConsoleMachine(size_t guest_count = 2) : count(guest_count) { Boot(); }

  // A new instance of the service.
  void Boot() {
    static constexpr const char* kNames[] = {"vm0", "vm1", "vm2", "vm3",
                                             "vm4", "vm5", "vm6", "vm7"};
    uart = std::make_unique<Uart>(hardware);
    const Console::Monitor monitor = {
        *ByteRingReader::Attach(MonitorChannel::Output(channel.span())),
        *ByteRingWriter::Attach(MonitorChannel::Input(channel.span())),
        MonitorChannel::Expected(channel.span()), MonitorChannel::PowerOff(channel.span()),
        supervisor};
    console =
        std::make_unique<Console>(Console::Ports{*uart, timer, counter, power_off, flushed,
                                                 *ByteRingReader::Attach(log_memory.span()),
                                                 log_room, monitor, has_list ? &vms : nullptr},
                                  **AttachConsoleState(journal.span()));
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(console->AddGuest(
                    {kNames[i], *ConsoleLine::Attach(guests[i].memory.span()), guests[i].input}),
                Status::kOk);
    }
    console->Start();
  }
  // Lets the service run until it has nothing more to do now.
  void Settle() {
    for (int i = 0; i < 1000; ++i) {
      if (hardware.Interrupt()) {
        console->OnSignals(kUartSignal);
      } else if (timer.Expire(counter.ticks)) {
        console->OnSignals(2);
      } else {
        return;
      }
    }
    FAIL() << "the console never comes to rest";
  }
  void Type(std::string_view text) {
    hardware.Type(text);
    Settle();
  }
  void Output() {
    console->OnSignals(0x100);
    Settle();
  }
  // Lines of the kernel's log.
  void Log(std::string_view lines) {
    ASSERT_EQ(log.Write(std::as_bytes(std::span(lines))), lines.size());
    console->OnSignals(Console::kLogSignal);
    Settle();
  }
  void PassMilliseconds(uint64_t milliseconds) {
    for (; milliseconds != 0; --milliseconds) {
      counter.ticks += FakeCounter::kFrequency / 1000;
      Settle();
    }
  }

  // ---- the supervisor's monitor
  void Answer(std::string_view text, bool answered = true) {
    ASSERT_EQ(answers.Write(std::as_bytes(std::span(text))), text.size());
    if (answered) answers.Put(MonitorChannel::kAnswered);
    console->OnSignals(Console::kMonitorSignal);
    Settle();
  }
  std::string CommandLines() {
    std::string text;
    while (const auto byte = commands.Take()) text.push_back(static_cast<char>(*byte));
    return text;
  }
  uint32_t wish() { return MonitorChannel::PowerOff(channel.span()).word; }
  Expectation& expectation() { return MonitorChannel::Expected(channel.span()); }
  void Expect(uint32_t number, std::string_view vm, std::string_view text) {
    Expectation& expected = expectation();
    expected.armed = 0;
    expected.vm = {};
    vm.copy(expected.vm.data(), vm.size());
    text.copy(expected.text.data(), text.size());
    expected.text_bytes = static_cast<uint32_t>(text.size());
    expected.armed = number;
    console->OnSignals(Console::kMonitorSignal);
    Settle();
  }

  // What the supervisor says.
  void Set(size_t index, std::string_view name, ListedState state, uint32_t starts = 1) {
    has_list = true;
    vms[index].Name(name);
    vms[index].Set(state, starts);
    console->OnSignals(Console::kVmsSignal);
    Settle();
  }
  void BootWithList() {
    has_list = true;
    Boot();
    hardware.TakeWire();
  }

  size_t count;
  bool has_list = false;
  VmList vms{};
  FakeUart hardware;
  std::array<GuestSide, 9> guests;
  AlignedMemory<4096> journal;
  FakeTimer timer;
  FakeCounter counter;
  FakeNotifier power_off;
  FakeNotifier flushed;
  AlignedMemory<8192> log_memory;
  ByteRingWriter log = *ByteRingWriter::Attach(log_memory.span());
  FakeNotifier log_room;
  AlignedMemory<MonitorChannel::kBytes> channel;
  ByteRingWriter answers = *ByteRingWriter::Attach(MonitorChannel::Output(channel.span()));
  ByteRingReader commands = *ByteRingReader::Attach(MonitorChannel::Input(channel.span()));
  FakeNotifier supervisor;
  std::unique_ptr<Uart> uart;
  std::unique_ptr<Console> console;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_UART_CONSOLE_MACHINE_H_
