// virtio-mmio, version 2 (VIRTIO 4.2): the registers that a driver sees, over any DeviceModel.
//
// DT node: compatible = "virtio,mmio"; reg of one page; interrupts = one SPI, level high;
// dma-coherent.
#ifndef ATOLL_SERVICES_VIRTIO_MMIO_TRANSPORT_H_
#define ATOLL_SERVICES_VIRTIO_MMIO_TRANSPORT_H_

#include <array>
#include <cstdint>
#include <span>

#include "services/runtime/device.h"
#include "services/runtime/guest_memory.h"
#include "services/runtime/ports.h"
#include "services/virtio/device_model.h"
#include "services/virtio/journal.h"
#include "services/virtio/kept_copy.h"
#include "services/virtio/specification.h"
#include "services/virtio/split_queue.h"

namespace atoll::virtio {

// Bits of the service's signal: a QueueNotify doorbell for queue n sets bit n. The service sets
// kMoreWorkSignal for itself when it stops in the middle of a queue to let other events have their
// turn. All other bits are the model's.
inline constexpr uint32_t kMoreWorkBit = 63;
inline constexpr uint64_t kMoreWorkSignal = uint64_t{1} << kMoreWorkBit;

// How an instance begins.
struct Beginning {
  bool first = false;   // the VM has just started: an empty journal is as it should be
  bool blamed = false;  // the instance before died of what it did, not because somebody ended it
  bool failed = false;  // the device is given up: it is to fail, visibly
};

// What Start found.
enum class JournalFound {
  kGood,
  kRepaired,  // damaged, and mended from its second copies
  kDamaged,   // not all of it could be taken up: the device fails until the driver resets it
  kRefused,  // of a layout that this program does not know: nothing was touched, and nothing may be
};

class MmioTransport final : public MmioDevice {
 public:
  // Everything referenced outlives the transport. `queues` holds at least as many entries as the
  // model describes. `more_work` sets kMoreWorkSignal in the service's own signal. keeper: has registers and set-up of
  // queues a third time; null: nobody.
  MmioTransport(DeviceModel& model, const GuestMemory& memory, TransportState& state,
                std::span<QueueState> queues, InterruptLine& line, Notifier& more_work,
                Keeper* keeper = nullptr);

  // Formats a fresh journal or takes up where the instance before stopped: finishes what it began,
  // drives the line and looks at all queues. To be called once, before any access.
  //
  // What the journal does not say of chains in hand comes from the guest's rings if the model allows it (InOrder). A
  // journal that is damaged beyond that and its copies makes a device that fails, and says so: DEVICE_NEEDS_RESET
  // with a configuration interrupt. As long as its queues are known, everything in them ends with
  // errors (DeviceModel::SetFailing). A reset makes it a good device again.
  JournalFound Start(const Beginning& beginning);

  // UNAVAILABLE: a reset or a stopped queue waits until the model's backend lets go of the guest's
  // memory; the access is to be held, and repeated after the next signal (MmioDevice::Access).
  Result<uint64_t> Access(const RegisterAccess& access) override {
    // The hot case first: a 32-bit aligned load below kConfig.
    if (!access.write && access.size == sizeof(uint32_t) &&
        (access.offset & ~uint64_t{kConfig - sizeof(uint32_t)}) == 0) [[likely]] {
      return readable_[access.offset / sizeof(uint32_t)];
    }
    return AccessOther(access);
  }
  void OnSignals(uint64_t bits) override;
  bool IsIntact() override;

  // The model changed its configuration space: a new generation, and a notification if live.
  void ConfigChanged();

  // The driver has set DRIVER_OK, and nothing has gone wrong since but the journal.
  bool live() const {
    return (registers_.status & live_mask_) == kStatusDriverOk && registers_.resetting == 0;
  }

 private:
  using Handler = void (MmioTransport::*)(uint32_t value);
  struct WritableRegister {
    Register offset;
    Handler handler;
  };
  static constexpr size_t kRegisters = kConfig / sizeof(uint32_t);
  static constexpr uint32_t kLiveMask = kStatusDriverOk | kStatusNeedsReset | kStatusFailed;
  static constexpr std::array<Handler, kRegisters> MakeWriteHandlers();

  uint64_t AllQueues() const { return (uint64_t{1} << registers_.queue_count) - 1; }
  // Looks at the queues of which the bit is set, those that are ready, if the device is live.
  void RunQueues(uint64_t queues);

  Result<uint64_t> AccessOther(const RegisterAccess& access);
  uint64_t ReadConfig(uint64_t offset, uint32_t size) const;

  void WriteIgnored(uint32_t value);
  void WriteDeviceFeaturesSel(uint32_t value);
  void WriteDriverFeatures(uint32_t value);
  void WriteDriverFeaturesSel(uint32_t value);
  void WriteQueueSel(uint32_t value);
  void WriteQueueNum(uint32_t value);
  void WriteQueueReady(uint32_t value);
  void WriteQueueNotify(uint32_t value);
  void WriteInterruptAck(uint32_t value);
  void WriteStatus(uint32_t value);
  template <uint64_t QueueSetup::* kArea, unsigned kShift>
  void WriteQueueArea(uint32_t value);

  uint32_t& Readable(Register offset) { return readable_[offset / sizeof(uint32_t)]; }
  // Derives every register that can be read from the journal.
  void RefreshReadable();
  void RefreshSelectedQueue();
  // The queue that QueueSel selects; null if there is none.
  SplitQueue* SelectedQueue();

  JournalFound LoadRegisters(const Beginning& beginning);
  bool IsPlausible() const;
  bool RecallRegisters();
  SplitQueue::Attached AttachQueue(uint32_t index);
  JournalFound AttachQueues();
  void LoadInterruptStatus();
  void StartOver(bool damaged);
  void TakeUp(const Beginning& beginning, JournalFound& found);
  Suspect NoteDeath(const Beginning& beginning);
  enum class Backend { kMustLetGo, kMayLag };
  // False: not finished, since the backend has not let go of guest memory yet.
  bool Reset(Backend backend);
  bool StopQueue(uint32_t index);
  bool RecoverQueues(const Beginning& beginning, Suspect suspect, JournalFound& found);
  bool ResumeInOrder(const Beginning& beginning);
  void RefreshDescription();
  bool FeaturesAcceptable() const;
  void SetQueueFeatures(uint64_t features);
  void SetStatus(uint32_t status);
  void Fail();
  void FailOfJournal();
  void SetFailing();
  void Save() { state_.registers.Store(registers_); }
  void KeepCopy();
  void SetAtWork(uint16_t place) { StoreRelease(state_.at_work, uint64_t{place}); }
  void RaiseInterrupt(uint32_t cause);
  void SetInterruptStatus(uint32_t causes);

  // What 32-bit loads give, by offset / 4. Derived from registers_, never the only place of anything.
  std::array<uint32_t, kRegisters> readable_ = {};
  DeviceModel& model_;
  const GuestMemory& memory_;
  TransportState& state_;
  Registers registers_;  // what the journal holds, or is about to
  uint32_t interrupt_status_ = 0;
  uint32_t live_mask_ = kLiveMask;
  // This instance looks for queues where they are not: it does nothing more.
  bool displaced_ = false;
  InterruptLine& line_;
  Notifier& more_work_;
  Description description_;
  bool hold_ = false;  // the access in hand cannot be finished yet
  KeptCopy kept_;
  uint64_t has_no_cursor_ = 0;  // bit n: queue n was found so
  std::array<SplitQueue, kMaxQueues> queues_;
};

}  // namespace atoll::virtio

#endif  // ATOLL_SERVICES_VIRTIO_MMIO_TRANSPORT_H_
