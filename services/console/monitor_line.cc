#include "services/console/monitor_line.h"

#include <algorithm>
#include <array>

namespace atoll {
namespace {

constexpr char kBackspace = 0x08, kDelete = 0x7f, kEraseLine = 0x15;  // Ctrl-H, DEL, Ctrl-U

}  // namespace

MonitorLine::Action MonitorLine::Type(char byte, bool echo) {
  if (byte == '\r' || byte == '\n') {
    if (text().find_first_not_of(' ') == std::string_view::npos) {
      keys_.typed = 0;
      return Action::kEmpty;
    }
    return text() == "exit" ? Action::kExit : Action::kSubmit;
  }
  if (byte == kBackspace || byte == kDelete) {
    Erase(1, echo);
  } else if (byte == kEraseLine) {
    Erase(keys_.typed, echo);
  } else if (byte >= ' ' && byte <= '~' && keys_.typed < ConsoleState::kTypedBytes) {
    state_.typed[keys_.typed++] = byte;
    if (echo) words_.Put({&byte, 1});
  }
  return Action::kNone;
}

void MonitorLine::Erase(size_t bytes, bool echo) {
  for (size_t i = std::min<size_t>(bytes, keys_.typed); i != 0; --i) {
    --keys_.typed;
    if (echo) words_.Put("\b \b");
  }
}

std::optional<WordStore> MonitorLine::SubmitLater() {
  std::array<std::byte, ConsoleState::kTypedBytes + 1> line;
  const std::span<const std::byte> typed = std::as_bytes(std::span(text()));
  std::ranges::copy(typed, line.begin());
  line[typed.size()] = std::byte{'\n'};
  if (input_.Free() < typed.size() + 1) return std::nullopt;
  keys_.typed = 0;
  keys_.running = true;
  return input_.WriteLater(std::span(line).first(typed.size() + 1));
}

void MonitorLine::Show() {
  words_.Put(kPrompt);
  words_.Put(text());
}

}  // namespace atoll
