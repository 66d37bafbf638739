#include "services/supervisor/monitor_session.h"

#include <algorithm>

namespace atoll {
namespace {

using Verb = MonitorCommand::Verb;

constexpr uint64_t kMicroseconds = 1'000'000;
// How soon to look again whether a service runs: nothing signals it.
constexpr uint64_t kLooksPerSecond = 5000;

}  // namespace

Checked<void> MonitorSession::Begin(std::string_view line, std::optional<uint64_t> resumed) {
  // One character more than a line may have, so that the parser sees that it is too long.
  const size_t bytes = line.copy(line_.data(), line_.size());
  const Checked<MonitorCommand> command = ParseMonitorCommand({line_.data(), bytes});
  if (!command) return std::unexpected(command.error());
  command_ = *command;
  if (command_.waits()) {
    const uint64_t second = kernel_.TicksPerSecond();
    const uint64_t ticks = command_.microseconds / kMicroseconds * second +
                           command_.microseconds % kMicroseconds * second / kMicroseconds;
    wait_end_ = resumed.value_or(kernel_.Ticks() + ticks);
  }
  Checked<void> done;
  if (command_.verb == Verb::kExpect) {
    done = BeginExpect(resumed.has_value());
  } else if (command_.lists()) {
    done = listing_.Begin(command_);
  } else if (!command_.waits()) {
    done = Execute();
  }
  if (!done || (!command_.waits() && !command_.lists())) Done();
  return done;
}

Checked<void> MonitorSession::Execute() {
  const std::string_view who = command_.who;
  const auto number = static_cast<uint32_t>(command_.number);
  switch (command_.verb) {
    case Verb::kKill: return operations_.Kill(who);
    case Verb::kRestart: return operations_.Restart(who);
    case Verb::kInject: return operations_.Inject(who, command_.fault);
    case Verb::kCorrupt: {
      const uint64_t seed = command_.number != 0 ? command_.number : kernel_.Ticks();
      return operations_.Corrupt(who, command_.part, seed);
    }
    case Verb::kUpgrade: return operations_.Upgrade(who, command_.file);
    case Verb::kStep: return operations_.Step(who, number);
    case Verb::kSweep: return operations_.Sweep(who, number, static_cast<uint32_t>(command_.last));
    case Verb::kVmPause: return operations_.Pause(who);
    case Verb::kVmResume: return operations_.Resume(who);
    case Verb::kVmReboot: return operations_.Reboot(who);
    case Verb::kVmPowerOff: return operations_.PressPowerButton(who);
    case Verb::kVmForceOff: return operations_.PowerOff(who);
    case Verb::kPowerOff: power_off_ = true; return {};
    default: return {};
  }
}

Checked<void> MonitorSession::BeginExpect(bool resumed) {
  if (!expectation_.exists()) return std::unexpected(LogLine("expect: there is no console"));
  if (resumed && expectation_.Resume()) return {};
  if (expectation_.is_armed()) {
    return std::unexpected(LogLine("expect: another text is expected at the moment"));
  }
  if (!command_.who.empty()) {
    VmView vm;
    size_t index = 0;
    while (operations_.ReadVm(index, vm) && vm.name != command_.who) ++index;
    if (vm.name != command_.who) {
      return std::unexpected(
          LogLine("expect: there is no VM \"").Append(command_.who).Append("\""));
    }
  }
  expectation_.Arm(command_.who, {command_.text.data(), command_.text_bytes});
  return {};
}

// What the line waits for.
bool MonitorSession::IsThere() {
  switch (command_.verb) {
    case Verb::kWaitRunning: return operations_.AreRunning(command_.who);
    case Verb::kWaitStepped: return !operations_.IsStepping(command_.who);
    case Verb::kExpect: return expectation_.IsMet();
    default: return false;
  }
}

Checked<void> MonitorSession::Work() {
  if (!busy()) return {};
  if (command_.lists()) {
    blocked_ = false;
    while (true) {
      if (!output_.HasRoom()) {
        blocked_ = true;
        return {};
      }
      LogLine line;
      if (!listing_.Next(line)) break;
      output_.Print(prefix_, line.view().substr(0, MonitorListing::kLineBytes));
    }
    Done();
    return {};
  }
  const bool there = IsThere();
  if (!there && kernel_.Ticks() < wait_end_) return {};
  const Verb verb = command_.verb;
  if (verb == Verb::kExpect) expectation_.Disarm();
  Done();
  if (there || verb == Verb::kWait) return {};
  if (verb != Verb::kExpect) return std::unexpected(LogLine("wait: it did not happen in time"));
  LogLine problem("expect: \"");
  problem.Append({command_.text.data(), command_.text_bytes});
  return std::unexpected(problem.Append("\" did not come in time"));
}

uint64_t MonitorSession::Deadline() const {
  if (!busy()) return kNever;
  if (command_.lists()) return blocked_ ? output_.Deadline() : 0;
  if (command_.verb != Verb::kWaitRunning && command_.verb != Verb::kWaitStepped) return wait_end_;
  return std::min(wait_end_, kernel_.Ticks() + kernel_.TicksPerSecond() / kLooksPerSecond);
}

}  // namespace atoll
