// Why something failed, as one line for the log: what was wrong, where, what would be right.
#ifndef ATOLL_SERVICES_VMM_ERROR_TEXT_H_
#define ATOLL_SERVICES_VMM_ERROR_TEXT_H_

#include <array>
#include <cstddef>
#include <string_view>

#include "services/runtime/format.h"

namespace atoll {

class ErrorText {
 public:
  // Numbers are decimal, Hex{n} is not; see services/runtime/format.h.
  template <typename... Arguments>
  constexpr explicit ErrorText(const Arguments&... arguments)
      : length_(Format(buffer_, arguments...).size()) {}

  constexpr std::string_view text() const { return {buffer_.data(), length_}; }

 private:
  std::array<char, 200> buffer_{};
  size_t length_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_VMM_ERROR_TEXT_H_
