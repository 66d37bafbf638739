#include <algorithm>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/virtio_fuzz.h"
#include "tests/unit/virtio/block_machine.h"

namespace atoll {
namespace {

using virtio::Descriptor;
using virtio_blk::BlockMachine;
using virtio_blk::BlockQueue;
using virtio_blk::TestDisk;

constexpr uint64_t kRamBytes = 1 << 16;
constexpr uint64_t kDiskBytes = 32 * virtio_blk::kSectorBytes;
constexpr uint32_t kQueues = 2;
constexpr uint64_t kFeatures = virtio_blk::kBlockFeatures | virtio_blk::kFeatureMq;

// A guest address: mostly in RAM, sometimes at its edges or anywhere.
uint64_t Address(FuzzInput& input) {
  const auto kind = input.Take<uint8_t>();
  const uint64_t low = input.Take<uint16_t>();
  if (kind < 224) return virtio::kRamBase + low;
  if (kind < 240) return virtio::kRamBase + kRamBytes - (low & 0xff);
  return input.Take<uint64_t>();
}

class Session {
 public:
  Session() : queues_{{m_, 0, 16}, {m_, 1, 8}} {}

  void Step(FuzzInput& input) {
    switch (input.Take<uint8_t>() % 10) {
      case 0: Access(input); break;
      case 1: PokeRegister(input); break;
      case 2: PokeMemory(input); break;
      case 3: PutDescriptor(input); break;
      case 4: Request(input); break;
      case 5: Notify(input); break;
      case 6: BringUp(input); break;
      case 7: Pump(); break;
      case 8: Kill(input); break;
      default: Queue(input).SetAvailIndex(input.Take<uint16_t>()); break;
    }
    Check();
  }

  // Whatever happened, a reset makes the device usable.
  void End() {
    disk_.bad_offset.reset();
    for (BlockQueue& queue : queues_) {
      m_.Fill(queue.descriptors, virtio::DescriptorBytes(queue.size), 0);
      m_.Fill(queue.avail, virtio::AvailBytes(queue.size), 0);
      m_.Fill(queue.used, virtio::UsedBytes(queue.size), 0);
      queue.avail_index = queue.last_used = 0;
    }
    FuzzRequire(virtio::Negotiate(m_, kFeatures), "features are accepted after a reset");
    for (BlockQueue& queue : queues_) queue.SetUp();
    m_.Write(virtio::kStatus, virtio::kLive);
    for (BlockQueue& queue : queues_) {
      m_.Put(header_, virtio_blk::RequestHeader{virtio_blk::kIn, 0, 5});
      queue.Add({{header_, 16, false}, {data_, 512, true}, {status_, 1, true}});
      queue.Notify();
      FuzzRequire(m_.Pump(), "work ends");
      const auto element = queue.PopUsed();
      FuzzRequire(element && element->length == 513, "a good request is served");
      FuzzRequire(m_.Get<uint8_t>(status_) == virtio_blk::kStatusOk, "with status OK");
      FuzzRequire(Equal(m_, data_, std::span(disk_.content).subspan(5 * 512, 512)), "and its data");
    }
    Check();
  }

 private:
  BlockQueue& Queue(FuzzInput& input) { return queues_[input.Take<uint8_t>() % kQueues]; }

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
  void PokeRegister(FuzzInput& input) {
    m_.Write(input.Take<uint8_t>() * 4u % virtio::kConfig, input.Take<uint32_t>());
  }
  void PokeMemory(FuzzInput& input) {
    const uint64_t address = virtio::kRamBase + input.Take<uint16_t>();
    for (uint64_t i = 0, count = input.Take<uint8_t>(); i < count; ++i) {
      m_.Put(virtio::kRamBase + (address - virtio::kRamBase + i) % kRamBytes,
             input.Take<uint8_t>());
    }
  }
  void PutDescriptor(FuzzInput& input) {
    BlockQueue& queue = Queue(input);
    const uint64_t address = Address(input);
    const auto length =
        input.Take<uint8_t>() < 240 ? input.Take<uint16_t>() : input.Take<uint32_t>();
    const Descriptor descriptor{address, length, static_cast<uint16_t>(input.Take<uint8_t>() & 7),
                                static_cast<uint16_t>(input.Take<uint8_t>() % (queue.size + 1))};
    const auto slot = input.Take<uint8_t>();
    if (slot < 128) {
      queue.PutDescriptor(slot % queue.size, descriptor);
    } else {
      queue.PutEntry(table_, slot % 8, descriptor);
    }
  }
  // A request that is right but for whatever the input makes of it.
  void Request(FuzzInput& input) {
    BlockQueue& queue = Queue(input);
    static constexpr uint32_t kTypes[] = {virtio_blk::kIn,      virtio_blk::kOut,
                                          virtio_blk::kFlush,   virtio_blk::kGetId,
                                          virtio_blk::kDiscard, virtio_blk::kWriteZeroes};
    const uint32_t type = kTypes[input.Take<uint8_t>() % std::size(kTypes)];
    const bool writable = type == virtio_blk::kIn || type == virtio_blk::kGetId;
    m_.Put(header_, virtio_blk::RequestHeader{type, 0, input.Take<uint8_t>()});
    m_.Put(data_, virtio_blk::DiscardWriteZeroes{input.Take<uint8_t>(), input.Take<uint8_t>(),
                                                 input.Take<uint8_t>() & 3u});
    const uint32_t bytes = type >= virtio_blk::kGetId ? 16 * (1 + input.Take<uint8_t>() % 4)
                                                      : 512 * (input.Take<uint8_t>() % 16);
    const uint64_t data = input.Take<uint8_t>() < 200 ? data_ : Address(input);
    std::vector<virtio_blk::Buffer> chain = {{header_, 16, false}};
    if (bytes != 0) chain.push_back({data, bytes, writable});
    chain.push_back({status_, 1, true});
    if ((input.Take<uint8_t>() & 1) != 0) {
      for (uint32_t i = 0; i < chain.size(); ++i) {
        queue.PutEntry(table_, i, BlockQueue::Direct(chain[i], i + 1 < chain.size(), i + 1));
      }
      const uint32_t slot = input.Take<uint8_t>() % queue.size;
      queue.PutDescriptor(
          slot, {table_, static_cast<uint32_t>(16 * chain.size()), virtio::kDescriptorIndirect, 0});
      queue.MakeAvailable(static_cast<uint16_t>(slot));
    } else {
      queue.Add(chain);
    }
  }
  void Notify(FuzzInput& input) {
    const auto how = input.Take<uint8_t>();
    // A device that is not live leaves guest memory alone.
    const bool quiet = !m_.device().live();
    const std::vector<std::byte> before = quiet ? Ram() : std::vector<std::byte>();
    if ((how & 1) != 0) {
      m_.device().OnSignals(input.Take<uint64_t>());
    } else {
      m_.Write(virtio::kQueueNotify, how >> 1 & 3);
    }
    if (quiet) FuzzRequire(Ram() == before, "a device that is not live writes nothing");
  }
  void BringUp(FuzzInput& input) {
    const auto off = input.Take<uint64_t>() & input.Take<uint64_t>();
    (void)virtio::Negotiate(m_, (kFeatures & ~off) | virtio::kFeatureVersion1);
    for (BlockQueue& queue : queues_) {
      m_.Fill(queue.avail, virtio::AvailBytes(queue.size), 0);
      queue.avail_index = queue.last_used = 0;
      queue.SetUp();
    }
    m_.Write(virtio::kStatus, virtio::kLive);
    if (input.Take<uint8_t>() < 32) disk_.bad_offset = input.Take<uint16_t>() % kDiskBytes;
  }
  void Pump() { FuzzRequire(m_.Pump(), "work ends"); }
  void Kill(FuzzInput& input) {
    const auto where = input.Take<uint16_t>();
    if (where >= 0xff00) {  // rarely: the journal is damaged, too
      const std::span<std::byte> journal = m_.journal_bytes();
      journal[input.Take<uint32_t>() % journal.size()] ^= std::byte{input.Take<uint8_t>()};
      (void)m_.Restart();
    } else {
      FuzzRequire(m_.Restart() == virtio::JournalFound::kGood,
                  "a journal that nobody damaged is good");
    }
  }
  std::vector<std::byte> Ram() { return {m_.ram().begin(), m_.ram().end()}; }

  void Check() {
    FuzzRequire(m_.line.high == (m_.Read(virtio::kInterruptStatus) != 0),
                "the line follows InterruptStatus");
    FuzzRequire((m_.Read(virtio::kInterruptStatus) & ~3u) == 0, "InterruptStatus has two bits");
    FuzzRequire((m_.DeviceStatus() & ~0xcfu) == 0, "undefined status bits are 0");
    FuzzRequire(m_.Read(virtio::kMagicValue) == virtio::kMagic && m_.Read(virtio::kDeviceId) == 2,
                "identity is constant");
    FuzzRequire(m_.device().IsIntact(), "no driver damages what the instance keeps for itself");
  }

  TestDisk disk_{kDiskBytes};  // throws, and so ends the run, when asked for what is beyond its end
  BlockMachine m_{disk_, kQueues, "fuzz", virtio::kRamBase, kRamBytes};
  BlockQueue queues_[kQueues];
  const uint64_t header_ = m_.Allocate(16);
  const uint64_t table_ = m_.Allocate(8 * 16);
  const uint64_t data_ = m_.Allocate(16 * 512);
  const uint64_t status_ = m_.Allocate(1);
};

}  // namespace

void FuzzVirtio(std::span<const std::byte> bytes) {
  Session session;
  for (FuzzInput input(bytes); !input.empty();) session.Step(input);
  session.End();
}

}  // namespace atoll
