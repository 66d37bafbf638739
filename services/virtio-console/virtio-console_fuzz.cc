// Any sequence of register accesses, chains, control messages, memory of peers and guest, and restarts of a console device,
// as a function of random bytes.
#include <deque>

#include "services/virtio-console/console_machine.h"
#include "tests/fuzz/fuzz_input.h"

namespace atoll::virtio_console {
namespace {

class Session {
 public:
  Session() { BringUp(kOffered); }

  void Step(FuzzInput& input) {
    const auto what = input.Take<uint8_t>();
    const uint32_t index = input.Take<uint8_t>() % kQueues;
    switch (what % 10) {
      case 0: m_.Write(input.Take<uint8_t>() % 0x48 * 4u, input.Take<uint32_t>()); break;
      case 1: BringUp(kOffered & ~(input.Take<uint64_t>() & input.Take<uint64_t>())); break;
      case 2:
      case 3: Chain(input, index); break;
      case 4: Message(input); break;
      case 5: m_.device().OnSignals(input.Take<uint64_t>()); break;
      case 6: Poke(input, world_.ports.span()); break;
      case 7: Poke(input, world_.console.span()); break;
      case 8: Die(input); break;
      default: queues_[index].SetAvailIndex(input.Take<uint16_t>()); break;
    }
    FuzzRequire(m_.Pump(), "work ends");
    FuzzRequire(m_.line.high == (m_.Read(virtio::kInterruptStatus) != 0),
                "the line follows InterruptStatus");
  }

  // Whatever happened, a reset and good peers make a good device.
  void End() {
    for (const auto memory : {world_.console.span(), world_.ports.span()})
      std::ranges::fill(memory, std::byte{0});
    (void)m_.Restart();
    m_.Rewind(kEndRam);
    FuzzRequire(m_.Live(), "a reset makes a good device");
    m_.OpenAll();
    for (uint32_t port = 0; port < kPorts; ++port) {
      (void)m_.Arrived(port);  // what waited for room
      m_.Send(port, "out");
      FuzzRequire(m_.Arrived(port) == "out", "bytes leave");
      m_.GiveBuffers(ReceiveQueue(port), 1);
      m_.Type(port, "in");
      FuzzRequire(m_.Taken(ReceiveQueue(port)) == "in", "bytes arrive");
    }
  }

 private:
  static constexpr uint64_t kEndRam = virtio::kRamBase + (4 << 20);

  void BringUp(uint64_t features) {
    m_.Rewind(virtio::kRamBase);
    queues_.clear();
    (void)virtio::Negotiate<ConsoleBase>(m_, features | kBase);
    for (uint32_t i = 0; i < kQueues; ++i) queues_.emplace_back(m_, i, 16).SetUp();
    m_.Write(virtio::kStatus, virtio::kLive);
    data_ = m_.Allocate(1 << 16);
  }
  void Chain(FuzzInput& input, uint32_t index) {
    const auto shape = input.Take<uint8_t>();
    std::vector<virtio::Buffer> chain;
    for (uint32_t i = 0; i < 1u + shape % 3; ++i) {
      const uint64_t at = data_ + input.Take<uint16_t>() % 0xf000;
      const bool writable = (index % 2 == 0) != (shape > 240);
      chain.push_back(
          {shape == 240 ? m_.ram_end() - 1 : at, input.Take<uint16_t>() % 5000u, writable});
    }
    queues_[index].Add(chain);
    m_.Doorbell(index);
  }
  void Message(FuzzInput& input) {
    const ControlMessage message{input.Take<uint8_t>() % 10u,
                                 static_cast<Event>(input.Take<uint8_t>() % 9),
                                 static_cast<uint16_t>(input.Take<uint8_t>() % 3)};
    m_.Put(data_, message);
    queues_[kControlTransmit].Add({{data_, 4u + input.Take<uint8_t>() % 8, false}});
    m_.Doorbell(kControlTransmit);
  }
  // Mostly the words that count: states and indices.
  static void Poke(FuzzInput& input, std::span<std::byte> memory) {
    const auto page = input.Take<uint8_t>();
    uint64_t at = input.Take<uint16_t>() % 160;
    if (memory.size() > kPageSize && (page & 1) != 0)
      at += kPageSize + (page >> 1) % 4 * port_switch::kRingBytes;
    memory[at % memory.size()] = input.Take<std::byte>();
  }
  void Die(FuzzInput& input) {
    if (input.Take<uint8_t>() >= 0xe0) {
      const std::span<std::byte> journal = m_.journal_bytes();
      journal[input.Take<uint32_t>() % journal.size()] ^= std::byte{input.Take<uint8_t>()};
      (void)m_.Restart();
      BringUp(kOffered);
    } else {
      FuzzRequire(m_.Restart() == virtio::JournalFound::kGood,
                  "a journal that nobody damaged is good");
    }
  }

  World world_;
  ConsoleMachine m_{world_};
  std::deque<ConsoleQueue> queues_;
  uint64_t data_ = 0;
};

}  // namespace
}  // namespace atoll::virtio_console

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  atoll::virtio_console::Session session;
  for (atoll::FuzzInput input(data, size); !input.empty();) session.Step(input);
  session.End();
  return 0;
}
