// Queues with a buffer in each entry: what is sent, and what is received.
#ifndef ATOLL_GUESTS_ORACLE_BUFFERS_H_
#define ATOLL_GUESTS_ORACLE_BUFFERS_H_

#include "guests/oracle/report.h"
#include "guests/oracle/virtqueue.h"

namespace oracle {

template <uint32_t kCount, uint32_t kBytes>
class SendBuffers {
 public:
  void Attach(const Transport& transport, uint32_t number) {
    number_ = number;
    queue_.Attach(transport, number);
    queue_.WantNoInterrupts();
  }
  // A buffer to be filled, then Send; null: all are under way.
  uint8_t* Free(Report& report) {
    Collect(report);
    for (next_ = 0; next_ < kCount; ++next_) {
      if (!is_busy_[next_]) return buffers_[next_];
    }
    return nullptr;
  }
  void Send(const Transport& transport, uint32_t bytes) {
    is_busy_[next_] = true;
    ++busy_;
    queue_.Describe(next_, AddressOf(buffers_[next_]), bytes, 0, 0);
    queue_.Offer(next_);
    transport.Notify(number_);
  }
  // How many are under way.
  uint32_t Busy(Report& report) {
    Collect(report);
    return busy_;
  }

 private:
  void Collect(Report& report) {
    if (!queue_.IsSane()) {
      report.Lost("the used index is ahead of what was offered: queue", number_);
      return;
    }
    while (queue_.HasUsed()) {
      const auto used = queue_.TakeUsed();
      if (used.id >= kCount || !is_busy_[used.id]) {
        report.Lost("a buffer that is not under way was completed: queue, buffer", number_,
                    used.id);
        continue;
      }
      is_busy_[used.id] = false;
      --busy_;
    }
  }

  Virtqueue<kCount> queue_;
  uint32_t number_ = 0, next_ = 0, busy_ = 0;
  bool is_busy_[kCount] = {};
  alignas(8) uint8_t buffers_[kCount][kBytes] = {};
};

template <uint32_t kCount, uint32_t kBytes>
class ReceiveBuffers {
 public:
  // To be followed by Notify when the device runs.
  void Attach(const Transport& transport, uint32_t number) {
    number_ = number;
    queue_.Attach(transport, number);
    for (uint32_t i = 0; i < kCount; ++i) {
      queue_.Describe(i, AddressOf(buffers_[i]), kBytes, decltype(queue_)::kDeviceWrites, 0);
      queue_.Offer(i);
    }
  }
  void Notify(const Transport& transport) const { transport.Notify(number_); }
  // visit(bytes, count) for each that has come; then it is the device's again.
  template <typename Visit>
  void Take(const Transport& transport, Report& report, Visit visit) {
    if (!queue_.IsSane()) {
      report.Lost("the used index is ahead of what was offered: queue", number_);
      return;
    }
    bool any = false;
    while (queue_.HasUsed()) {
      const auto used = queue_.TakeUsed();
      if (used.id >= kCount || used.length > kBytes) {
        report.Lost("a buffer that is not there was completed: queue, buffer, bytes", number_,
                    used.id, used.length);
        continue;
      }
      visit(static_cast<const uint8_t*>(buffers_[used.id]), used.length);
      queue_.Offer(used.id);
      any = true;
    }
    if (any) Notify(transport);
  }

 private:
  Virtqueue<kCount> queue_;
  uint32_t number_ = 0;
  alignas(8) uint8_t buffers_[kCount][kBytes] = {};
};

}  // namespace oracle

#endif  // ATOLL_GUESTS_ORACLE_BUFFERS_H_
