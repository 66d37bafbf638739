// Any sequence of register accesses, guest memory contents, requests, signals, deaths and damage of the journal of a virtio
// device of the library, as a function of random bytes. Aborts if an invariant breaks.
#ifndef ATOLL_TESTS_FUZZ_VIRTIO_DEVICE_FUZZ_H_
#define ATOLL_TESTS_FUZZ_VIRTIO_DEVICE_FUZZ_H_

#include <deque>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/device/virtio_machine.h"

namespace atoll::virtio {

template <typename D>
class VirtioDeviceFuzz {
 public:
  explicit VirtioDeviceFuzz(DeviceMachine<D>& machine) : m_(machine) {
    for (uint32_t i = 0; i < D::kQueues; ++i) {
      queues_.emplace_back(m_, i, std::min(D::kDeclared.queues[i], 16u));
    }
  }

  void Run(FuzzInput input) {
    if (input.Take<uint8_t>() < 224) BringUp(~uint64_t{0});
    while (!input.empty()) {
      Step(input);
      Check();
    }
    End();
  }

 private:
  using Queue = typename DeviceMachine<D>::Queue;

  void Step(FuzzInput& input) {
    switch (input.Take<uint8_t>() % 12) {
      case 0: Access(input); break;
      case 1: m_.Write(input.Take<uint8_t>() * 4u % kConfig, input.Take<uint32_t>()); break;
      case 2: PokeMemory(input); break;
      case 3: PutDescriptor(input); break;
      case 4:
      case 5:
      case 6: Request(input); break;
      case 7: Notify(input); break;
      case 8: BringUp(~(input.Take<uint64_t>() & input.Take<uint64_t>())); break;
      case 9: FuzzRequire(m_.Pump(), "work ends"); break;
      case 10: Die(input); break;
      default: Any(input).SetAvailIndex(input.Take<uint16_t>()); break;
    }
  }

  Queue& Any(FuzzInput& input) { return queues_[input.Take<uint8_t>() % queues_.size()]; }
  // A guest address: mostly in RAM, sometimes at its end or anywhere.
  uint64_t Address(FuzzInput& input) {
    const auto kind = input.Take<uint8_t>();
    const uint64_t low = input.Take<uint16_t>();
    if (kind < 224) return kRamBase + low % kFuzzRam;
    if (kind < 240) return kRamBase + m_.ram().size() - (low & 0xff);
    return input.Take<uint64_t>();
  }

  void Access(FuzzInput& input) {
    const uint64_t offset = input.Take<uint16_t>() % 0x1000;
    const uint32_t size = 1u << (input.Take<uint8_t>() & 3);
    if ((input.Take<uint8_t>() & 1) != 0) {
      m_.Store(offset, size, input.Take<uint64_t>());
    } else {
      const uint64_t value = m_.Load(offset, size);
      FuzzRequire(size == 8 || value >> (8 * size) == 0, "a load is no wider than asked for");
    }
  }
  void PokeMemory(FuzzInput& input) {
    const uint64_t from = input.Take<uint16_t>();
    for (uint64_t i = 0, count = input.Take<uint8_t>(); i < count; ++i) {
      m_.Put(kRamBase + (from + i) % kFuzzRam, input.Take<uint8_t>());
    }
  }
  void PutDescriptor(FuzzInput& input) {
    Queue& queue = Any(input);
    const uint64_t address = Address(input);
    const uint32_t length =
        input.Take<uint8_t>() < 240 ? input.Take<uint16_t>() : input.Take<uint32_t>();
    queue.PutDescriptor(input.Take<uint8_t>() % queue.size,
                        {address, length, static_cast<uint16_t>(input.Take<uint8_t>() & 7),
                         static_cast<uint16_t>(input.Take<uint8_t>() % (queue.size + 1))});
  }
  void Request(FuzzInput& input) {
    std::vector<Buffer> chain;
    const auto shape = input.Take<uint8_t>();
    for (uint32_t i = 0; i < 1u + shape % 4; ++i) {
      const uint32_t length = input.Take<uint16_t>() % 2048;
      chain.push_back({Address(input), length, i >= (shape >> 2) % 4u});
    }
    Queue& queue = Any(input);
    if ((shape & 0x80) != 0) {
      for (uint32_t i = 0; i < chain.size(); ++i) {
        queue.PutEntry(table_, i, Queue::Direct(chain[i], i + 1 < chain.size(), i + 1));
      }
      const uint32_t slot = input.Take<uint8_t>() % queue.size;
      queue.PutDescriptor(
          slot, {table_, static_cast<uint32_t>(16 * chain.size()), kDescriptorIndirect, 0});
      queue.MakeAvailable(static_cast<uint16_t>(slot));
    } else {
      queue.Add(chain);
    }
    m_.Write(kQueueNotify, queue.index);
  }
  void Notify(FuzzInput& input) {
    // A device that is not live leaves guest memory alone.
    const bool quiet = !m_.device().live();
    const std::vector<std::byte> before = quiet ? Ram() : std::vector<std::byte>();
    m_.device().OnSignals(input.Take<uint64_t>());
    if (quiet) FuzzRequire(Ram() == before, "a device that is not live writes nothing");
  }
  void BringUp(uint64_t features) {
    (void)Negotiate(m_, (m_.Offered() & features) | kFeatureVersion1);
    for (Queue& queue : queues_) {
      m_.Fill(queue.avail, AvailBytes(queue.size), 0);
      m_.Fill(queue.used, UsedBytes(queue.size), 0);
      queue.avail_index = queue.last_used = 0;
      queue.SetUp();
    }
    m_.Write(kStatus, kLive);
  }
  void Die(FuzzInput& input) {
    if (input.Take<uint8_t>() >= 0xf0) {
      const std::span<std::byte> journal = m_.journal_bytes();
      journal[input.Take<uint32_t>() % journal.size()] ^= std::byte{input.Take<uint8_t>()};
      (void)m_.Restart();
    } else {
      FuzzRequire(m_.Restart() == JournalFound::kGood, "a journal that nobody damaged is good");
    }
  }

  // Whatever happened, a reset makes the device usable.
  void End() {
    for (Queue& queue : queues_) m_.Fill(queue.descriptors, DescriptorBytes(queue.size), 0);
    (void)m_.Pump();
    BringUp(~uint64_t{0});
    FuzzRequire((m_.DeviceStatus() & kLive) == kLive, "a reset makes a good device");
    FuzzRequire((m_.DeviceStatus() & kStatusNeedsReset) == 0, "a reset makes a good device");
    Check();
  }
  void Check() {
    const uint32_t causes = m_.Read(kInterruptStatus);
    FuzzRequire(m_.line.high == (causes != 0), "the line follows InterruptStatus");
    FuzzRequire((causes & ~3u) == 0, "InterruptStatus has two bits");
    FuzzRequire((m_.DeviceStatus() & ~0xcfu) == 0, "undefined status bits are 0");
    FuzzRequire(m_.device().IsIntact(), "no driver damages what the instance keeps for itself");
    FuzzRequire(m_.Read(kMagicValue) == kMagic && m_.Read(kDeviceId) == D::kDeclared.device_id,
                "identity is constant");
  }
  std::vector<std::byte> Ram() {
    const auto used = m_.ram().first(kFuzzRam);
    return {used.begin(), used.end()};
  }

  static constexpr uint64_t kFuzzRam = 1 << 16;  // of RAM: what addresses mostly lie in
  DeviceMachine<D>& m_;
  std::deque<Queue> queues_;
  const uint64_t table_ = m_.Allocate(8 * 16);
};

// The whole of a libFuzzer target.
template <typename D>
int FuzzVirtioDevice(const uint8_t* data, size_t size) {
  DeviceMachine<D> machine(1 << 17);
  VirtioDeviceFuzz<D>(machine).Run(FuzzInput(data, size));
  return 0;
}

}  // namespace atoll::virtio

#endif  // ATOLL_TESTS_FUZZ_VIRTIO_DEVICE_FUZZ_H_
