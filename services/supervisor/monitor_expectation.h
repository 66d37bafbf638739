// The text that the console is asked to find in what a VM prints (services/console/monitor_channel.h): the supervisor's
// side. There is one at a time.
#ifndef ATOLL_SERVICES_SUPERVISOR_MONITOR_EXPECTATION_H_
#define ATOLL_SERVICES_SUPERVISOR_MONITOR_EXPECTATION_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "services/console/monitor_channel.h"

namespace atoll {

class MonitorExpectation {
 public:
  constexpr MonitorExpectation() = default;

  // `memory` is the console's too, which may write anything there. Null: there is no console.
  void Attach(Expectation* memory) {
    memory_ = memory;
    number_ = 0;
  }

  bool exists() const { return memory_ != nullptr; }
  bool is_armed() const { return number_ != 0; }

  void Arm(std::string_view vm, std::string_view text) {
    Disarm();
    memory_->vm = {};
    vm.copy(memory_->vm.data(), memory_->vm.size() - 1);
    text.copy(memory_->text.data(), memory_->text.size());
    memory_->text_bytes = static_cast<uint32_t>(text.size());
    // A number that the last one met does not have.
    number_ = std::atomic_ref(memory_->met).load(std::memory_order_relaxed) + 1;
    if (number_ == 0) number_ = 1;
    std::atomic_ref(memory_->armed).store(number_, std::memory_order_release);
  }
  // Goes on with what an earlier instance armed; false: it armed nothing.
  bool Resume() {
    number_ = std::atomic_ref(memory_->armed).load(std::memory_order_relaxed);
    return is_armed();
  }
  void Disarm() {
    number_ = 0;
    std::atomic_ref(memory_->armed).store(0, std::memory_order_release);
  }
  bool IsMet() const {
    return is_armed() && std::atomic_ref(memory_->met).load(std::memory_order_acquire) == number_;
  }

 private:
  Expectation* memory_ = nullptr;
  uint32_t number_ = 0;  // of what is armed; 0: nothing
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_SUPERVISOR_MONITOR_EXPECTATION_H_
