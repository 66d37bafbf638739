#include <algorithm>
#include <cstdlib>

#include "services/net/offload.h"
#include "tests/fuzz/vswitch_fuzz.h"
#include "tests/unit/vswitch/network.h"

namespace atoll::vswitch {
namespace {

constexpr uint32_t kStations = 5;  // the last two are good
constexpr uint32_t kHostile = 3;

void Require(bool invariant) {
  if (!invariant) std::abort();
}

class Input {
 public:
  explicit Input(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }

 private:
  std::span<const std::byte> bytes_;
};

class Session {
 public:
  Session() : n_(kStations, true) {
    n_.Start();
    n_.Introduce();
  }

  void Step(Input& input) {
    const uint8_t action = input.Byte();
    const uint32_t hostile = input.Byte() % kHostile;
    switch (action % 8) {
      case 0: WriteWord(hostile, input.Byte() % 4 * 4 + (action & 8) * 8, input.Word()); break;
      case 1: WriteWord(hostile, 4096 + input.Word() % 4096 * 4, input.Word()); break;
      case 2: SendTo(hostile, input); break;
      case 3: n_.vswitch().OnSignals(input.Word()); break;
      case 4: n_.Pass(input.Byte() % 20); break;
      case 5: n_.Start(); break;
      case 6: n_[hostile].Restart(); break;
      case 7: n_[hostile].Drain(); break;
    }
    n_.Run();
    TakeGood(3);
    TakeGood(4);
  }

  void End() {
    for (uint32_t tag = 1000; tag < 1010; ++tag) {
      Require(n_[3].Send(MakeFrame(Mac(4), Mac(3), tag)));
      Require(n_[4].Send(MakeFrame(Mac(3), Mac(4), tag)));
      n_.RunPort(3);
      n_.RunPort(4);
      Require(Has(3, tag) && Has(4, tag));
    }
  }

 private:
  // In either ring's header or data, whatever the alignment of records there.
  void WriteWord(uint32_t hostile, uint32_t offset, uint32_t word) {
    const size_t ring = (word & 1) != 0 ? net::kRingBytes : 0;
    std::memcpy(n_[hostile].memory().data() + ring + offset, &word, sizeof word);
  }

  void SendTo(uint32_t hostile, Input& input) {
    Bytes frame =
        MakeFrame(Mac(input.Byte() % 6), Mac(input.Byte() % 6), 1, 14 + input.Word() % 65537);
    for (auto changes = input.Byte() % 8; changes != 0; --changes) {
      frame[input.Byte() % std::min<size_t>(frame.size(), 60)] = input.Byte();
    }
    FrameHeader header{.flags = input.Byte(),
                       .gso_type = input.Byte(),
                       .gso_size = static_cast<uint16_t>(input.Word()),
                       .checksum_start = input.Byte(),
                       .checksum_offset = input.Byte()};
    for (int i = 0; i < 12; ++i) n_[hostile].Send(frame, header);
  }

  // What a good station gets is always as promised.
  void TakeGood(uint32_t station) {
    while (const auto frame = n_[station].Receive()) {
      const auto head =
          net::View(frame->second).first(std::min(frame->second.size(), net::kHeadBytes));
      Require(net::ValidateOffload(frame->first, head).has_value());
    }
    Require(n_[station].reader().faults() == 0 && n_[station].writer().faults() == 0);
  }

  bool Has(uint32_t station, uint32_t tag) {
    const auto tags = n_[station].ReceiveTags();
    return std::ranges::find(tags, tag) != tags.end();
  }

  Network n_;
};

}  // namespace

void FuzzVswitch(std::span<const std::byte> bytes) {
  Session session;
  for (Input input(bytes); !input.empty();) session.Step(input);
  session.End();
}

}  // namespace atoll::vswitch
