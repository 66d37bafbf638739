#include "services/pl011/failed.h"

namespace atoll {

using namespace pl011;  // NOLINT: this file is about nothing else

void FailedPl011::Start() {
  registers_[kRis] = kInterruptTransmit;
  registers_[kRsr] = 0;
  DriveLine();
}

Result<uint64_t> FailedPl011::Access(const RegisterAccess& access) {
  const size_t index = kTable.Find(access);
  if (index == Table::kReserved) return 0;
  if (!access.write) return kTable.Loaded(index, access, Read(index));
  const uint32_t value = kTable.Stored(index, access, registers_[index]);
  switch (index) {
    case kDr: registers_[kRis] |= kInterruptTransmit; break;
    case kRsr: break;
    case kIcr: registers_[kRis] &= ~value; break;
    default: registers_[index] = value; break;  // read-only registers: `value` is what they held
  }
  DriveLine();
  return 0;
}

uint32_t FailedPl011::Read(size_t index) const {
  switch (index) {
    case kDr: return 0;
    case kFr: return kFrCts | kFrDsr | kFrDcd | kFrTxFifoEmpty | kFrRxFifoEmpty;
    case kMis: return registers_[kRis] & registers_[kImsc];
    default: return registers_[index];
  }
}

void FailedPl011::DriveLine() { line_.Set((registers_[kRis] & registers_[kImsc]) != 0); }

}  // namespace atoll
