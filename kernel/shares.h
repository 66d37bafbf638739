// How VMs share one CPU: the time that each has had of it, its vCPUs' and that of services which worked for it.
//
// Among vCPUs of equal priority the one runs first whose VM has had least. Whoever begins to want time has had as much
// as the one that was chosen last, so sleeping saves nothing up. A service that works on signals for a VM that has had
// more than its part waits among that VM's vCPUs.
#ifndef ATOLL_KERNEL_SHARES_H_
#define ATOLL_KERNEL_SHARES_H_

#include <algorithm>
#include <array>
#include <cstdint>

namespace atoll {

// Times are in ticks of CNTPCT_EL0. Accounts are VMIDs; 0, nobody's, owes nothing.
template <size_t kAccounts>
class Shares {
 public:
  // Adds the time until now to the account on which the CPU worked. From now on it works on `next`.
  // `most`: nobody is ahead of the others by more, so a burst is forgiven.
  void Settle(uint64_t now, uint32_t next, uint64_t most) {
    uint64_t& had = had_[account_];
    had = std::min(had + (now - since_), chosen_ + most);
    since_ = now;
    account_ = next;
  }
  // The CPU slept until now.
  void Skip(uint64_t now) { since_ = now; }

  // Begins to want time.
  void Join(uint32_t account) { had_[account] = std::max(had_[account], chosen_); }
  // Gets it, before all others that want it.
  void Choose(uint32_t account) { chosen_ = had_[account]; }
  // Nobody's any more: another VM will have the VMID.
  void Forget(uint32_t account) { had_[account] = 0; }

  uint32_t account() const { return account_; }
  uint64_t had(uint32_t account) const { return had_[account]; }
  // Whether it has had more by over `slack` than the one that was chosen last.
  bool Owes(uint32_t account, uint64_t slack) const {
    return account != 0 && had_[account] > chosen_ + slack;
  }

 private:
  uint64_t since_ = 0;
  uint32_t account_ = 0;  // on which the CPU works
  uint64_t chosen_ = 0;   // what the one that was chosen last had had then
  std::array<uint64_t, kAccounts> had_ = {};
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_SHARES_H_
