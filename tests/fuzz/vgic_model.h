// A GICv3 with as many list registers as interrupts: what the architecture says a guest sees (IHI0069).
#ifndef ATOLL_TESTS_FUZZ_VGIC_MODEL_H_
#define ATOLL_TESTS_FUZZ_VGIC_MODEL_H_

#include <cstdint>
#include <set>
#include <vector>

#include "tests/unit/vgic/fake_virtual_interface.h"

namespace atoll {

class VgicModel {
 public:
  struct Interrupt {
    bool group1 = false, enabled = false, edge = false, line = false, latch = false, active = false;
    uint32_t priority = 0;
    uint64_t route = 0;
    bool Pending() const { return latch || (line && !edge); }
  };

  VgicModel(uint32_t intids, uint32_t vcpus)
      : intids_(intids), private_(vcpus, std::vector<Interrupt>(32)), shared_(intids - 32) {
    for (auto& own : private_) {
      for (uint32_t i = 0; i < 16; ++i) own[i].edge = true;
    }
  }

  Interrupt& At(uint32_t intid, uint32_t vcpu) {
    return intid < 32 ? private_[vcpu][intid] : shared_[intid - 32];
  }
  void SetLine(Interrupt& interrupt, bool level) {
    if (interrupt.edge && level && !interrupt.line) interrupt.latch = true;
    interrupt.line = level;
  }

  // The best candidates of a vCPU: all of one priority.
  struct Choice {
    uint32_t priority = 0x100;
    std::set<uint32_t> intids;
  };
  Choice Best(uint32_t vcpu, uint32_t groups_enabled);

  // Whether the CPU interface signals Group `group`. Two groups at the same priority: the hardware's choice.
  enum class Signal { kNo, kYes, kEither };
  Signal Signalled(uint32_t vcpu, uint32_t group, const FakeVirtualInterface& cpu);

  void Acknowledge(uint32_t intid, uint32_t vcpu) {
    At(intid, vcpu).latch = false;
    At(intid, vcpu).active = true;
  }
  void Reset();

  uint32_t groups = 0;  // GICD_CTLR
  uint32_t intids() const { return intids_; }

 private:
  const uint32_t intids_;
  std::vector<std::vector<Interrupt>> private_;
  std::vector<Interrupt> shared_;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_FUZZ_VGIC_MODEL_H_
