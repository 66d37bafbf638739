#include "services/supervisor/monitor_command.h"

#include <algorithm>
#include <optional>

namespace atoll {
namespace {

using Verb = MonitorCommand::Verb;

constexpr std::string_view kHelpLines[] = {
    "ps                                   services: state, generation, deaths, running time",
    "kill WHO                             WHO as ps names them; vm0.*, pl011.*, all, supervisor",
    "hang | crash | exit-task | overflow WHO",
    "flood WHO [log|signal|line]",
    "inject WHO FAULT                     hang, crash, exit, panic, overflow, log-flood, ...",
    "corrupt WHO [journal|data|message] [SEED]",
    "restart WHO",
    "upgrade WHO FILE                     another build from the boot archive (scripts/run --add)",
    "step WHO N                           dies after N instructions of its next job; 0: not",
    "sweep WHO FIRST LAST                 step FIRST, step FIRST + 1, ... step LAST",
    "stats [WHO]                          what services count",
    "crashes [N]                          the last N deaths; all that are kept without N",
    "record N                             registers and backtrace of death N",
    "log                                  the kernel's log",
    "vm list | vm pause|resume|reboot NAME",
    "vm poweroff NAME [force]             presses its power button; force: off, at once",
    "wait TIME                            50us, 10ms, 2s",
    "wait WHO running|stepped [within TIME]",
    "expect [VM] \"TEXT\" [within TIME]     until a VM prints it; without TIME 60 s",
    "power-off                            the machine",
};

constexpr uint64_t kDefaultExpectMicroseconds = 60'000'000;
constexpr uint64_t kMaxNumber = MonitorCommand::kMaxNumber;
constexpr uint64_t kMaxSeconds = MonitorCommand::kMaxSeconds;

struct NamedVerb {
  std::string_view name;
  Verb verb;
};
constexpr NamedVerb kPlain[] = {
    {"help", Verb::kHelp},
    {"ps", Verb::kPs},
    {"log", Verb::kLog},
    {"power-off", Verb::kPowerOff},
};
constexpr NamedVerb kOnWho[] = {
    {"kill", Verb::kKill},
    {"restart", Verb::kRestart},
};
constexpr NamedVerb kOnVm[] = {
    {"pause", Verb::kVmPause},
    {"resume", Verb::kVmResume},
    {"reboot", Verb::kVmReboot},
    {"poweroff", Verb::kVmPowerOff},
};
struct NamedFault {
  std::string_view name;
  Fault fault;
};
constexpr NamedFault kFaultCommands[] = {
    {"hang", Fault::kHang},
    {"crash", Fault::kCrash},
    {"exit-task", Fault::kExit},
    {"overflow", Fault::kStackOverflow},
};
constexpr NamedFault kFloods[] = {
    {"log", Fault::kLogFlood},
    {"signal", Fault::kSignalFlood},
    {"line", Fault::kLineFlood},
};
struct NamedPart {
  std::string_view name;
  CorruptPart part;
};
constexpr NamedPart kParts[] = {
    {"journal", CorruptPart::kJournal},
    {"data", CorruptPart::kData},
    {"message", CorruptPart::kMessage},
};
struct Unit {
  std::string_view name;
  uint64_t microseconds;
};
constexpr Unit kUnits[] = {{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}};

template <typename Table>
const auto* FindNamed(const Table& table, std::string_view name) {
  const auto* const found =
      std::ranges::find_if(table, [&](const auto& e) { return e.name == name; });
  return found != std::end(table) ? found : nullptr;
}

// Digits at the front of `text`, which are taken off it.
std::optional<uint64_t> TakeNumber(std::string_view& text) {
  uint64_t value = 0;
  size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    value = value * 10 + static_cast<uint64_t>(text[digits] - '0');
    if (value > kMaxNumber) return std::nullopt;
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

class Parser {
 public:
  explicit Parser(std::string_view line) : rest_(line) {}

  Checked<MonitorCommand> Parse();

 private:
  // The next word; empty at the end of the line.
  std::string_view Word();
  std::string_view Peek() const;

  auto Error(std::string_view reason) const {
    return std::unexpected(LogLine(verb_).Append(": ").Append(reason));
  }
  auto Error(std::string_view before, std::string_view word, std::string_view after) const {
    return std::unexpected(
        LogLine(verb_).Append(": ").Append(before).Append("\"").Append(word).Append("\"").Append(
            after));
  }

  Checked<void> ParseArguments();
  Checked<void> ParseWho();
  Checked<void> ParseVm();
  Checked<void> ParseWait();
  Checked<void> ParseExpect();
  Checked<void> ParseCorrupt();
  Checked<void> ParseTime(std::string_view text, uint64_t& microseconds);
  Checked<void> ParseWithin();
  Checked<void> ParseNumber(uint64_t& number, std::string_view what);
  Checked<void> ParseText();

  std::string_view rest_;
  std::string_view verb_;
  MonitorCommand command_;
};

std::string_view Parser::Peek() const {
  std::string_view text = rest_;
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text.substr(0, text.find(' '));
}

std::string_view Parser::Word() {
  const std::string_view word = Peek();
  rest_.remove_prefix(static_cast<size_t>(word.end() - rest_.begin()));
  return word;
}

Checked<MonitorCommand> Parser::Parse() {
  if (rest_.ends_with('\r')) rest_.remove_suffix(1);
  if (rest_.size() > MonitorCommand::kLineBytes) {
    return std::unexpected(LogLine("the line has more than ")
                               .Decimal(MonitorCommand::kLineBytes)
                               .Append(" characters"));
  }
  if (!std::ranges::all_of(rest_, [](char c) { return c >= ' ' && c <= '~'; })) {
    return std::unexpected(LogLine("the line has a character that is not printable ASCII"));
  }
  verb_ = Word();
  if (verb_.empty() || verb_.starts_with('#')) return command_;
  if (const Checked<void> parsed = ParseArguments(); !parsed) {
    return std::unexpected(parsed.error());
  }
  if (const std::string_view more = Peek(); !more.empty() && !more.starts_with('#')) {
    return Error("does not know what to do with ", more, "");
  }
  return command_;
}

Checked<void> Parser::ParseArguments() {
  if (const auto* plain = FindNamed(kPlain, verb_)) {
    command_.verb = plain->verb;
    return {};
  }
  if (const auto* on_who = FindNamed(kOnWho, verb_)) {
    command_.verb = on_who->verb;
    return ParseWho();
  }
  if (const auto* fault = FindNamed(kFaultCommands, verb_)) {
    command_.verb = Verb::kInject;
    command_.fault = fault->fault;
    return ParseWho();
  }
  if (verb_ == "crashes" || verb_ == "stats") {
    const bool crashes = verb_ == "crashes";
    command_.verb = crashes ? Verb::kCrashes : Verb::kStats;
    if (Peek().empty()) return {};
    return crashes ? ParseNumber(command_.number, "number of deaths") : ParseWho();
  }
  if (verb_ == "record") {
    command_.verb = Verb::kRecord;
    return ParseNumber(command_.number, "number of the death");
  }
  if (verb_ == "vm") return ParseVm();
  if (verb_ == "wait") return ParseWait();
  if (verb_ == "expect") return ParseExpect();
  const bool is_known = verb_ == "flood" || verb_ == "inject" || verb_ == "corrupt" ||
                        verb_ == "upgrade" || verb_ == "step" || verb_ == "sweep";
  if (!is_known) {
    return std::unexpected(
        LogLine("\"").Append(verb_).Append("\" is no command; \"help\" tells what there is"));
  }
  if (auto who = ParseWho(); !who) return who;
  if (verb_ == "corrupt") return ParseCorrupt();
  if (verb_ == "flood" || verb_ == "inject") {
    command_.verb = Verb::kInject;
    const std::string_view name = Word();
    if (verb_ == "flood") {
      const auto* flood = FindNamed(kFloods, name.empty() ? "log" : name);
      if (flood == nullptr) return Error("", name, " is not one of log, signal, line");
      command_.fault = flood->fault;
      return {};
    }
    const auto* const found = std::ranges::find(kFaultNames, name);
    if (found == kFaultNames.end()) return Error("", name, " is no fault, as hang or crash are");
    command_.fault = static_cast<Fault>(found - kFaultNames.begin());
    return {};
  }
  if (verb_ == "upgrade") {
    command_.verb = Verb::kUpgrade;
    command_.file = Word();
    if (command_.file.empty()) return Error("needs a file of the boot archive (scripts/run --add)");
    return {};
  }
  if (verb_ == "step") {
    command_.verb = Verb::kStep;
    return ParseNumber(command_.number, "number of instructions");
  }
  command_.verb = Verb::kSweep;
  if (auto first = ParseNumber(command_.number, "first number of instructions"); !first) {
    return first;
  }
  if (auto last = ParseNumber(command_.last, "last number of instructions"); !last) return last;
  if (command_.number == 0 || command_.last < command_.number) {
    return Error("the first number must be 1 or more and the last not less");
  }
  return {};
}

Checked<void> Parser::ParseWho() {
  command_.who = Word();
  if (command_.who.empty()) return Error("needs the name of a service; \"ps\" tells them");
  return {};
}

Checked<void> Parser::ParseVm() {
  const std::string_view what = Word();
  if (what == "list") {
    command_.verb = Verb::kVmList;
    return {};
  }
  const auto* const on_vm = FindNamed(kOnVm, what);
  if (on_vm == nullptr) {
    return Error("", what, " is not one of list, pause, resume, reboot, poweroff");
  }
  command_.verb = on_vm->verb;
  command_.who = Word();
  if (command_.who.empty()) return Error("needs the name of a VM; \"vm list\" tells them");
  if (command_.verb == Verb::kVmPowerOff && Peek() == "force") {
    (void)Word();
    command_.verb = Verb::kVmForceOff;
  }
  return {};
}

Checked<void> Parser::ParseCorrupt() {
  command_.verb = Verb::kCorrupt;
  if (const auto* part = FindNamed(kParts, Peek())) {
    command_.part = part->part;
    (void)Word();
  } else if (!Peek().empty() && (Peek()[0] < '0' || Peek()[0] > '9')) {
    return Error("", Peek(), " is not one of journal, data, message");
  }
  return Peek().empty() ? Checked<void>{} : ParseNumber(command_.number, "seed");
}

Checked<void> Parser::ParseWait() {
  const std::string_view first = Word();
  if (first.empty()) return Error("needs a time, as 10ms, or a service");
  if (Peek().empty()) {
    command_.verb = Verb::kWait;
    return ParseTime(first, command_.microseconds);
  }
  command_.who = first;
  const std::string_view what = Word();
  if (what == "running") {
    command_.verb = Verb::kWaitRunning;
  } else if (what == "stepped") {
    command_.verb = Verb::kWaitStepped;
  } else {
    return Error("", what, " is not one of running, stepped");
  }
  return ParseWithin();
}

Checked<void> Parser::ParseExpect() {
  command_.verb = Verb::kExpect;
  if (!Peek().starts_with('"')) {
    command_.who = Word();
    if (command_.who.size() >= Expectation::kVmBytes) return Error("", command_.who, " is no VM");
  }
  if (auto text = ParseText(); !text) return text;
  return ParseWithin();
}

Checked<void> Parser::ParseText() {
  rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
  if (!rest_.starts_with('"')) return Error("needs a text in quotation marks");
  rest_.remove_prefix(1);
  while (!rest_.empty()) {
    char next = rest_.front();
    rest_.remove_prefix(1);
    if (next == '"') {
      if (command_.text_bytes == 0) return Error("the text is empty");
      if (!rest_.empty() && rest_.front() != ' ') return Error("needs a space after the text");
      return {};
    }
    if (next == '\\') {
      next = rest_.empty() ? '\0' : rest_.front();
      rest_.remove_prefix(rest_.empty() ? 0 : 1);
      if (next == 'n') {
        next = '\n';
      } else if (next == 'r') {
        next = '\r';
      } else if (next != '"' && next != '\\') {
        return Error("after a backslash comes one of n, r, \", \\");
      }
    }
    if (command_.text_bytes == command_.text.size()) {
      return std::unexpected(LogLine(verb_)
                                 .Append(": the text has more than ")
                                 .Decimal(command_.text.size())
                                 .Append(" characters"));
    }
    command_.text[command_.text_bytes++] = next;
  }
  return Error("the text's second quotation mark is missing");
}

Checked<void> Parser::ParseWithin() {
  command_.microseconds = kDefaultExpectMicroseconds;
  if (Peek().empty() || Peek().starts_with('#')) return {};
  if (Peek() != "within") return Error("does not know what to do with ", Peek(), "");
  (void)Word();
  return ParseTime(Word(), command_.microseconds);
}

Checked<void> Parser::ParseTime(std::string_view text, uint64_t& microseconds) {
  std::string_view unit = text;
  const std::optional<uint64_t> number = TakeNumber(unit);
  const auto* const found = FindNamed(kUnits, unit);
  if (!number.has_value() || found == nullptr) {
    return Error("", text, " is no time; 50us, 10ms, 2s are");
  }
  microseconds = *number * found->microseconds;
  if (microseconds > kMaxSeconds * 1'000'000) return Error("", text, " is too long");
  return {};
}

Checked<void> Parser::ParseNumber(uint64_t& number, std::string_view what) {
  std::string_view text = Peek();
  if (text.empty()) return std::unexpected(LogLine(verb_).Append(": needs a ").Append(what));
  const std::optional<uint64_t> found = TakeNumber(text);
  if (!found.has_value() || !text.empty()) {
    return std::unexpected(LogLine(verb_)
                               .Append(": \"")
                               .Append(Peek())
                               .Append("\" is no ")
                               .Append(what)
                               .Append(" up to ")
                               .Decimal(kMaxNumber));
  }
  (void)Word();
  number = *found;
  return {};
}

}  // namespace

Checked<MonitorCommand> ParseMonitorCommand(std::string_view line) { return Parser(line).Parse(); }

std::span<const std::string_view> MonitorHelp() { return kHelpLines; }

}  // namespace atoll
