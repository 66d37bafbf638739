#include "tests/fuzz/driver_fuzz.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/drivers/block_machine.h"

namespace atoll {
namespace {

using blk_driver::BlockMachine;
using blk_driver::Data;
using blk_driver::FakeDisk;
using blk_driver::kGuestBase;
using block::Operation;

constexpr uint32_t kClients = 2;

class Session {
 public:
  Session() { m_.Boot(); }

  void Step(FuzzInput& input) {
    const uint32_t client = input.Take<uint8_t>() % kClients;
    switch (input.Take<uint8_t>() % 8) {
      case 0: Poke(input, client); break;
      case 1:
      case 2:
      case 3: Submit(input, client); break;
      case 4: m_.Signal(input.Take<uint32_t>() & blk_driver::kClientSignals); break;
      case 5: MoveWindow(input, client); break;
      case 6: m_.device.hold = (input.Take<uint8_t>() & 1) != 0; break;
      default: Pass(input); break;
    }
    Check();
  }

  // Whatever happened, rings that are as new and windows that are open serve again.
  void End() {
    m_.device.hold = false;
    m_.device.fail_next = 0;
    for (uint32_t i = 0; i < kClients; ++i) {
      std::ranges::fill(m_.RingBytes(i), std::byte{0});
      m_.OpenWindow(i, generation_[i] | 1);
    }
    m_.Boot(99);
    for (uint32_t i = 0; i < kClients; ++i) FuzzRequire(m_.Works(i), "good requests are served");
    Check();
    for (uint64_t at = 2048 * 512; at < m_.device.content.size(); ++at) {
      FuzzRequire(m_.device.content[at] == FakeDisk::PatternAt(at), "sectors of nobody stay");
    }
  }

 private:
  // A word of the ring, mostly of its header or of the start of a slot.
  void Poke(FuzzInput& input, uint32_t client) {
    const auto kind = input.Take<uint8_t>();
    uint64_t at = input.Take<uint32_t>();
    if (kind < 64) at %= 256;
    if (kind >= 64 && kind < 192) at = (1 + at / 256 % block::kSlots) * kPageSize + at % 256;
    const std::span<std::byte> ring = m_.RingBytes(client);
    const auto value = input.Take<uint32_t>();
    std::memcpy(&ring[at % (ring.size() / 4) * 4 % ring.size()], &value, sizeof(value));
  }

  void Submit(FuzzInput& input, uint32_t client) {
    static constexpr uint32_t kOperations[] = {0, 1, 4, 11, 13, 8};
    const auto operation =
        static_cast<Operation>(kOperations[input.Take<uint8_t>() % std::size(kOperations)]);
    const uint64_t sector = input.Take<uint16_t>() % 1100;
    std::vector<Data> data(input.Take<uint8_t>() % 8);
    uint32_t bytes = 0;
    for (Data& part : data) {
      const auto kind = input.Take<uint8_t>();
      part.bytes = 256u * (input.Take<uint8_t>() % 16) + (kind < 16 ? 1 : 0);
      part.guest_physical = kGuestBase + 16 * input.Take<uint16_t>() + (kind < 32 ? 0xf'8000 : 0);
      if (kind > 250) part.guest_physical = input.Take<uint64_t>();
      bytes += part.bytes;
    }
    uint32_t sectors = bytes / 512;
    if (input.Take<uint8_t>() > 240) sectors = input.Take<uint32_t>();
    m_.Submit(client, input.Take<uint8_t>() % block::kSlots, operation, sector, sectors, data);
    if ((input.Take<uint8_t>() & 1) != 0) m_.Signal(uint64_t{1} << client);
  }

  // As the supervisor does: not opened again before its end was acknowledged.
  void MoveWindow(FuzzInput& input, uint32_t client) {
    uint32_t& generation = generation_[client];
    if (IsOpenDmaGeneration(generation)) {
      m_.CloseWindow(client, ++generation);
    } else if (m_.IsClosed(client, generation)) {
      m_.OpenWindow(client, ++generation);
    }
  }

  void Pass(FuzzInput& input) {
    const auto how = input.Take<uint8_t>();
    if (how < 128) {
      m_.Pass(how / 128.0);
    } else if (how < 144) {
      m_.Pass(31);
    } else if (how < 160) {
      m_.Boot(how);
    } else {
      m_.device.fail_next = how % 3;
    }
  }

  void Check() {
    FuzzRequire(m_.settled, "work ends");
    FuzzRequire(m_.device.bad_addresses == 0, "the device is told of granted memory only");
    FuzzRequire(m_.device.malformed == 0, "requests to the device are well formed");
    FuzzRequire(m_.device.largest <= blk_driver::kMaxTransferBytes, "and bounded");
  }

  BlockMachine m_;
  uint32_t generation_[kClients] = {1, 1};
};

}  // namespace

void FuzzDriverClient(std::span<const std::byte> bytes) {
  Session session;
  for (FuzzInput input(bytes); !input.empty();) session.Step(input);
  session.End();
}

}  // namespace atoll
