// Any content of the memory that two devices share with the switch, changed while it works, as a function of random bytes.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "services/port-switch/port_switch.h"

namespace atoll::port_switch {
namespace {

class NoNotifier final : public Notifier {
 public:
  void Notify() override {}
};

struct World {
  World() {
    for (auto& words : memory) words.resize(kMemoryBytes / sizeof(uint64_t));
    Boot();
  }
  std::span<std::byte> Bytes(size_t device) {
    return std::as_writable_bytes(std::span(memory[device]));
  }
  void Boot() {
    const PortSwitch::Device devices[] = {{Bytes(0), &notifier}, {Bytes(1), &notifier}};
    ports = std::make_unique<PortSwitch>(devices, journal);
    for (uint32_t port = 0; port < kPorts; ++port) {
      if (!ports->Connect(port, port == 5 ? port : kPorts + (port + 1) % kPorts)) std::abort();
    }
  }

  std::array<std::vector<uint64_t>, 2> memory;
  NoNotifier notifier;
  SwitchJournal journal;
  std::unique_ptr<PortSwitch> ports;
};

}  // namespace
}  // namespace atoll::port_switch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace atoll::port_switch;
  World w;
  while (size >= 8) {
    const uint8_t what = data[0];
    uint32_t value;
    std::memcpy(&value, data + 4, sizeof(value));
    const size_t port = data[1] % kPorts;
    const auto bytes = w.Bytes(what & 1);
    // Mostly the words that count: states and indices.
    const size_t ring = atoll::kPageSize + port * kPortBytes + (data[2] & 1) * kRingBytes;
    const size_t at = what < 100   ? ring + (data[3] % 16) * 8
                      : what < 150 ? (data[3] % 32) * sizeof(uint32_t)
                                   : value % (bytes.size() - sizeof(value));
    if (what < 200) {
      std::memcpy(bytes.data() + at, &value, sizeof(value));
    } else if (what < 210) {
      std::memcpy(reinterpret_cast<std::byte*>(&w.journal) + data[3] % 12, &value, sizeof(value));
      w.Boot();
    } else {
      for (int i = 0; i < 100 && w.ports->Run(); ++i) {
      }
    }
    data += 8;
    size -= 8;
  }
  // Whatever happened: clean memory and a new instance, and a byte goes through.
  for (size_t device = 0; device < 2; ++device) std::ranges::fill(w.memory[device], 0);
  w.Boot();
  auto sender = atoll::GuestLine::Attach(RingsOf(w.Bytes(0), 0));
  const std::byte byte{7};
  if (!sender.has_value() || sender->output.Write({&byte, 1}) != 1) std::abort();
  (void)w.ports->Run();
  auto reader = atoll::GuestLine::Attach(RingsOf(w.Bytes(1), 1));
  if (!reader.has_value() || reader->input.Take() != byte) std::abort();
  return 0;
}
