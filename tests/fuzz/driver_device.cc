#include "tests/fuzz/driver_fuzz.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/unit/drivers/block_machine.h"
#include "tests/unit/drivers/net_machine.h"

namespace atoll {
namespace {

// What any device can do that lies. `machine` has the device, its memory and its driver.
template <typename Machine>
void Misbehave(Machine& machine, FuzzInput& input, size_t dma_bytes) {
  auto& device = machine.device;
  switch (input.Take<uint8_t>() % 8) {
    case 0: {  // anything into the driver's DMA memory; mostly into the rings
      const uint64_t at =
          input.Take<uint32_t>() % ((input.Take<uint8_t>() & 3) != 0 ? 0x2000u : dma_bytes);
      *machine.memory.At(virtio_driver::kPhysicalBase + at) = input.Take<std::byte>();
      break;
    }
    case 1:
      device.Give(input.Take<uint8_t>() % 2, input.Take<uint8_t>() % 140u, input.Take<uint16_t>());
      break;
    case 2:
      device.Give(input.Take<uint8_t>() % 2, input.Take<uint32_t>(), input.Take<uint32_t>());
      break;
    case 3:
      if (device.live()) device.SetUsedIndex(input.Take<uint8_t>() % 2 % 1, input.Take<uint16_t>());
      break;
    case 4: device.status ^= input.Take<uint8_t>(); break;
    case 5: device.interrupt_status = input.Take<uint8_t>() & 3; break;
    case 6: device.hold = (input.Take<uint8_t>() & 1) != 0; break;
    default: machine.Pass(input.Take<uint8_t>() % 40); break;
  }
}

void FuzzDisk(FuzzInput& input) {
  blk_driver::BlockMachine m;
  m.device.granted = nullptr;  // what it reads from its own scribbled rings is its affair
  m.Boot();
  uint32_t slot = 0;
  while (!input.empty()) {
    if ((input.Take<uint8_t>() & 1) != 0) {
      Misbehave(m, input, blk_driver::PhysicalDisk::kDmaBytes);
    } else {
      const uint32_t client = slot % 2;
      m.Submit(client, slot % block::kSlots, block::Operation::kIn, slot % 1000, 1,
               {{blk_driver::kGuestBase, 512}});
      m.Signal(uint64_t{1} << client | (input.Take<uint8_t>() & 1 ? blk_driver::kIrqSignal : 0));
      ++slot;
    }
    FuzzRequire(m.settled, "work ends");
  }
  // The device answers no more: every request ends all the same.
  m.device.hold = true;
  m.device.gone = true;
  m.Signal(blk_driver::kClientSignals);
  for (int i = 0; i < 4; ++i) m.Pass(31);
  for (uint32_t client = 0; client < 2; ++client) {
    for (uint32_t i = 0; i < block::kSlots; ++i) {
      FuzzRequire(m.clients[client]->ring.State(i) != block::SlotState::kSubmitted, "requests end");
    }
  }
  // A new instance on an honest device serves.
  m.device.hold = m.device.gone = false;
  for (uint32_t client = 0; client < 2; ++client) (void)m.Take(client, 0);
  m.Boot(1);
  FuzzRequire(m.Works(0) && m.Works(1), "a disk that was reset works");
}

void FuzzInterface(FuzzInput& input) {
  net_driver::NetMachine m;
  m.Boot();
  while (!input.empty()) {
    if ((input.Take<uint8_t>() & 1) != 0) {
      Misbehave(m, input, net_driver::NetworkInterface::kDmaBytes);
    } else {
      (void)m.Put(net_driver::NetMachine::Pattern(60 + input.Take<uint8_t>(), 1));
      m.Signal(net_driver::kSwitchSignal |
               (input.Take<uint8_t>() & 1 ? net_driver::kIrqSignal : 0));
    }
    while (const auto frame = m.Take()) {
      FuzzRequire(frame->size() <= net_driver::NetworkInterface::kReceiveBytes,
                  "frames fit a buffer");
    }
    FuzzRequire(m.settled, "work ends");
  }
  m.device.hold = false;
  m.Boot();
  while (m.Take()) {
  }
  FuzzRequire(m.Works(), "an interface that was reset works");
}

}  // namespace

void FuzzDriverDevice(std::span<const std::byte> bytes) {
  FuzzInput input(bytes);
  if ((input.Take<uint8_t>() & 1) != 0) {
    FuzzDisk(input);
  } else {
    FuzzInterface(input);
  }
}

}  // namespace atoll
