// How VMs share one CPU: the time that each has had of it, its vCPUs' and that of services which worked for it.
//
// Among vCPUs of equal priority the one runs first whose VM has had least. Whoever begins to want time has had as much
// as the one that was chosen last, so sleeping saves nothing up. A service that works on signals for a VM that has had
// more than its part waits among that VM's vCPUs.
#ifndef ATOLL_KERNEL_SHARES_H_
#define ATOLL_KERNEL_SHARES_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace atoll {

// A VMID; 0 is nobody's, and owes nothing.
using Account = uint8_t;

// Times are in ticks of CNTPCT_EL0.
class Shares {
 public:
  // Adds the time until now to the account on which the CPU worked. From now on it works on `next`.
  void Settle(uint64_t now, Account next) {
    had_[account_] += now - since_;
    since_ = now;
    account_ = next;
  }
  // The CPU slept until now.
  void Skip(uint64_t now) { since_ = now; }
  // The account on which the CPU works is ahead of the others by `most` at most: what is above is forgiven.
  void Forgive(uint64_t most) { had_[account_] = std::min(had_[account_], chosen_ + most); }

  // Begins to want time.
  void Join(Account account) { had_[account] = std::max(had_[account], chosen_); }
  // Gets it, before all others that want it.
  void Choose(Account account) { chosen_ = had_[account]; }
  // Another VM has the VMID from now on.
  void Open(Account account) { had_[account] = 0; }

  Account account() const { return account_; }
  uint64_t had(Account account) const { return had_[account]; }
  // Whether it has had more by over `slack` than the one that was chosen last.
  bool Owes(Account account, uint64_t slack) const {
    return account != 0 && had_[account] > chosen_ + slack;
  }

 private:
  uint64_t since_ = 0;
  uint64_t chosen_ = 0;  // what the one that was chosen last had had then
  Account account_ = 0;  // on which the CPU works
  std::array<uint64_t, size_t{std::numeric_limits<Account>::max()} + 1> had_ = {};
};

}  // namespace atoll

#endif  // ATOLL_KERNEL_SHARES_H_
