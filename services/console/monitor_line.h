// The line that the user types for the monitor, and its way to the supervisor. No line is handed over twice or lost
// when the console dies: whatever a byte changes is written in one commit.
#ifndef ATOLL_SERVICES_CONSOLE_MONITOR_LINE_H_
#define ATOLL_SERVICES_CONSOLE_MONITOR_LINE_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "services/console/own_words.h"
#include "services/console/state.h"
#include "services/runtime/byte_ring.h"

namespace atoll {

class MonitorLine {
 public:
  static constexpr std::string_view kPrompt = "atoll> ";

  enum class Action {
    kNone,    // the byte changed the line, or nothing
    kEmpty,   // the line ended and has no command
    kExit,    // it says "exit"
    kSubmit,  // it is to be handed over: SubmitLater()
  };

  // `keys`, `words`: what the caller commits afterwards.
  MonitorLine(ConsoleState& state, Keys& keys, OwnWords& words, ByteRingWriter input)
      : state_(state), keys_(keys), words_(words), input_(input) {
    if (keys_.typed > ConsoleState::kTypedBytes) keys_.typed = 0;
  }

  // A byte that was typed. `echo`: the prompt is on the wire, and what is typed appears behind it.
  Action Type(char byte, bool echo);

  // The store that gives the line to the supervisor. None: there is no room, the line stays.
  std::optional<WordStore> SubmitLater();

  // Prompt and line, as they are to appear.
  void Show();

  // Whether the supervisor has taken all lines.
  bool AllTaken() const { return input_.Free() == input_.capacity(); }

 private:
  std::string_view text() const { return {state_.typed.data(), keys_.typed}; }
  void Erase(size_t bytes, bool echo);

  ConsoleState& state_;
  Keys& keys_;
  OwnWords& words_;
  ByteRingWriter input_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_MONITOR_LINE_H_
