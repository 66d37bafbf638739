#include <cstdlib>
#include <deque>

#include "tests/fuzz/pl011_fuzz.h"
#include "tests/unit/uart/uart_machine.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

void Require(bool condition) {
  if (!condition) std::abort();
}

// What holds whatever the guest does.
void Check(UartMachine& m) {
  Require(m.line.level == (m.Read(kMis) != 0));
  Require(m.Read(kMis) == (m.Read(kRis) & m.Read(kImsc)));
  const uint32_t flags = m.Read(kFr);
  Require((flags & (kFrTxFifoEmpty | kFrTxFifoFull)) != (kFrTxFifoEmpty | kFrTxFifoFull));
  Require((flags & (kFrRxFifoEmpty | kFrRxFifoFull)) != (kFrRxFifoEmpty | kFrRxFifoFull));
  Require(((flags & kFrBusy) != 0) != ((flags & kFrTxFifoEmpty) != 0));
  constexpr uint32_t kReceiving = kCrUartEnable | kCrReceiveEnable;
  if (m.state->loop_entries() != 0 && (m.Read(kCr) & kReceiving) == kReceiving) {
    Require((flags & kFrRxFifoEmpty) == 0);
  }
  // No receive interrupt that reading could not dismiss.
  if ((flags & kFrRxFifoEmpty) != 0) {
    Require((m.Read(kRis) & (kInterruptReceive | kInterruptReceiveTimeout)) == 0);
  }
  Require(m.state->loop_entries() <= kFifoDepth);
  Require(m.Read(kPeriphId0) == 0x11 && m.Read(kPCellId3) == 0xb1);
}

class Session {
 public:
  // One step of four bytes: what, and three of arguments.
  void Step(uint8_t what, uint8_t a, uint8_t b, uint8_t c) {
    switch (what % 8) {
      case 0:  // any access at all
        Raw(uint64_t{b} << 8 | a, 1u << (c & 3), (c & 4) != 0, uint64_t{c} << 5 | b);
        break;
      case 1: Raw(kTable.offset(a % kRegisterCount), 4, true, uint64_t{c} << 8 | b); break;
      case 2: Raw(kTable.offset(a % kRegisterCount), 4, false, 0); break;
      case 3:
        for (uint32_t i = 0; i < b; ++i) Raw(0, 1, true, static_cast<uint8_t>(a + i));
        break;
      case 4:
        for (uint32_t i = 0; i < b; ++i) {
          const auto byte = static_cast<char>(a + i);
          // Without a signal only if one follows: the console owes it.
          if (m_.ConsoleWrites({&byte, 1}, i + 1 == b) == 1)
            typed_.push_back(static_cast<uint8_t>(byte));
        }
        m_.device->OnSignals(Pl011::kConsoleSignal);
        break;
      case 5:
        for (const char byte : m_.ConsoleReads(a)) {
          Require(!printed_.empty() && printed_.front() == static_cast<uint8_t>(byte));
          printed_.pop_front();
        }
        break;
      case 6: m_.PassMicroseconds(uint64_t{a} * 16); break;
      default:
        if (a < 8) m_.Boot();
        if (a >= 128) {  // what drivers do, which random values seldom are
          Store(kTable.offset(kCr), 4,
                kCrUartEnable | kCrReceiveEnable | ((b & 1) != 0 ? kCrLoopback : 0));
          m_.Write(kLcrH, (b & 2) != 0 ? kLcrHFifoEnable : 0);
        }
        m_.device->OnSignals(b);
        break;
    }
    Check(m_);
    if ((a ^ b) % 8 == 0) Require(m_.device->IsIntact());
  }

  // Everything arrives, once and in order.
  void End() {
    Store(kTable.offset(kCr), 4, kCrUartEnable | kCrReceiveEnable);
    while (m_.state->loop_entries() != 0) m_.Read(kDr);
    for (const char byte : m_.DrainInput()) {
      Require(!typed_.empty() && typed_.front() == static_cast<uint8_t>(byte));
      typed_.pop_front();
    }
    Require(typed_.empty());
    Step(5, 255, 0, 0);
    Step(5, 255, 0, 0);
    Step(5, 255, 0, 0);
    Require(printed_.empty());
    m_.PassMicroseconds(5000);
    Check(m_);
  }

 private:
  // What flow control held back in loopback leaves when that ends, as far as there is room.
  void Store(uint64_t offset, uint32_t size, uint64_t value) {
    const Pl011State before = *m_.state;
    size_t room = UartMachine::kRingCapacity - m_.console.output.Available();
    m_.Store(offset, value, size);
    if ((m_.state->registers[kCr] & kCrLoopback) != 0) return;
    for (uint32_t i = before.held_read; i != before.held_write && room != 0; ++i, --room)
      printed_.push_back(before.held[i % before.held.size()]);
  }

  // An access, with the streams followed as a guest can tell from the registers.
  void Raw(uint64_t offset, uint32_t size, bool write, uint64_t value) {
    const bool data = offset == kTable.offset(kDr) && size <= 4;
    const bool loopback = (m_.state->registers[kCr] & kCrLoopback) != 0;
    const uint32_t looped = m_.state->loop_entries();
    const uint32_t flags = m_.Read(kFr);
    if (write) {
      Store(offset, size, value);
      if (data && !loopback && (flags & kFrTxFifoFull) == 0)
        printed_.push_back(static_cast<uint8_t>(value));
    } else {
      const uint64_t loaded = m_.Load(offset, size);
      Require(size == 8 ? loaded == 0 : loaded >> (8 * size) == 0);
      if (data && looped == 0 && (flags & kFrRxFifoEmpty) == 0) {
        Require(!typed_.empty() && typed_.front() == static_cast<uint8_t>(loaded));
        typed_.pop_front();
      }
    }
  }

  UartMachine m_;
  std::deque<uint8_t> printed_;  // by the guest, not seen by the console yet
  std::deque<uint8_t> typed_;    // by the user, not seen by the guest yet
};

}  // namespace

void FuzzPl011(std::span<const std::byte> input) {
  Session session;
  for (; input.size() >= 4; input = input.subspan(4)) {
    session.Step(std::to_integer<uint8_t>(input[0]), std::to_integer<uint8_t>(input[1]),
                 std::to_integer<uint8_t>(input[2]), std::to_integer<uint8_t>(input[3]));
  }
  session.End();
}

}  // namespace atoll
