// A guest for a virtio device under test: RAM, interrupt line, journal, and a driver's view of the
// registers.
#ifndef ATOLL_TESTS_UNIT_VIRTIO_MACHINE_H_
#define ATOLL_TESTS_UNIT_VIRTIO_MACHINE_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "services/runtime/guest_memory.h"
#include "services/runtime/ports.h"
#include "services/virtio/mmio_transport.h"

namespace atoll::virtio {

inline constexpr uint64_t kRamBase = 0x4000'0000;
inline constexpr uint64_t kRamBytes = 8 << 20;

class FakeLine final : public InterruptLine {
 public:
  void Set(bool level) override {
    if (level && !high) ++rises;
    high = level;
    if (on_set) on_set(level);
  }
  bool high = false;
  int rises = 0;
  std::function<void(bool)> on_set;  // may throw: the instance dies here
};

class FakeMoreWork final : public Notifier {
 public:
  void Notify() override { pending = true; }
  bool pending = false;
};

// Keeps what it is given, as vmm does.
class FakeKeeper final : public Keeper {
 public:
  Status Keep(uint32_t number, const Part& part) override {
    if (calls_left == 0) return Status::kInternal;
    --calls_left;
    parts.at(number) = part;
    return Status::kOk;
  }
  Result<Part> Recall(uint32_t number) override {
    if (calls_left == 0) return std::unexpected(Status::kInternal);
    return parts.at(number);
  }
  std::array<Part, KeptCopy::kParts> parts = {};
  int calls_left = 1 << 30;
};

// Zeros, with pages aligned as a mapping's are, so that UBSan sees the alignment that the target
// sees. Of a machine's megabytes most tests touch little: calloc() writes none.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t bytes)
      : storage_(static_cast<std::byte*>(std::calloc(bytes + kPageSize, 1)), &std::free),
        bytes_(bytes) {}
  std::span<std::byte> span() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.get());
    return {storage_.get() + (AlignUp(address, kPageSize) - address), bytes_};
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> storage_;
  size_t bytes_;
};

// One device in one VM. `Model` is built by `make(journal)` for every instance of the service.
template <typename Model, typename DeviceState, uint32_t kQueues>
class Machine {
 public:
  using JournalType = Journal<DeviceState, kQueues>;
  using Make = std::function<std::unique_ptr<Model>(JournalType&)>;

  explicit Machine(Make make, uint64_t ram_base = kRamBase, uint64_t ram_bytes = kRamBytes)
      : make_(std::move(make)),
        ram_(ram_bytes),
        journal_(sizeof(JournalType)),
        memory_(GuestPhys(ram_base), ram_.span()),
        next_free_(ram_base) {
    if (Restart({.first = true}) != JournalFound::kGood) std::abort();  // a fresh one always is
  }

  // Ends the instance, as a kill would, and starts a new one on what it left.
  JournalFound Restart(const Beginning& beginning = {}) {
    transport_.reset();
    model_.reset();
    more_work.pending = false;
    model_ = make_(journal());
    transport_ =
        std::make_unique<MmioTransport>(*model_, memory_, journal().transport, journal().queues,
                                        line, more_work, has_keeper ? &keeper : nullptr);
    return transport_->Start(beginning);
  }

  Model& model() { return *model_; }
  MmioTransport& device() { return *transport_; }
  JournalType& journal() { return **JournalIn<JournalType>(journal_.span()); }
  const GuestMemory& memory() const { return memory_; }

  // ---- registers
  uint64_t Load(uint64_t offset, uint32_t size) {
    return device().Access({.offset = offset, .size = size, .write = false}).value();
  }
  void Store(uint64_t offset, uint32_t size, uint64_t value) {
    (void)device().Access({.offset = offset, .size = size, .write = true, .value = value}).value();
  }
  uint32_t Read(uint32_t reg) { return static_cast<uint32_t>(Load(reg, 4)); }
  void Write(uint32_t reg, uint64_t value) { Store(reg, 4, static_cast<uint32_t>(value)); }
  uint32_t DeviceStatus() { return Read(kStatus); }
  void Doorbell(uint32_t queue) { device().OnSignals(uint64_t{1} << queue); }

  // Delivers the work that the device put off. False: it never came to an end.
  bool Pump() {
    for (int i = 0; i < 100000; ++i) {
      if (!more_work.pending) return true;
      more_work.pending = false;
      device().OnSignals(kMoreWorkSignal);
    }
    return false;
  }

  std::span<std::byte> journal_bytes() { return journal_.span(); }

  // ---- guest RAM
  std::span<std::byte> ram() { return ram_.span(); }
  std::byte* At(uint64_t address, uint64_t bytes = 1) {
    return memory_.Range(GuestPhys(address), bytes).value().data();
  }
  template <typename T>
  T Get(uint64_t address) {
    T value;
    std::memcpy(&value, At(address, sizeof(T)), sizeof(T));
    return value;
  }
  template <typename T>
  void Put(uint64_t address, T value) {
    std::memcpy(At(address, sizeof(T)), &value, sizeof(T));
  }
  void Fill(uint64_t address, uint64_t bytes, uint8_t value) {
    std::memset(At(address, bytes), value, bytes);
  }
  uint64_t Allocate(uint64_t bytes, uint64_t alignment = 16) {
    const uint64_t address = AlignUp(next_free_, alignment);
    next_free_ = address + bytes;
    Fill(address, bytes, 0);
    return address;
  }
  // Forgets what was allocated from there on.
  void Rewind(uint64_t address) { next_free_ = address; }
  uint64_t ram_end() const { return memory_.base().value + memory_.size(); }

  FakeLine line;
  FakeMoreWork more_work;
  FakeKeeper keeper;
  bool has_keeper = false;  // of instances that follow

 private:
  Make make_;
  AlignedBytes ram_;
  AlignedBytes journal_;
  GuestMemory memory_;
  uint64_t next_free_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<MmioTransport> transport_;
};

// What the journal has of the registers.
template <typename M>
Registers RegistersOf(M& m) {
  Registers registers;
  (void)m.journal().transport.registers.Load(registers);
  return registers;
}

}  // namespace atoll::virtio

#endif  // ATOLL_TESTS_UNIT_VIRTIO_MACHINE_H_
