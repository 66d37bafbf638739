#include "services/vgic/register_file.h"

#include <array>

namespace atoll {
namespace {

using gic::kFrameBytes;

constexpr uint32_t kPrivateIntids = 32;
constexpr uint32_t kIntidEnd = 1024;  // the kernel gives nothing beyond the VM's interrupts

// Registers with a bit for each interrupt: banks of 128 bytes from IGROUPR on.
constexpr uint32_t kBankBytes = 0x80;

enum class Store { kValue, kSet, kClear };  // what a store of 1 does; of 0: kValue only

struct Bank {
  InterruptField field;
  Store store;
};

constexpr std::array<Bank, 7> kBanks = {{
    {InterruptField::kGroup, Store::kValue},    // IGROUPR
    {InterruptField::kEnabled, Store::kSet},    // ISENABLER
    {InterruptField::kEnabled, Store::kClear},  // ICENABLER
    {InterruptField::kPending, Store::kSet},    // ISPENDR
    {InterruptField::kPending, Store::kClear},  // ICPENDR
    {InterruptField::kActive, Store::kSet},     // ISACTIVER
    {InterruptField::kActive, Store::kClear},   // ICACTIVER
}};
static_assert(gic::kIgroupr + kBanks.size() * kBankBytes == gic::kIpriorityr);

// Bit i to bit 2i + 1, as ICFGR has it, and back.
constexpr uint32_t Spread(uint64_t edges) {
  uint32_t configuration = 0;
  for (uint32_t i = 0; i < 16; ++i)
    configuration |= static_cast<uint32_t>((edges >> i) & 1) << (2 * i + 1);
  return configuration;
}
constexpr uint32_t Gather(uint64_t configuration) {
  uint32_t edges = 0;
  for (uint32_t i = 0; i < 16; ++i)
    edges |= static_cast<uint32_t>((configuration >> (2 * i + 1)) & 1) << i;
  return edges;
}

// The part of a 64-bit register at `offset` that a 32- or 64-bit access sees.
constexpr uint64_t Half(const RegisterAccess& access, uint64_t value) {
  if (access.size == 8) return value;
  return access.offset % 8 == 4 ? value >> 32 : value & 0xffff'ffff;
}

}  // namespace

uint64_t RegisterFile::Dispatch(const RegisterAccess& access) {
  if (access.size == 0 || access.offset % access.size != 0) return 0;
  if (access.offset < gic::kDistributorBytes) return Distributor(access);
  if (access.offset < gic::kRedistributorsOffset) return 0;
  const uint64_t offset = access.offset - gic::kRedistributorsOffset;
  const uint64_t vcpu = offset / gic::kRedistributorBytes;
  if (vcpu >= affinities_.size()) return 0;
  RegisterAccess within = access;
  within.offset = offset % gic::kRedistributorBytes;
  if (within.offset < kFrameBytes) return Redistributor(within, static_cast<uint32_t>(vcpu));
  within.offset -= kFrameBytes;
  return Fields(within, 0, kPrivateIntids, static_cast<uint32_t>(vcpu));
}

uint64_t RegisterFile::Distributor(const RegisterAccess& access) {
  if (access.offset >= gic::kGicdIrouter && access.offset < gic::kGicdIrouterEnd) {
    return Route(access);
  }
  if (access.size == 4) {
    if (access.offset == gic::kGicdCtlr) return Control(access);
    if (access.write && access.offset < gic::kIgroupr) return 0;
    if (access.offset == gic::kGicdIidr) return gic::kIidr;
    if (access.offset >= gic::kIdentification && !access.write) {
      return gic::kIdentificationWords[(access.offset - gic::kIdentification) / 4];
    }
  }
  return Fields(access, kPrivateIntids, kIntidEnd, 0);
}

uint64_t RegisterFile::Control(const RegisterAccess& access) {
  if (access.write) {
    (void)state_.Set(InterruptField::kControl, 0, gic::kCtlrGroups, access.value, 0);
    return 0;
  }
  const uint64_t groups = state_.Get(InterruptField::kControl, 0, 1, 0).value_or(0);
  return groups | gic::kCtlrAffinityRouting | gic::kCtlrOneState;
}

uint64_t RegisterFile::Route(const RegisterAccess& access) {
  const uint32_t intid = static_cast<uint32_t>(access.offset - gic::kGicdIrouter) / 8;
  if (access.size < 4 || intid < kPrivateIntids) return 0;
  if (access.write) {
    uint64_t mask = ~uint64_t{0};
    uint64_t value = access.value;
    if (access.size == 4) {
      const uint32_t shift = access.offset % 8 == 4 ? 32 : 0;
      mask = uint64_t{0xffff'ffff} << shift;
      value = value << shift;
    }
    (void)state_.Set(InterruptField::kRoute, intid, mask, value, 0);
    return 0;
  }
  return Half(access, state_.Get(InterruptField::kRoute, intid, 1, 0).value_or(0));
}

uint64_t RegisterFile::Redistributor(const RegisterAccess& access, uint32_t vcpu) {
  // CTLR, WAKER, STATUSR and all of the LPI registers read 0 and ignore stores: nothing of them is there.
  if (access.write || access.size < 4) return 0;
  if (access.offset == gic::kGicrTyper || access.offset == gic::kGicrTyper + 4) {
    const uint64_t mpidr = affinities_[vcpu];
    const uint64_t affinity = ((mpidr >> 32) & 0xff) << 24 | (mpidr & 0xff'ffff);
    const uint64_t last = vcpu + 1 == affinities_.size() ? gic::kGicrTyperLast : 0;
    return Half(access, affinity << gic::kGicrTyperAffinityShift |
                            uint64_t{vcpu} << gic::kGicrTyperNumberShift | last);
  }
  if (access.size != 4) return 0;
  if (access.offset == gic::kGicrIidr) return gic::kIidr;
  if (access.offset >= gic::kIdentification) {
    return gic::kIdentificationWords[(access.offset - gic::kIdentification) / 4];
  }
  return 0;
}

uint64_t RegisterFile::Fields(const RegisterAccess& access, uint32_t begin, uint32_t end,
                              uint32_t vcpu) {
  if (access.offset >= gic::kIpriorityr && access.offset < gic::kIpriorityrEnd) {
    return Priorities(access, begin, end, vcpu);
  }
  if (access.size != 4) return 0;
  if (access.offset >= gic::kIgroupr && access.offset < gic::kIpriorityr) {
    return Bits(access, begin, end, vcpu);
  }
  if (access.offset >= gic::kIcfgr && access.offset < gic::kIcfgrEnd) {
    return Configuration(access, begin, end, vcpu);
  }
  return 0;
}

uint64_t RegisterFile::Bits(const RegisterAccess& access, uint32_t begin, uint32_t end,
                            uint32_t vcpu) {
  const Bank bank = kBanks[(access.offset - gic::kIgroupr) / kBankBytes];
  const uint32_t first = static_cast<uint32_t>(access.offset % kBankBytes) * 8;
  if (first < begin || first >= end) return 0;
  if (!access.write) return state_.Get(bank.field, first, 32, vcpu).value_or(0);

  const uint64_t written = access.value & 0xffff'ffff;
  const uint64_t mask = bank.store == Store::kValue ? 0xffff'ffff : written;
  const uint64_t value = bank.store == Store::kClear ? 0 : written;
  if (mask != 0) (void)state_.Set(bank.field, first, mask, value, vcpu);
  return 0;
}

uint64_t RegisterFile::Priorities(const RegisterAccess& access, uint32_t begin, uint32_t end,
                                  uint32_t vcpu) {
  if (access.size != 1 && access.size != 4) return 0;
  const uint32_t first = static_cast<uint32_t>(access.offset) - gic::kIpriorityr;
  if (first < begin || first >= end) return 0;
  if (!access.write) {
    return state_.Get(InterruptField::kPriority, first, access.size, vcpu).value_or(0);
  }
  const uint64_t mask = access.size == 1 ? 0xff : 0xffff'ffff;
  (void)state_.Set(InterruptField::kPriority, first, mask, access.value & mask, vcpu);
  return 0;
}

uint64_t RegisterFile::Configuration(const RegisterAccess& access, uint32_t begin, uint32_t end,
                                     uint32_t vcpu) {
  const uint32_t first = static_cast<uint32_t>(access.offset - gic::kIcfgr) * 4;
  if (first < begin || first >= end) return 0;
  if (!access.write) return Spread(state_.Get(InterruptField::kEdge, first, 16, vcpu).value_or(0));
  (void)state_.Set(InterruptField::kEdge, first, 0xffff, Gather(access.value), vcpu);
  return 0;
}

}  // namespace atoll
