// The VMs and their states, as the supervisor tells the console: one page, written by the supervisor alone.
#ifndef ATOLL_SERVICES_CONSOLE_VM_LIST_H_
#define ATOLL_SERVICES_CONSOLE_VM_LIST_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ipc/address.h"

namespace atoll {

enum class ListedState : uint32_t {
  kNone = 0,  // no such VM
  kOn = 1,
  kEnding = 2,    // off or crashed; its memory is being given back
  kWaiting = 3,   // it will start again
  kStarting = 4,  // not yet: its services do not run
  kOff = 5,
  kCrashed = 6,
};

struct ListedVm {
  static constexpr size_t kNameBytes = 48;  // proto/plan.options

  std::array<char, kNameBytes> name;  // ended by NUL; written once
  uint32_t state;                     // ListedState
  uint32_t starts;                    // 1 for the first

  // The supervisor's side.
  void Name(std::string_view text) {
    name = {};
    text.copy(name.data(), name.size() - 1);
  }
  void Set(ListedState new_state, uint32_t new_starts) {
    std::atomic_ref(starts).store(new_starts, std::memory_order_relaxed);
    std::atomic_ref(state).store(static_cast<uint32_t>(new_state), std::memory_order_release);
  }
  // The console's.
  ListedState State() {
    const uint32_t number = std::atomic_ref(state).load(std::memory_order_acquire);
    return number <= static_cast<uint32_t>(ListedState::kCrashed) ? static_cast<ListedState>(number)
                                                                  : ListedState::kNone;
  }
  uint32_t Starts() { return std::atomic_ref(starts).load(std::memory_order_relaxed); }
  bool IsNamed(std::string_view text) const {
    return text.size() < name.size() && std::memcmp(name.data(), text.data(), text.size()) == 0 &&
           name[text.size()] == '\0';
  }
};

inline constexpr size_t kListedVms = 8;
using VmList = std::array<ListedVm, kListedVms>;
static_assert(sizeof(VmList) <= kPageSize);

}  // namespace atoll

#endif  // ATOLL_SERVICES_CONSOLE_VM_LIST_H_
