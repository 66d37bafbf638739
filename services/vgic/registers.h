// Registers of a GICv3 distributor and its redistributors (IHI0069), and what this one shows in those that
// never change: one Security state, affinity routing always on, no LPIs, no 1-of-N routing.
#ifndef ATOLL_SERVICES_VGIC_REGISTERS_H_
#define ATOLL_SERVICES_VGIC_REGISTERS_H_

#include <cstdint>

namespace atoll::gic {

// Bytes. Offsets count from the distributor.
inline constexpr uint64_t kDistributorBytes = 0x10000;
inline constexpr uint64_t kRedistributorsOffset = 0xA0000;
inline constexpr uint64_t kFrameBytes = 0x10000;  // RD_base, then SGI_base
inline constexpr uint64_t kRedistributorBytes = 2 * kFrameBytes;

// GICD
inline constexpr uint32_t kGicdCtlr = 0x0000;
inline constexpr uint32_t kGicdTyper = 0x0004;
inline constexpr uint32_t kGicdIidr = 0x0008;
inline constexpr uint32_t kGicdIrouter = 0x6000;  // 8 bytes for each INTID
inline constexpr uint32_t kGicdIrouterEnd = 0x8000;

// GICR, RD_base
inline constexpr uint32_t kGicrIidr = 0x0004;
inline constexpr uint32_t kGicrTyper = 0x0008;

// Both: CoreSight identification, 0xFFD0-0xFFFF
inline constexpr uint32_t kIdentification = 0xFFD0;

// GICD and SGI_base: registers that hold one field of consecutive interrupts.
inline constexpr uint32_t kIgroupr = 0x0080;
inline constexpr uint32_t kIsenabler = 0x0100;
inline constexpr uint32_t kIcenabler = 0x0180;
inline constexpr uint32_t kIspendr = 0x0200;
inline constexpr uint32_t kIcpendr = 0x0280;
inline constexpr uint32_t kIsactiver = 0x0300;
inline constexpr uint32_t kIcactiver = 0x0380;
inline constexpr uint32_t kIpriorityr = 0x0400;
inline constexpr uint32_t kIpriorityrEnd = 0x0800;
inline constexpr uint32_t kIcfgr = 0x0C00;
inline constexpr uint32_t kIcfgrEnd = 0x0D00;

// GICD_CTLR. RWP (bit 31) reads 0: a write is in effect everywhere when it completes.
inline constexpr uint32_t kCtlrGroups = 3;                // EnableGrp0, EnableGrp1
inline constexpr uint32_t kCtlrAffinityRouting = 1 << 4;  // ARE
inline constexpr uint32_t kCtlrOneState = 1 << 6;         // DS

// GICD_TYPER. ITLinesNumber, [4:0], depends on the VM. SecurityExtn, MBIS, LPIS, DVIS, ESPI, RSS are 0.
inline constexpr uint32_t kTyperIdBits = 9 << 19;     // 10 bits
inline constexpr uint32_t kTyperAffinity3 = 1 << 24;  // A3V, as in ICC_CTLR_EL1
inline constexpr uint32_t kTyperNo1N = 1 << 25;

// GICD_IIDR, GICR_IIDR: implementer Arm (JEP106 0x43B), product 'A'.
inline constexpr uint32_t kIidr = 0x4100'043B;

// GICR_TYPER
inline constexpr uint64_t kGicrTyperLast = 1 << 4;
inline constexpr uint32_t kGicrTyperNumberShift = 8;
inline constexpr uint32_t kGicrTyperAffinityShift = 32;

// The word at kIdentification + 4 * i: PIDR4-7, PIDR0-3, CIDR0-3. PIDR2 says architecture revision 3.
inline constexpr uint32_t kIdentificationWords[12] = {
    0x44, 0, 0, 0, 0x92, 0xB4, 0x3B, 0, 0x0D, 0xF0, 0x05, 0xB1,
};

}  // namespace atoll::gic

#endif  // ATOLL_SERVICES_VGIC_REGISTERS_H_
