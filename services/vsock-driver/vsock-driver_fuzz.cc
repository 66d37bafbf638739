// A line that says anything, and a switch that writes anything: what they say is taken or not, and whoever comes after
// them and keeps to the rules is served.
#include "services/vsock-driver/host_machine.h"
#include "tests/fuzz/fuzz_input.h"

namespace atoll::vsock_driver {
namespace {

uint8_t Byte(FuzzInput& input) { return input.Take<uint8_t>(); }

Bytes Some(FuzzInput& input, size_t most) {
  Bytes some(Byte(input) % (most + 1));
  for (std::byte& byte : some) byte = std::byte(Byte(input));
  return some;
}

void TakeAll(HostMachine& m) {
  while (const auto packet = m.Take()) {
    FuzzRequire(packet->size() >= sizeof(vsock::PacketHeader), "packets have a header");
  }
}

// A frame whose fields are near those that would do, or not.
Bytes Frame(FuzzInput& input, const HostMachine& m) {
  const uint8_t near = Byte(input);
  const Bytes payload = near % 2 == 0 ? Packet(Byte(input), Byte(input)) : Some(input, 60);
  const auto field = [&input](uint32_t good, bool is_near) {
    return is_near ? good + Byte(input) % 3 * 16 : input.Take<uint32_t>();
  };
  const LinkHeader header = {.kind = Kind{Byte(input)},
                             .bytes = static_cast<uint32_t>(payload.size()),
                             .session = field(m.host.session, (near & 2) == 0),
                             .sequence = field(0, (near & 4) == 0),
                             .following = Byte(input),
                             .acknowledged = field(m.host.expected, (near & 8) == 0)};
  return Encode(header, payload);
}

void Play(FuzzInput& input) {
  HostMachine m;
  m.link->Open();
  while (!input.empty()) {
    switch (Byte(input) % 12) {
      case 0: (void)m.link->Receive(Some(input, 100)); break;
      case 1:
      case 2: (void)m.link->Receive(Frame(input, m)); break;
      case 3: (void)m.Put(Packet(Byte(input), Byte(input) * 100)); break;
      case 4: m.host.Hear(m.Spoken(Byte(input) * 4)); break;
      case 5: {
        const Bytes words = m.host.Speak();
        (void)m.link->Receive(
            std::span(words).subspan(std::min<size_t>(Byte(input), words.size())));
        break;
      }
      case 6: m.host.Send(Packet(Byte(input), Byte(input))); break;
      case 7: TakeAll(m); break;
      case 8:
        m.Start();
        m.link->Open();
        break;
      case 9: m.Pass(Byte(input) % 8); break;
      case 10: {
        const size_t ring = Byte(input) % 2 == 0 ? 0 : vsock::kRingBytes;
        const size_t at = Byte(input) % 2 == 0 ? Byte(input) % 128 : 4096 + Byte(input) * 4;
        m.memory->span()[ring + at] = std::byte(Byte(input));
        break;
      }
      default:
        if (Byte(input) % 2 == 0) {
          m.link->Close();
        } else {
          m.link->Open();
        }
        break;
    }
    (void)m.link->MustNotify();
    (void)m.link->MaySleep(false);
  }
  // Others come.
  m.Attach();
  m.to_link->StartEpoch();
  m.host = FakeHost();
  m.link->Close();
  m.link->Open();
  TakeAll(m);
  m.Settle();
  TakeAll(m);
  FuzzRequire(m.settled, "they come to an end");
  FuzzRequire(m.Works(), "packets pass");
  FuzzRequire(!m.from_link->WriterIsDown(), "the host is there");
}

}  // namespace
}  // namespace atoll::vsock_driver

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  atoll::FuzzInput input(data, size);
  atoll::vsock_driver::Play(input);
  return 0;
}
