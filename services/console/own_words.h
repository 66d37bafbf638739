// The console's own words on the wire: labels of lines, answers to keys, the monitor's prompt. They wait in the journal,
// so that a successor says what is left of them, and nothing twice.
//
// Put() only writes behind what counts. They count with the store of the journal's `line`, which the caller makes
// together with whatever they are about.
#ifndef ATOLL_SERVICES_CONSOLE_OWN_WORDS_H_
#define ATOLL_SERVICES_CONSOLE_OWN_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/console/state.h"
#include "services/console/uart.h"

namespace atoll {

class OwnWords {
 public:
  // `line`: what the caller will store.
  OwnWords(Uart& uart, ConsoleState& state, WireLine& line)
      : uart_(uart), state_(state), line_(line), sent_(static_cast<uint16_t>(state.words_sent)) {
    if (Waiting() > ConsoleState::kWordsBytes) line_.words_end = sent_;  // nobody wrote that
  }

  // More than fits is dropped: only a stuck UART fills the buffer.
  void Put(std::string_view text) {
    for (const char c : text) {
      if (Waiting() == ConsoleState::kWordsBytes) return;
      state_.words[line_.words_end % ConsoleState::kWordsBytes] = c;
      ++line_.words_end;
    }
  }

  // False: the UART is full. Only after the store of `line`.
  bool Send() {
    while (Waiting() != 0) {
      if (!uart_.CanSend()) return false;
      const char next = state_.words[sent_ % ConsoleState::kWordsBytes];
      ++sent_;
      uart_.Send(static_cast<std::byte>(next), {WordStore{&state_.words_sent, sent_}});
    }
    return true;
  }

 private:
  size_t Waiting() const { return static_cast<uint16_t>(line_.words_end - sent_); }

  Uart& uart_;
  ConsoleState& state_;
  WireLine& line_;
  uint16_t sent_;  // modulo 2^16
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_OWN_WORDS_H_
