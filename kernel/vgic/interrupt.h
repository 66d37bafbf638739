// The state of one virtual interrupt: what GICD and GICR registers show of it, and where it waits.
#ifndef ATOLL_KERNEL_VGIC_INTERRUPT_H_
#define ATOLL_KERNEL_VGIC_INTERRUPT_H_

#include <cstdint>

namespace atoll {

inline constexpr uint32_t kPrivateIntids = 32;  // SGIs 0-15, PPIs 16-31: one set per vCPU
inline constexpr uint32_t kSgis = 16;
inline constexpr uint32_t kIntidLimit = 1020;  // 1020-1023 are special (IHI0069, "INTIDs")
inline constexpr uint8_t kNoVcpu = 0xff;

struct VirtualInterrupt {
  enum class Place : uint8_t {
    kNone,
    kQueued,  // in a vCPU's pending queue: enabled, pending, not active
    kListed,  // in a list register of a vCPU
    kEvicted,  // acknowledged and not ended on a vCPU, but put out of its list register by a higher priority
  };

  // Of the queue or list that it is in.
  VirtualInterrupt* next = nullptr;
  VirtualInterrupt* previous = nullptr;

  uint32_t route = 0;  // affinity: Aff3.Aff2.Aff1.Aff0, one byte each
  uint16_t intid = 0;
  uint8_t priority = 0;      // 5 bits, [7:3]
  uint8_t target = kNoVcpu;  // vCPU that `route` names
  Place place = Place::kNone;
  uint8_t vcpu = kNoVcpu;  // whose queue, list register or evicted list

  // One aligned halfword: tested and changed by few instructions.
  uint16_t group1 : 1 = 0;
  uint16_t enabled : 1 = 0;
  uint16_t edge : 1 = 0;
  uint16_t line : 1 = 0;          // level of the wire
  uint16_t latch : 1 = 0;         // an edge, SGI or ISPENDR write, not yet acknowledged nor listed
  uint16_t listed_latch : 1 = 0;  // the same while it is the list register that holds it
  uint16_t active : 1 = 0;        // as of the last look at the list register, if listed
  uint16_t made_active : 1 = 0;   // active by a write of ISACTIVER, not by an acknowledge
  uint16_t physical_active : 1 = 0;  // the physical interrupt is active on its behalf

  uint8_t list_register = 0;
  uint8_t physical_intid = 0;  // PPI that it stands for; 0: emulated
  uint8_t evicted_level = 0;   // evicted: its bit in the active priorities registers

  uint32_t group() const { return group1; }
  bool Pending() const { return latch || listed_latch || (line && !edge); }

  // What the architecture resets (IHI0069); the wire and what it stands for stay.
  void Reset() {
    priority = 0;
    group1 = enabled = latch = listed_latch = active = made_active = physical_active = 0;
    edge = intid < kSgis ? 1 : 0;
  }
};
static_assert(sizeof(VirtualInterrupt) == 32);

}  // namespace atoll

#endif  // ATOLL_KERNEL_VGIC_INTERRUPT_H_
