// The registers of the Arm PL031 real-time clock (DDI0224, chapter 3).
#ifndef ATOLL_SERVICES_PL031_REGISTERS_H_
#define ATOLL_SERVICES_PL031_REGISTERS_H_

#include <cstdint>

#include "services/runtime/register_table.h"

namespace atoll::pl031 {

inline constexpr uint32_t kRegionBytes = 0x1000;

// Indices into kTable, in the order of the offsets.
enum Register : uint32_t {
  kDr,
  kMr,
  kLr,
  kCr,
  kImsc,
  kRis,
  kMis,
  kIcr,
  kPeriphId0,
  kPeriphId1,
  kPeriphId2,
  kPeriphId3,
  kPCellId0,
  kPCellId1,
  kPCellId2,
  kPCellId3,
  kRegisterCount,
};

inline constexpr uint32_t kInterruptAlarm = 1;  // RTCIMSC, RTCRIS, RTCMIS, RTCICR
inline constexpr uint32_t kCrStart = 1;

using Table = RegisterTable<kRegisterCount, kRegionBytes>;

// clang-format off
inline constexpr Table kTable({
    // name             offset bits mode                       reset  writable
    {"RTCDR",           0x000, 32, RegisterMode::kReadOnly,    0},
    {"RTCMR",           0x004, 32, RegisterMode::kReadWrite,   0,     0xffff'ffff},
    {"RTCLR",           0x008, 32, RegisterMode::kReadWrite,   0,     0xffff'ffff},
    // Runs from the start (the part: once started); a running clock cannot be stopped.
    {"RTCCR",           0x00c,  1, RegisterMode::kReadOnly,    kCrStart},
    {"RTCIMSC",         0x010,  1, RegisterMode::kReadWrite,   0,     kInterruptAlarm},
    {"RTCRIS",          0x014,  1, RegisterMode::kReadOnly,    0},
    {"RTCMIS",          0x018,  1, RegisterMode::kReadOnly,    0},
    {"RTCICR",          0x01c,  1, RegisterMode::kWriteOnly,   0,     kInterruptAlarm},
    {"RTCPeriphID0",    0xfe0,  8, RegisterMode::kReadOnly,    0x31},
    {"RTCPeriphID1",    0xfe4,  8, RegisterMode::kReadOnly,    0x10},
    {"RTCPeriphID2",    0xfe8,  8, RegisterMode::kReadOnly,    0x14},
    {"RTCPeriphID3",    0xfec,  8, RegisterMode::kReadOnly,    0x00},
    {"RTCPCellID0",     0xff0,  8, RegisterMode::kReadOnly,    0x0d},
    {"RTCPCellID1",     0xff4,  8, RegisterMode::kReadOnly,    0xf0},
    {"RTCPCellID2",     0xff8,  8, RegisterMode::kReadOnly,    0x05},
    {"RTCPCellID3",     0xffc,  8, RegisterMode::kReadOnly,    0xb1},
});
// clang-format on

}  // namespace atoll::pl031

#endif  // ATOLL_SERVICES_PL031_REGISTERS_H_
