#include "tests/fuzz/vgic_model.h"

namespace atoll {

VgicModel::Choice VgicModel::Best(uint32_t vcpu, uint32_t groups_enabled) {
  Choice best;
  for (uint32_t intid = 0; intid < intids_; ++intid) {
    const Interrupt& interrupt = At(intid, vcpu);
    if (intid >= 32 && interrupt.route != vcpu) continue;
    if (!interrupt.enabled || interrupt.active || !interrupt.Pending()) continue;
    if (((groups & groups_enabled) >> (interrupt.group1 ? 1 : 0) & 1) == 0) continue;
    if (interrupt.priority > best.priority) continue;
    if (interrupt.priority < best.priority) best = {interrupt.priority, {}};
    best.intids.insert(intid);
  }
  return best;
}

VgicModel::Signal VgicModel::Signalled(uint32_t vcpu, uint32_t group,
                                       const FakeVirtualInterface& cpu) {
  const VirtualMachineControl vmcr = cpu.ReadMachineControl();
  const Choice best = Best(vcpu, vmcr.groups());
  bool yes = false;
  bool no = false;
  for (uint32_t intid : best.intids) {
    const uint32_t own = At(intid, vcpu).group1 ? 1 : 0;
    const uint32_t running = cpu.RunningPriority();
    const bool signalled =
        own == group && best.priority < vmcr.priority_mask() &&
        (running == 0xff || (best.priority & vmcr.GroupPriorityMask(own)) < running);
    (signalled ? yes : no) = true;
  }
  if (!yes) return Signal::kNo;
  return no ? Signal::kEither : Signal::kYes;
}

void VgicModel::Reset() {
  groups = 0;
  const auto reset = [](Interrupt& interrupt) {
    const bool line = interrupt.line;
    interrupt = Interrupt{};
    interrupt.line = line;
  };
  for (auto& own : private_) {
    for (uint32_t i = 0; i < 32; ++i) {
      reset(own[i]);
      own[i].edge = i < 16;
    }
  }
  for (Interrupt& interrupt : shared_) reset(interrupt);
}

}  // namespace atoll
