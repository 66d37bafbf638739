// What the CPU has and what Atoll shows of it: found out once, at boot.
#include <algorithm>
#include <tuple>
#include <utility>

#include "kernel/system_register.h"
#include "kernel/vcpu/id_register_rules.h"
#include "kernel/vcpu/id_registers.h"

namespace atoll {
namespace {

uint64_t Capped(const FieldRule& rule, uint64_t hardware) {
  if (hardware == rule.absent) return hardware;
  return std::min<uint64_t>(hardware, rule.most);
}

void ShowAarch32(const IdValues& hardware, IdValues& shown) {
  const size_t end = IdRegister{kFirstAarch64Crm, 0}.Index();
  std::copy_n(hardware.begin(), end, shown.begin());
  shown[id::kAfr0Aarch32.Index()] = 0;  // implementation defined
  for (const auto& [which, shift] : kHiddenAarch32) shown[which.Index()] &= ~(kFieldMask << shift);
}

template <size_t... kIndices>
IdValues ReadAll(std::index_sequence<kIndices...>) {
  return {
      EncodedRegister<3, 0, 0, kIndices / kIdOp2s + kFirstIdCrm, kIndices % kIdOp2s>::Read()...};
}

}  // namespace

IdValues ReadHardwareIdRegisters() {
  return ReadAll(std::make_index_sequence<std::tuple_size_v<IdValues>>());
}

IdValues Baseline(const IdValues& hardware) {
  IdValues shown = {};
  for (const FieldRule& rule : kRules) {
    const uint64_t value = (hardware[rule.which.Index()] >> rule.shift) & kFieldMask;
    shown[rule.which.Index()] |= Capped(rule, value) << rule.shift;
  }
  for (const FixedField& field : kFixed) {
    shown[field.which.Index()] |= uint64_t{field.value} << field.shift;
  }
  if (IdField(hardware, id::kAa64Pfr0, 0) == kEl0WithAarch32) ShowAarch32(hardware, shown);
  return shown;
}

}  // namespace atoll
