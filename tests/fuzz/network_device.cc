#include <algorithm>
#include <memory>
#include <vector>

#include "services/net/frame_ring.h"
#include "services/virtio-net/net_device.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/network_fuzz.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/machine.h"

namespace atoll {
namespace {

using net::FrameHeader;
using virtio::Buffer;
using virtio_net::NetDevice;
using virtio_net::NetHeader;

constexpr uint64_t kRamBytes = 1 << 18;
constexpr uint32_t kPairs = 2;
constexpr uint32_t kQueues = 2 * kPairs + 1;
constexpr uint32_t kSize = 16;

class Peer final : public Notifier {
 public:
  void Notify() override {}
};

using Base = virtio::Machine<NetDevice, virtio_net::NetState, virtio_net::kMaxQueues>;

class Session {
 public:
  Session() {
    Attach();
    for (uint32_t i = 0; i < kQueues; ++i) queues_.emplace_back(m_, i, kSize);
  }

  void Step(FuzzInput& input) {
    switch (input.Below(12)) {
      case 0:
        BringUp(virtio_net_features() & ~(input.Take<uint64_t>() & input.Take<uint64_t>()));
        break;
      case 1: Transmit(input); break;
      case 2: Buffers(input); break;
      case 3: Command(input); break;
      case 4: Frame(input); break;
      case 5: m_.device().OnSignals(virtio_net::kSwitchSignal | input.Take<uint64_t>()); break;
      case 6: Descriptor(input); break;
      case 7: Spoil(input); break;
      case 8: Kill(input); break;
      case 9: TakeFrames(); break;
      case 10: m_.Write(input.Below(64) * 4, input.Take<uint32_t>()); break;
      default: m_.Doorbell(input.Below(kQueues)); break;
    }
    FuzzRequire(m_.Pump(), "work ends");
    FuzzRequire(m_.line.high == (m_.Read(virtio::kInterruptStatus) != 0),
                "the line follows InterruptStatus");
    FuzzRequire(m_.device().IsIntact(), "no driver damages what the instance keeps for itself");
  }

  // Whatever happened, a reset makes the device usable, in both directions.
  void End() {
    std::ranges::fill(port_.span(), std::byte{0});
    Attach();
    FuzzRequire(m_.Restart() == virtio::JournalFound::kGood,
                "a journal that nobody damaged is good");
    BringUp(virtio_net_features());
    FuzzRequire(m_.DeviceStatus() == virtio::kLive, "a reset helps");
    Send(NetHeader{}, 60);
    const auto sent = reader_.Next();
    FuzzRequire(sent.has_value() && sent->bytes.size() == 60, "a good frame is sent");
    AddBuffer(0, 2048);
    auto room = writer_.TryReserve(60);
    std::ranges::fill(room, std::byte{0xff});  // broadcast
    writer_.Publish({.bytes = 60});
    m_.device().OnSignals(virtio_net::kSwitchSignal);
    const auto used = queues_[0].PopUsed();
    FuzzRequire(used.has_value() && used->length == 72, "a good frame is received");
  }

 private:
  static uint64_t virtio_net_features() {
    return virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx |
           0x00df'bbaf;  // all of net_device.cc
  }

  void Attach() {
    reader_ = net::FrameReader::Attach(port_.span().first(net::kRingBytes)).value();
    writer_ = net::FrameWriter::Attach(port_.span().subspan(net::kRingBytes)).value();
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
  void Send(const NetHeader& header, uint32_t bytes, uint32_t pair = 0) {
    m_.Put(header_, header);
    queues_[2 * pair + 1].Add({{header_, 12, false}, {data_, bytes, false}});
    m_.Doorbell(2 * pair + 1);
  }
  NetHeader Header(FuzzInput& input) {
    NetHeader header{.flags = static_cast<uint8_t>(input.Below(4)),
                     .gso_type = static_cast<uint8_t>(input.Below(6)),
                     .hdr_len = input.Take<uint16_t>(),
                     .gso_size = input.Take<uint16_t>(),
                     .csum_start = static_cast<uint16_t>(input.Below(100)),
                     .csum_offset = static_cast<uint16_t>(input.Below(40))};
    if (input.Below(8) == 0) header.csum_start = input.Take<uint16_t>();
    return header;
  }
  // The beginning of a TCP packet over IPv4 that is right but for what the input makes of it.
  void Packet(FuzzInput& input, std::span<std::byte> frame) {
    static constexpr uint8_t kHead[] = {
        2, 0, 0, 0,  0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 0, 0, 1,    0x40, 0, 64, 6, 0, 0, 10,
        0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4, 0, 0, 0, 1,    0, 0, 0, 1, 0x50, 0x10, 1, 0,  0, 0, 0, 0};
    const size_t count = std::min(frame.size(), sizeof(kHead));
    std::ranges::copy(std::as_bytes(std::span(kHead)).first(count), frame.begin());
    const auto length = static_cast<uint16_t>(frame.size() - 14);
    if (frame.size() > 20) {
      frame[16] = static_cast<std::byte>(length >> 8);
      frame[17] = static_cast<std::byte>(length);
    }
    for (uint32_t i = input.Below(3); i > 0 && !frame.empty(); --i) {
      frame[input.Below(64) % frame.size()] = static_cast<std::byte>(input.Take<uint8_t>());
    }
  }
  uint32_t Length(FuzzInput& input) {
    const uint32_t kind = input.Below(4);
    return kind == 0 ? input.Below(80) : kind == 1 ? input.Below(2000) : input.Take<uint16_t>();
  }

  void Transmit(FuzzInput& input) {
    const uint32_t bytes = Length(input);
    Packet(input, {m_.At(data_, bytes), bytes});
    Send(Header(input), bytes, input.Below(kPairs));
  }
  void AddBuffer(uint32_t pair, uint32_t bytes) { queues_[2 * pair].Add({{data_, bytes, true}}); }
  void Buffers(FuzzInput& input) {
    const uint32_t pair = input.Below(kPairs);
    const uint32_t bytes = 12 + Length(input);
    for (uint32_t i = input.Below(kSize); i > 0; --i) AddBuffer(pair, bytes);
    m_.Doorbell(2 * pair);
  }
  void Command(FuzzInput& input) {
    auto& queue = queues_[input.Below(2) == 0 ? 2 : kQueues - 1];
    const uint32_t bytes = input.Below(40);
    for (uint32_t i = 0; i < bytes; ++i) {
      m_.Put(header_ + 64 + i,
             static_cast<uint8_t>(i < 8 ? input.Below(6) : input.Take<uint8_t>()));
    }
    queue.Add({{header_ + 64, std::max(bytes, 1u), false}, {header_ + 128, 1, true}});
    m_.Doorbell(queue.index);
  }
  void Frame(FuzzInput& input) {
    const uint32_t bytes = 14 + Length(input);
    const auto room = writer_.TryReserve(std::min(bytes, net::kMaxFrameBytes));
    if (room.empty()) return;
    Packet(input, room);
    if (input.Below(2) == 0) std::ranges::fill(room.first(6), std::byte{0xff});
    const NetHeader header = Header(input);
    writer_.Publish({.bytes = static_cast<uint32_t>(room.size()),
                     .flags = header.flags,
                     .gso_type = header.gso_type,
                     .header_bytes = header.hdr_len,
                     .gso_size = header.gso_size,
                     .checksum_start = header.csum_start,
                     .checksum_offset = header.csum_offset});
    m_.device().OnSignals(virtio_net::kSwitchSignal);
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
    const size_t at = input.Below(2) == 0 ? net::kRingBytes + input.Below(72)
                                          : net::kRingBytes + 4096 + input.Take<uint16_t>();
    port_.span()[at] = static_cast<std::byte>(input.Take<uint8_t>());
    m_.device().OnSignals(virtio_net::kSwitchSignal);
  }
  void Kill(FuzzInput& input) {
    if (input.Below(4) == 0) Attach();
    FuzzRequire(m_.Restart() == virtio::JournalFound::kGood,
                "a journal that nobody damaged is good");
  }
  void TakeFrames() {
    while (const auto frame = reader_.Next()) {
      const FrameHeader& header = frame->header;
      FuzzRequire((header.flags & ~FrameHeader::kNeedsChecksum) == 0, "one flag is passed on");
      FuzzRequire(
          header.flags == 0 || header.checksum_start + header.checksum_offset + 2u <= header.bytes,
          "the checksum is in the frame");
      FuzzRequire(header.gso_type == 0 || (header.flags != 0 && header.gso_size != 0),
                  "segmentation comes with a size and a checksum");
      reader_.Consume();
    }
    if (reader_.WriterWaits()) m_.device().OnSignals(virtio_net::kSwitchSignal);
  }

  virtio::AlignedBytes port_{net::kPortBytes};
  net::FrameReader reader_ = net::FrameReader::Attach(port_.span().first(net::kRingBytes)).value();
  net::FrameWriter writer_ =
      net::FrameWriter::Attach(port_.span().subspan(net::kRingBytes)).value();
  Peer peer_;
  Base m_{[this](virtio_net::NetJournal& journal) {
            return std::make_unique<NetDevice>(
                journal, virtio_net::NetSettings{.mac = 0x0102, .mtu = 1500, .pairs = kPairs},
                port_.span(), peer_);
          },
          virtio::kRamBase, kRamBytes};
  std::vector<virtio::DriverQueue<Base>> queues_;
  const uint64_t header_ = m_.Allocate(256);
  const uint64_t data_ = m_.Allocate(3 << 16);
};

}  // namespace

void FuzzNetwork(std::span<const std::byte> bytes) {
  const auto session = std::make_unique<Session>();
  for (FuzzInput input(bytes); !input.empty();) session->Step(input);
  session->End();
}

}  // namespace atoll
