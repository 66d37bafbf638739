// What a service that many clients share remembers of its deaths: whose work it was at. A client whose item was at work
// at two deaths in a row is in quarantine: its ring is not looked at until it begins a new epoch there (its guest's
// driver resets the device, or its VM starts again). The others are served as if nothing had happened.
//
// Lies in the service's journal, all zero at first. Nothing of it has to be right: damage blames somebody for one death
// more or less, and a quarantine that its check does not confirm is none.
#ifndef ATOLL_SERVICES_RUNTIME_QUARANTINE_H_
#define ATOLL_SERVICES_RUNTIME_QUARANTINE_H_

#include <array>
#include <cstdint>

#include "services/runtime/check_word.h"
#include "services/runtime/journal.h"

namespace atoll {

template <uint32_t kClients>
class Quarantine {
 public:
  static constexpr uint64_t kDeaths = 2;  // that one item may bring about

  // From here on a death is blamed on this client's `item`, whatever number that is to the service, until Finish.
  [[gnu::always_inline]] void Begin(uint32_t client, uint32_t item) {
    StoreRelease(at_work_, uint64_t{item} << 32 | (client + 1));
  }
  [[gnu::always_inline]] void Finish() { StoreRelease(at_work_, 0); }

  // Once at the start, before Begin. blamed: the instance before died of what it did. `still_there(client, item)`: it
  // is still to be done. `epoch(client)`: of its ring.
  template <typename StillThere, typename Epoch>
  void TakeUp(bool blamed, StillThere still_there, Epoch epoch) {
    const uint64_t word = at_work_;
    const auto client = static_cast<uint32_t>(word) - 1;
    const auto item = static_cast<uint32_t>(word >> 32);
    if (blamed && word != 0 && client < kClients && still_there(client, item)) {
      Record& record = records_[client];
      const bool again = record.deaths != 0 && record.item == item;
      record.item = item;
      StoreRelease(record.deaths, again ? record.deaths + 1 : 1);
      if (record.deaths >= kDeaths) {
        StoreRelease(record.quarantine, WithComplement(epoch(client) | kIn));
      }
    }
    Finish();
  }

  // Item `item` of the client went well: the next of this number is another one.
  [[gnu::always_inline]] void Done(uint32_t client, uint32_t item) {
    Record& record = records_[client % kClients];
    if (record.deaths != 0 && record.item == item) [[unlikely]]
      StoreRelease(record.deaths, 0);
  }

  bool Holds(uint32_t client) const {
    const uint64_t word = records_[client % kClients].quarantine;
    return word != 0 && IsWithComplement(word) && (word & kIn) != 0;
  }
  // Ends a quarantine that began in another epoch than this one. True: it has ended.
  bool EndIfOther(uint32_t client, uint32_t epoch) {
    Record& record = records_[client % kClients];
    if (static_cast<uint32_t>(record.quarantine) == (epoch | kIn)) return false;
    StoreRelease(record.deaths, 0);
    StoreRelease(record.quarantine, 0);
    return true;
  }

 private:
  static constexpr uint32_t kIn = uint32_t{1} << 31;  // beside the lower bits of the epoch

  struct Record {
    uint64_t item;
    uint64_t deaths;      // with this item at work, in a row
    uint64_t quarantine;  // WithComplement; 0: none
  };
  uint64_t at_work_;  // item and 1 + client; 0: nobody's
  std::array<Record, kClients> records_;
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_RUNTIME_QUARANTINE_H_
