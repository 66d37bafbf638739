// The registers of the Arm PL011 UART (DDI0183, chapter 3): what a guest's driver and our own
// driver of the machine's UART both see. Shared by the device model (services/pl011) and the driver
// (services/console).
#ifndef ATOLL_SERVICES_PL011_REGISTERS_H_
#define ATOLL_SERVICES_PL011_REGISTERS_H_

#include <cstdint>

#include "services/runtime/register_table.h"

namespace atoll::pl011 {

inline constexpr uint32_t kRegionBytes = 0x1000;

// Indices into kTable, in the order of the offsets.
enum Register : uint32_t {
  kDr,
  kRsr,  // UARTRSR on loads, UARTECR on stores
  kFr,
  kIlpr,
  kIbrd,
  kFbrd,
  kLcrH,
  kCr,
  kIfls,
  kImsc,
  kRis,
  kMis,
  kIcr,
  kDmacr,
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

// UARTDR and, without the shift, UARTRSR: errors that came with a byte.
inline constexpr uint32_t kDrData = 0xff;
inline constexpr uint32_t kDrErrorShift = 8;
inline constexpr uint32_t kDrBreak = 1u << 10;
inline constexpr uint32_t kDrOverrun = 1u << 11;
inline constexpr uint32_t kRsrOverrun = kDrOverrun >> kDrErrorShift;

// UARTFR.
inline constexpr uint32_t kFrCts = 1u << 0;
inline constexpr uint32_t kFrDsr = 1u << 1;
inline constexpr uint32_t kFrDcd = 1u << 2;
inline constexpr uint32_t kFrBusy = 1u << 3;
inline constexpr uint32_t kFrRxFifoEmpty = 1u << 4;
inline constexpr uint32_t kFrTxFifoFull = 1u << 5;
inline constexpr uint32_t kFrRxFifoFull = 1u << 6;
inline constexpr uint32_t kFrTxFifoEmpty = 1u << 7;
inline constexpr uint32_t kFrRi = 1u << 8;

// UARTLCR_H.
inline constexpr uint32_t kLcrHBreak = 1u << 0;
inline constexpr uint32_t kLcrHFifoEnable = 1u << 4;
inline constexpr uint32_t kLcrHWordLength8 = 3u << 5;

// UARTCR.
inline constexpr uint32_t kCrUartEnable = 1u << 0;
inline constexpr uint32_t kCrLoopback = 1u << 7;
inline constexpr uint32_t kCrTransmitEnable = 1u << 8;
inline constexpr uint32_t kCrReceiveEnable = 1u << 9;
inline constexpr uint32_t kCrDtr = 1u << 10;
inline constexpr uint32_t kCrRts = 1u << 11;
inline constexpr uint32_t kCrOut1 = 1u << 12;
inline constexpr uint32_t kCrOut2 = 1u << 13;
inline constexpr uint32_t kCrRtsFlow = 1u << 14;
inline constexpr uint32_t kCrCtsFlow = 1u << 15;

// UARTIFLS: trigger levels, in eighths of the FIFO.
inline constexpr uint32_t kIflsTransmitShift = 0;
inline constexpr uint32_t kIflsReceiveShift = 3;
inline constexpr uint32_t kIflsMask = 7;

// UARTIMSC, UARTRIS, UARTMIS, UARTICR.
inline constexpr uint32_t kInterruptRi = 1u << 0;
inline constexpr uint32_t kInterruptCts = 1u << 1;
inline constexpr uint32_t kInterruptDcd = 1u << 2;
inline constexpr uint32_t kInterruptDsr = 1u << 3;
inline constexpr uint32_t kInterruptReceive = 1u << 4;
inline constexpr uint32_t kInterruptTransmit = 1u << 5;
inline constexpr uint32_t kInterruptReceiveTimeout = 1u << 6;
inline constexpr uint32_t kInterruptBreak = 1u << 9;
inline constexpr uint32_t kInterruptOverrun = 1u << 10;
inline constexpr uint32_t kInterruptAll = 0x7ff;

// Revision 1 of the part (r1p0..r1p4 by UARTPeriphID2[7:4]) has FIFOs of 16; drivers size their
// bursts by it.
inline constexpr uint32_t kPeriphId2Value = 0x14;
inline constexpr uint32_t kFifoDepth = 16;
// From this revision on the FIFOs have 32 entries.
inline constexpr uint32_t kRevisionOfDeepFifo = 3;
inline constexpr uint32_t kDeepFifoDepth = 32;
constexpr uint32_t FifoDepthOfRevision(uint32_t periph_id2) {
  return (periph_id2 >> 4) >= kRevisionOfDeepFifo ? kDeepFifoDepth : kFifoDepth;
}
static_assert(FifoDepthOfRevision(kPeriphId2Value) == kFifoDepth);

using Table = RegisterTable<kRegisterCount, kRegionBytes>;

// clang-format off
inline constexpr Table kTable({
    // name              offset bits mode                       reset   writable
    {"UARTDR",           0x000, 12, RegisterMode::kReadWrite,   0x000,  kDrData},
    {"UARTRSR/UARTECR",  0x004,  4, RegisterMode::kReadWrite,   0x0,    0xf},
    {"UARTFR",           0x018,  9, RegisterMode::kReadOnly,    0x090},
    {"UARTILPR",         0x020,  8, RegisterMode::kReadWrite,   0x00,   0xff},
    {"UARTIBRD",         0x024, 16, RegisterMode::kReadWrite,   0x0000, 0xffff},
    {"UARTFBRD",         0x028,  6, RegisterMode::kReadWrite,   0x00,   0x3f},
    {"UARTLCR_H",        0x02c,  8, RegisterMode::kReadWrite,   0x00,   0xff},
    {"UARTCR",           0x030, 16, RegisterMode::kReadWrite,   0x0300, 0xff87},
    {"UARTIFLS",         0x034,  6, RegisterMode::kReadWrite,   0x12,   0x3f},
    {"UARTIMSC",         0x038, 11, RegisterMode::kReadWrite,   0x000,  kInterruptAll},
    {"UARTRIS",          0x03c, 11, RegisterMode::kReadOnly,    0x000},
    {"UARTMIS",          0x040, 11, RegisterMode::kReadOnly,    0x000},
    {"UARTICR",          0x044, 11, RegisterMode::kWriteOnly,   0x000,  kInterruptAll},
    {"UARTDMACR",        0x048,  3, RegisterMode::kReadWrite,   0x0,    0x7},
    {"UARTPeriphID0",    0xfe0,  8, RegisterMode::kReadOnly,    0x11},
    {"UARTPeriphID1",    0xfe4,  8, RegisterMode::kReadOnly,    0x10},
    {"UARTPeriphID2",    0xfe8,  8, RegisterMode::kReadOnly,    kPeriphId2Value},
    {"UARTPeriphID3",    0xfec,  8, RegisterMode::kReadOnly,    0x00},
    {"UARTPCellID0",     0xff0,  8, RegisterMode::kReadOnly,    0x0d},
    {"UARTPCellID1",     0xff4,  8, RegisterMode::kReadOnly,    0xf0},
    {"UARTPCellID2",     0xff8,  8, RegisterMode::kReadOnly,    0x05},
    {"UARTPCellID3",     0xffc,  8, RegisterMode::kReadOnly,    0xb1},
});
// clang-format on

}  // namespace atoll::pl011

#endif  // ATOLL_SERVICES_PL011_REGISTERS_H_
