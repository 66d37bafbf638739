// Hostile ports beside good ones: whatever those write into their rings, these talk to each other, exactly once.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "services/vsock-switch/switch.h"
#include "tests/unit/uart/fake_ports.h"

namespace atoll::vsock_switch {
namespace {

constexpr uint32_t kDevices = 5;  // the last two are good
constexpr uint32_t kHostile = 3;
constexpr uint64_t Cid(uint32_t port) { return 3 + port; }

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken invariant: %s\n", what);
  std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : bytes_(data, size) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }

 private:
  std::span<const uint8_t> bytes_;
};

class Device final : public Peer {
 public:
  bool Notify() override { return !off; }
  void Attach() {
    writer.emplace(
        net::FrameWriter::Attach(memory->span().first(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
    reader.emplace(
        net::FrameReader::Attach(memory->span().subspan(vsock::kRingBytes), vsock::kMaxPacket)
            .value());
  }
  bool Send(const vsock::PacketHeader& header, uint32_t bytes, uint8_t flags = 0) {
    const auto room = writer->Reserve(sizeof(header) + bytes);
    if (room.empty()) return false;
    std::memcpy(room.data(), &header, sizeof(header));
    writer->Publish({.bytes = static_cast<uint32_t>(sizeof(header) + bytes),
                     .flags = flags,
                     .flow = vsock::EpochMark(writer->epoch())});
    return true;
  }

  AlignedMemory<vsock::kPortBytes>* memory = nullptr;
  std::optional<net::FrameWriter> writer;
  std::optional<net::FrameReader> reader;
  bool off = false;
};

class Session : public SwitchLog {
 public:
  Session() {
    // Of all sessions, since fresh memory takes longer than most of them.
    static std::array<AlignedMemory<vsock::kPortBytes>, kDevices> memories;
    for (uint32_t i = 0; i < kDevices; ++i) {
      std::memset(memories[i].bytes, 0, sizeof(memories[i].bytes));
      devices_[i].memory = &memories[i];
      devices_[i].Attach();
    }
    Start();
  }
  virtual ~Session() = default;

  void Step(Input& input) {
    const uint8_t action = input.Byte();
    Device& hostile = devices_[input.Byte() % kHostile];
    switch (action % 9) {
      case 0: Write(hostile, input.Byte() % 4 * 4 + (action & 16) * 4, input.Word()); break;
      case 1: Write(hostile, 4096 + input.Word() % 4096 * 4, input.Word()); break;
      case 2: Send(hostile, input); break;
      case 3: switch_->OnSignals(input.Word()); break;
      case 4: Pass(uint64_t{input.Byte()} * 16); break;
      case 5: Start(); break;
      case 6: hostile.Attach(); break;
      case 7:
        while (hostile.reader->Next().has_value()) hostile.reader->Consume();
        break;
      default: hostile.off = !hostile.off; break;
    }
    switch_->OnSignals((1u << kDevices) - 1);
    GoodOnesTalk();
  }

 private:
  void Start() {
    switch_.emplace(Switch::Surroundings{counter_, timer_, *this, journal_});
    for (uint32_t i = 0; i < kDevices; ++i) {
      (void)switch_->AddPort(i, {.name = "port", .cid = Cid(i)}, devices_[i].memory->span(),
                             devices_[i]);
    }
    switch_->Start(false);
  }
  void Pass(uint64_t milliseconds) {
    counter_.ticks += milliseconds * FakeCounter::kFrequency / 1000;
    if (timer_.Expire(counter_.ticks)) switch_->OnSignals(Switch::kTimerSignal);
  }
  static void Write(Device& device, uint32_t offset, uint32_t word) {
    const size_t ring = (word & 1) != 0 ? vsock::kRingBytes : 0;
    std::memcpy(device.memory->bytes + ring + offset, &word, sizeof(word));
  }
  static void Send(Device& device, Input& input) {
    vsock::PacketHeader header{.src_cid = Cid(input.Byte() % kDevices),
                               .dst_cid = Cid(input.Byte() % kDevices),
                               .src_port = input.Byte(),
                               .dst_port = input.Byte(),
                               .len = input.Word() % 70000,
                               .type = vsock::kTypeStream,
                               .op = static_cast<uint16_t>(input.Byte() % 9)};
    if (input.Byte() % 4 != 0 && header.op != vsock::kOpData) header.len = 0;
    const uint32_t bytes = input.Byte() % 8 == 0 ? input.Word() % 65536 : header.len % 65537;
    for (int i = input.Byte() % 8; i >= 0; --i) device.Send(header, bytes, input.Byte() & 1);
  }
  // Between them nothing is lost, doubled or out of order; what comes from others is what it says.
  void GoodOnesTalk() {
    for (uint32_t from : {kHostile, kHostile + 1}) {
      const uint32_t to = 2 * kHostile + 1 - from;
      const vsock::PacketHeader header{.src_cid = Cid(from),
                                       .dst_cid = Cid(to),
                                       .src_port = 70000,
                                       .len = 10,
                                       .type = vsock::kTypeStream,
                                       .op = vsock::kOpData,
                                       .fwd_cnt = ++sent_};
      Require(devices_[from].Send(header, 10), "a good port has room");
      switch_->OnSignals(1u << from);
      bool arrived = false;
      while (const auto frame = devices_[to].reader->Next()) {
        const auto got = vsock::HeaderOf(*frame);
        Require(got.has_value() && vsock::IsSound(*got), "what comes is sound");
        Require(got->dst_cid == Cid(to) && got->len == frame->bytes.size() - sizeof(*got),
                "and for this guest");
        if (got->src_port == 70000) {
          Require(!arrived && got->fwd_cnt == sent_, "each packet comes once, in order");
          arrived = true;
        }
        devices_[to].reader->Consume();
      }
      Require(arrived, "a packet between good ports arrives");
      if (devices_[to].reader->WriterWaits()) switch_->OnSignals(1u << to);
    }
  }

  void Stalled(std::string_view) override {}
  void Quarantined(std::string_view) override {}

  std::array<Device, kDevices> devices_;
  SwitchJournal journal_{};
  FakeCounter counter_;
  FakeTimer timer_;
  uint32_t sent_ = 0;
  std::optional<Switch> switch_;
};

}  // namespace
}  // namespace atoll::vsock_switch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto session = std::make_unique<atoll::vsock_switch::Session>();
  for (atoll::vsock_switch::Input input(data, size); !input.empty();) session->Step(input);
  return 0;
}
