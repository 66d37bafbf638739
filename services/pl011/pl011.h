// A guest's UART: Arm PL011 (DDI0183), device tree node "arm,pl011".
//
// The FIFOs of the real part are the ends of two rings that the service shares with the console:
// the transmit FIFO is the last kFifoDepth bytes of the output ring (it has bytes only while the
// ring is nearly full), the receive FIFO the first bytes of the input ring. So a byte is never
// copied between two places that could disagree after a restart: it moves by one store of a ring
// index. Input beyond the receive FIFO waits in the ring and at the console; it never overruns.
// Choices that the specification leaves open, or that differ from the part:
//   - bytes leave at once, also while UARTEN or TXE is 0 (early code writes before it enables);
//   - while UARTEN or RXE is 0 input waits in the ring and the receive FIFO reads as empty;
//   - WLEN, parity, stop bits, speed, SIR and DMA are kept without effect;
//   - a break that the console sends is a zero byte with BE; the guest's own (BRK) ends in loopback
//     as well, and has no effect outside it;
//   - outside loopback CTS, DSR and DCD are asserted and RI is not; they raise no interrupt. So
//     flow control never stops output, and input is held back whether RTS asks for it or not. In
//     loopback RTS and CTS flow control work.
#ifndef ATOLL_SERVICES_PL011_PL011_H_
#define ATOLL_SERVICES_PL011_PL011_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "services/console/line.h"
#include "services/pl011/registers.h"
#include "services/pl011/state.h"
#include "services/runtime/byte_ring.h"
#include "services/runtime/device.h"
#include "services/runtime/ports.h"

namespace atoll {

class Pl011 final : public MmioDevice {
 public:
  // Signal bits for OnSignals; main.cc asserts that the manifest agrees.
  static constexpr uint64_t kConsoleSignal = 1u << 0;  // the console wrote the input ring
  static constexpr uint64_t kTimerSignal = 1u << 1;

  struct Ports {
    InterruptLine& line;
    Notifier& console;  // there is output in the ring
    DeadlineTimer& timer;
    const Counter& counter;
  };

  // `state` outlives the instance (AttachPl011State).
  Pl011(const Ports& ports, const GuestLine& line, Pl011State& state);

  // Brings the surroundings in line with the state: a new instance raises what was due when its
  // predecessor ended.
  void Start();

  Result<uint64_t> Access(const RegisterAccess& access) override;
  void OnSignals(uint64_t bits) override;
  bool IsIntact() override;

 private:
  // From UARTCR and UARTLCR_H, so that the hot paths need not look at them.
  struct Derived {
    bool loopback = false;
    // Something else than bytes of the input ring may be in the FIFOs: loopback, bytes of it not read
    // yet, a break.
    bool loop_in_use = false;
    bool receiving = false;
    bool rts_flow = false;  // CTS, which is RTS in loopback, follows the receive FIFO
    bool clear_to_send = true;
    uint8_t none[3] = {};
    uint32_t depth = 1;
    uint32_t modem_flags = 0;
    uint32_t idle_flags = 0;  // UARTFR with empty FIFOs
  };

  Result<uint64_t> OtherAccess(size_t index, const RegisterAccess& access);
  uint32_t Read(size_t index) const;
  void Write(size_t index, uint32_t value, uint64_t token);
  void WriteControl(uint32_t old_control);
  uint32_t Flags() const;
  std::optional<Pl011Change> Noted(uint64_t token) const;
  Pl011Change Change(size_t index, uint32_t value, uint64_t token);

  // data.cc
  bool IsDone(const Pl011Change& change) const;
  void WriteData(uint8_t byte, uint64_t token);
  void AfterData(Pl011Change::Kind kind, size_t held);
  void AfterWrite(size_t held);
  uint32_t ReadData(uint64_t token);
  uint32_t AfterRead(uint16_t entry, uint32_t level);
  void ReceiveLooped(uint16_t entry);
  bool IsClearToSend() const;
  void SendHeld();
  void FinishLeaving();
  void NoticeBreak();

  void Configure();
  uint32_t ReceiveTrigger() const;
  uint32_t TransmitTrigger() const;
  uint32_t ReceiveLevel() const;   // entries in the receive FIFO
  uint32_t TransmitLevel() const;  // entries in the transmit FIFO

  void UpdateReceive();
  void UpdateTransmit();
  void OnTimer();
  void NotifyWithinDelay();
  void RestartReceiveTimeout();
  void ArmTimer();
  bool IsSoon(uint64_t deadline, uint64_t ticks) const;

  void Raise(uint32_t interrupts);
  void Clear(uint32_t interrupts);
  void DriveLine();

  Ports ports_;
  Pl011State& state_;
  ByteRingWriter output_;
  ByteRingReader input_;
  const size_t output_half_;     // bytes in the output ring at which the console is to come at once
  const uint64_t notify_delay_;  // ticks
  const uint64_t receive_timeout_;

  Derived derived_;

  // The next byte written to UARTDR changes nothing but the output ring: it leaves at once (no
  // loopback, room in the ring), the transmit interrupt is set already and the console is going to
  // be notified.
  bool write_is_announced_ = false;

  bool line_level_ = false;
  uint64_t notify_deadline_ = DeadlineTimer::kNever;
  uint64_t receive_deadline_ = DeadlineTimer::kNever;
  uint64_t armed_deadline_ = DeadlineTimer::kNever;  // what the timer is set to
};

}  // namespace atoll

#endif  // ATOLL_SERVICES_PL011_PL011_H_
