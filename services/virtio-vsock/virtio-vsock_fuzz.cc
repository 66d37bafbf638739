// Any sequence of chains, buffers, packets of the switch, ring memory, resets and restarts of a socket device, as a
// function of random bytes. Aborts if an invariant breaks.
#include <algorithm>
#include <memory>
#include <vector>

#include "services/virtio-vsock/device.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll::virtio_vsock {
namespace {

using vsock::PacketHeader;
using Base = virtio::Machine<VsockDevice, VsockState, kQueues>;

constexpr uint64_t kRamBytes = 1 << 17;
constexpr uint64_t kCid = 5;
constexpr uint32_t kSize = 16;
constexpr uint64_t kAll =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;

class Nobody final : public Notifier {
 public:
  void Notify() override {}
};

class Session {
 public:
  Session() {
    std::memset(port_.span().data(), 0, vsock::kPortBytes);
    Attach();
    for (uint32_t i = 0; i < kQueues; ++i) queues_.emplace_back(m_, i, kSize);
  }

  void Step(FuzzInput& input) {
    switch (input.Below(11)) {
      case 0: BringUp(kAll & ~(input.Take<uint64_t>() & input.Take<uint64_t>())); break;
      case 1: Send(Header(input, kCid, 3), Length(input), 1 + input.Below(4)); break;
      case 2: Buffers(input); break;
      case 3: Give(Header(input, 3, kCid), Length(input)); break;
      case 4: m_.device().OnSignals(kSwitchSignal | input.Take<uint64_t>()); break;
      case 5: Descriptor(input); break;
      case 6: Spoil(input); break;
      case 7:
        if (input.Below(4) == 0) Attach();
        FuzzRequire(m_.Restart({.blamed = input.Below(2) != 0}) == virtio::JournalFound::kGood,
                    "a journal that nobody damaged is good");
        break;
      case 8: TakePackets(); break;
      case 9: m_.Write(input.Below(64) * 4, input.Take<uint32_t>()); break;
      default: m_.Doorbell(input.Below(kQueues)); break;
    }
    FuzzRequire(m_.Pump(), "work ends");
    FuzzRequire(m_.line.high == (m_.Read(virtio::kInterruptStatus) != 0),
                "the line follows InterruptStatus");
  }

  // Whatever happened, a reset makes the device usable, in both directions.
  void End() {
    std::memset(port_.span().data(), 0, vsock::kPortBytes);
    Attach();
    FuzzRequire(m_.Restart() == virtio::JournalFound::kGood,
                "a journal that nobody damaged is good");
    BringUp(kAll);
    FuzzRequire(m_.DeviceStatus() == virtio::kLive, "a reset helps");
    m_.Doorbell(kReceiveQueue);
    PacketHeader header{.src_cid = kCid, .dst_cid = 3, .len = 60, .type = 1, .op = vsock::kOpData};
    Send(header, 60, 1);
    const auto sent = reader_->Next();
    FuzzRequire(sent.has_value() && sent->bytes.size() == 104 && sent->header.flags == 0,
                "a good packet is sent");
    std::swap(header.src_cid, header.dst_cid);
    AddBuffer(2048);
    Give(header, 60);
    const auto used = queues_[kReceiveQueue].PopUsed();
    FuzzRequire(used.has_value() && used->length == 104, "a good packet is received");
  }

 private:
  void Attach() {
    reader_.emplace(
        net::FrameReader::Attach(port_.span().first(vsock::kRingBytes), vsock::kMaxPacket).value());
    writer_.emplace(
        net::FrameWriter::Attach(port_.span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
  }
  void BringUp(uint64_t features) {
    (void)virtio::Negotiate(m_, features | virtio::kFeatureVersion1);
    for (auto& queue : queues_) {
      m_.Fill(queue.descriptors, virtio::DescriptorBytes(kSize), 0);
      m_.Fill(queue.avail, virtio::AvailBytes(kSize), 0);
      m_.Fill(queue.used, virtio::UsedBytes(kSize), 0);
      queue.avail_index = queue.last_used = 0;
      queue.SetUp();
    }
    m_.Write(virtio::kStatus, virtio::kLive);
  }
  static PacketHeader Header(FuzzInput& input, uint64_t from, uint64_t to) {
    PacketHeader header{.src_cid = from,
                        .dst_cid = to,
                        .src_port = input.Take<uint16_t>(),
                        .dst_port = input.Take<uint16_t>(),
                        .len = input.Below(3000),
                        .type = vsock::kTypeStream,
                        .op = static_cast<uint16_t>(input.Below(9))};
    switch (input.Below(8)) {
      case 0: header.src_cid ^= input.Take<uint64_t>(); break;
      case 1: header.dst_cid ^= input.Take<uint64_t>(); break;
      case 2: header.len = input.Take<uint32_t>(); break;
      case 3: header.type = input.Take<uint16_t>(); break;
      case 4: header.len = 0; break;
      default: break;
    }
    return header;
  }
  static uint32_t Length(FuzzInput& input) {
    const uint32_t kind = input.Below(4);
    return kind == 0 ? 0 : kind == 1 ? input.Below(3000) : input.Take<uint16_t>();
  }
  // A chain of header and `bytes`, in so many pieces.
  void Send(const PacketHeader& header, uint32_t bytes, uint32_t pieces) {
    m_.Put(data_, header);
    const uint32_t all = sizeof(header) + bytes;
    std::vector<virtio::Buffer> chain;
    for (uint32_t at = 0, count = all / pieces + 1; at < all; at += count) {
      chain.push_back({data_ + at, std::min(count, all - at), false});
    }
    queues_[kTransmitQueue].Add(chain);
    m_.Doorbell(kTransmitQueue);
  }
  void AddBuffer(uint32_t bytes) { queues_[kReceiveQueue].Add({{data_ + (1 << 16), bytes, true}}); }
  void Buffers(FuzzInput& input) {
    const uint32_t bytes = 44 + input.Below(6000);
    for (uint32_t i = input.Below(kSize); i > 0; --i) AddBuffer(bytes);
    m_.Doorbell(kReceiveQueue);
    if (input.Below(2) == 0) queues_[kEventQueue].Add({{data_, 8, true}});
  }
  void Give(const PacketHeader& header, uint32_t bytes) {
    const auto room = writer_->TryReserve(sizeof(header) + bytes);
    if (room.empty()) return;
    std::memcpy(room.data(), &header, sizeof(header));
    writer_->Publish({.bytes = static_cast<uint32_t>(room.size())});
    m_.device().OnSignals(kSwitchSignal);
  }
  void Descriptor(FuzzInput& input) {
    auto& queue = queues_[input.Below(kQueues)];
    const uint64_t address =
        input.Below(4) == 0 ? input.Take<uint64_t>() : data_ + input.Take<uint16_t>();
    queue.PutDescriptor(input.Below(kSize),
                        {address, input.Take<uint16_t>(), static_cast<uint16_t>(input.Below(8)),
                         static_cast<uint16_t>(input.Below(kSize + 1))});
    queue.SetAvailIndex(static_cast<uint16_t>(queue.avail_index + input.Below(3)));
    m_.Doorbell(queue.index);
  }
  // The switch's side of the memory goes mad.
  void Spoil(FuzzInput& input) {
    const size_t at = input.Below(2) == 0 ? vsock::kRingBytes + input.Below(72)
                                          : vsock::kRingBytes + 4096 + input.Take<uint16_t>();
    port_.span()[at] = static_cast<std::byte>(input.Take<uint8_t>());
    m_.device().OnSignals(kSwitchSignal);
  }
  void TakePackets() {
    while (const auto frame = reader_->Next()) {
      const auto header = vsock::HeaderOf(*frame);
      FuzzRequire(header.has_value() && header->src_cid == kCid, "a packet's sender is this guest");
      const bool refuse = (frame->header.flags & vsock::kRefuse) != 0;
      FuzzRequire(refuse ? frame->bytes.size() == sizeof(PacketHeader)
                         : vsock::IsSound(*header) &&
                               frame->bytes.size() == sizeof(PacketHeader) + header->len,
                  "what is not to be refused is sound");
      reader_->Consume();
    }
    if (reader_->WriterWaits()) m_.device().OnSignals(kSwitchSignal);
  }

  // Of all sessions, since filling it takes longer than most of them.
  static inline virtio::AlignedBytes port_{vsock::kPortBytes};
  std::optional<net::FrameReader> reader_;
  std::optional<net::FrameWriter> writer_;
  Nobody peer_;
  Base m_{[this](VsockJournal& journal) {
            return std::make_unique<VsockDevice>(journal, kCid, port_.span(), peer_);
          },
          virtio::kRamBase, kRamBytes};
  std::vector<virtio::DriverQueue<Base>> queues_;
  const uint64_t data_ = m_.Allocate(100 << 10);
};

}  // namespace
}  // namespace atoll::virtio_vsock

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto session = std::make_unique<atoll::virtio_vsock::Session>();
  for (atoll::FuzzInput input(std::as_bytes(std::span(data, size))); !input.empty();) {
    session->Step(input);
  }
  session->End();
  return 0;
}
