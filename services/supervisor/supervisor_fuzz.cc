// Lines of the monitor: any bytes, and any words of its language in any order. Whatever the user types, the parser gives
// a command that is what it says, or a sentence.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "services/supervisor/monitor_command.h"

namespace atoll {
namespace {

using Verb = MonitorCommand::Verb;

void Require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::string_view kWords[] = {
    "kill",    "restart",    "hang",    "crash",   "flood",  "signal", "inject",    "never-answer",
    "corrupt", "journal",    "upgrade", "step",    "sweep",  "stats",  "crashes",   "record",
    "log",     "vm",         "list",    "pause",   "reboot", "wait",   "10ms",      "1000001s",
    "running", "stepped",    "within",  "expect",  "ps",     "help",   "all",       "vm0.*",
    "x.elf",   "1000000001", "0",       "1",       "4000",   "us",     "#",         "\"",
    "\\",      "\\n",        "\"text",  "\"a b\"", "\"\"",   "-",      "power-off", "\r",
    "\x01",    "\xff"};

// Odd bytes take words of the table, with a space or not, even ones are themselves.
std::string LineOf(std::span<const uint8_t> input) {
  std::string line;
  for (const uint8_t byte : input) {
    if (byte % 2 == 0) {
      line.push_back(static_cast<char>(byte / 2));
      continue;
    }
    line += kWords[byte / 2 % std::size(kWords)];
    if (byte < 0xd0) line.push_back(' ');
  }
  return line;
}

bool Lies(std::string_view part, std::string_view line) {
  return part.empty() ||
         (part.data() >= line.data() && part.data() + part.size() <= line.data() + line.size());
}

bool NamesOne(Verb verb) {
  return (verb >= Verb::kKill && verb <= Verb::kVmPowerOff) || verb == Verb::kWaitRunning ||
         verb == Verb::kWaitStepped;
}

void CheckCommand(const MonitorCommand& command, std::string_view line) {
  Require(line.size() <= MonitorCommand::kLineBytes + 1);  // with its carriage return
  Require(command.verb <= Verb::kPowerOff);
  Require(Lies(command.who, line) && Lies(command.file, line));
  Require(!NamesOne(command.verb) || !command.who.empty());
  Require(command.who.find(' ') == std::string_view::npos);
  Require(command.verb != Verb::kUpgrade || !command.file.empty());
  Require(static_cast<size_t>(command.fault) < kFaults);
  Require(command.part <= CorruptPart::kMessage);
  Require(command.number <= MonitorCommand::kMaxNumber &&
          command.last <= MonitorCommand::kMaxNumber);
  Require(command.verb != Verb::kSweep || (command.number != 0 && command.number <= command.last));
  Require(command.microseconds <= MonitorCommand::kMaxSeconds * 1'000'000);
  Require(command.text_bytes <= command.text.size());
  Require((command.text_bytes != 0) == (command.verb == Verb::kExpect));
  Require(command.verb != Verb::kExpect || command.who.size() < Expectation::kVmBytes);
  Require(!(command.waits() && command.lists()));
}

void FuzzLine(std::string_view line) {
  const Checked<MonitorCommand> command = ParseMonitorCommand(line);
  if (!command) {
    const std::string_view sentence = command.error().view();
    Require(!sentence.empty());
    Require(std::ranges::all_of(sentence, [](char c) { return c >= ' ' && c <= '~'; }));
    return;
  }
  CheckCommand(*command, line);
  if (line.size() + 2 > MonitorCommand::kLineBytes || line.ends_with('\r')) return;
  // Spaces around it and a terminal's line end make no other command of it.
  const std::string longer = " " + std::string(line) + " \r";
  const Checked<MonitorCommand> same = ParseMonitorCommand(longer);
  Require(same.has_value() && same->verb == command->verb && same->who == command->who &&
          same->file == command->file && same->number == command->number &&
          same->microseconds == command->microseconds && same->text_bytes == command->text_bytes);
}

}  // namespace
}  // namespace atoll

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const uint8_t> input(data, size);
  atoll::FuzzLine({reinterpret_cast<const char*>(data), size});
  atoll::FuzzLine(atoll::LineOf(input));
  return 0;
}
