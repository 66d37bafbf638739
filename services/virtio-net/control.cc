#include "services/virtio-net/control.h"

#include <array>
#include <span>

#include "services/virtio-net/offloads.h"

namespace atoll::virtio_net {

// Reads from the front to the end; the chain's memory is read once.
class Control::Data {
 public:
  explicit Data(const virtio::Chain& chain) : chain_(chain), left_(chain.readable_bytes()) {}

  uint64_t left() const { return left_; }

  // False: there is not that much.
  template <typename T>
  bool Take(T& value) {
    return TakeBytes(std::as_writable_bytes(std::span(&value, 1)));
  }
  bool Skip(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  // For commands with data of one fixed length.
  template <typename T>
  bool TakeLast(T& value) {
    return left_ == sizeof(T) && Take(value);
  }

 private:
  bool TakeBytes(std::span<std::byte> to) {
    if (to.size() > left_) return false;
    if (!IsOk(chain_.CopyFromReadable(chain_.readable_bytes() - left_, to))) return false;
    left_ -= to.size();
    return true;
  }

  const virtio::Chain& chain_;
  uint64_t left_;
};

namespace {

// A mode or list of CTRL_RX is 0 or 1.
constexpr bool IsSwitch(uint8_t value) { return value <= 1; }

Mac MacFrom(const std::array<uint8_t, kMacBytes>& bytes) {
  Mac mac = 0;
  for (size_t i = 0; i < bytes.size(); ++i) mac |= Mac{bytes[i]} << 8 * i;
  return mac;
}

}  // namespace

ControlAck Control::Execute(const virtio::Chain& chain, uint64_t features) {
  Data data(chain);
  ControlHeader header;
  if (!data.Take(header)) return kAckErr;
  const auto negotiated = [features](uint64_t feature) { return (features & feature) != 0; };
  bool done = false;
  switch (header.control_class) {
    case kControlRx: done = SetMode(header.command, data, features); break;
    case kControlMac: done = SetMac(header.command, data, features); break;
    case kControlVlan: done = negotiated(kFeatureCtrlVlan) && SetVlan(header.command, data); break;
    case kControlMq: done = negotiated(kFeatureMq) && SetPairs(header.command, data); break;
    case kControlGuestOffloads:
      done = negotiated(kFeatureCtrlGuestOffloads) && SetOffloads(header.command, data, features);
      break;
    default: break;
  }
  return done ? kAckOk : kAckErr;
}

bool Control::SetMode(uint8_t command, Data& data, uint64_t features) {
  const uint64_t needed = command <= kRxAllMulti ? kFeatureCtrlRx : kFeatureCtrlRxExtra;
  uint8_t on = 0;
  if (command > kRxNoBcast || (features & needed) == 0 || !data.TakeLast(on) || !IsSwitch(on)) {
    return false;
  }
  const uint64_t bit = uint64_t{1} << command;
  settings_.Change([&](DriverSettings& settings) {
    settings.modes = on != 0 ? settings.modes | bit : settings.modes & ~bit;
  });
  return true;
}

bool Control::SetMac(uint8_t command, Data& data, uint64_t features) {
  if (command == kMacTableSet && (features & kFeatureCtrlRx) != 0) return SetMacTable(data);
  std::array<uint8_t, kMacBytes> bytes;
  if (command != kMacAddrSet || (features & kFeatureCtrlMacAddr) == 0 || !data.TakeLast(bytes)) {
    return false;
  }
  const Mac mac = MacFrom(bytes);
  if (mac == 0 || IsMulticast(mac)) return false;  // 5.1.4: a device's address is unicast
  settings_.Change([&](DriverSettings& settings) { settings.mac = DriverSettings::kSet | mac; });
  return true;
}

// 5.1.6.5.2.1: a list of unicast and one of multicast addresses, each after its le32 count.
bool Control::SetMacTable(Data& data) {
  MacTable table;
  for (MacTable::List* list : {&table.unicast, &table.multicast}) {
    uint32_t count = 0;
    if (!data.Take(count) || uint64_t{count} * kMacBytes > data.left()) return false;
    if (count > kMaxFilterMacs) {
      data.Skip(uint64_t{count} * kMacBytes);
      list->count = MacTable::List::kAll;
      continue;
    }
    list->count = count;
    for (uint32_t i = 0; i < count; ++i) {
      std::array<uint8_t, kMacBytes> bytes;
      if (!data.Take(bytes)) return false;
      list->macs[i] = MacFrom(bytes);
    }
  }
  if (data.left() != 0) return false;
  settings_.Change([&](DriverSettings& settings) { settings.table = table; });
  return true;
}

bool Control::SetVlan(uint8_t command, Data& data) {
  uint16_t id = 0;
  if (command > kVlanDel || !data.TakeLast(id) || id >= kVlans) return false;
  const uint64_t bit = uint64_t{1} << id % 64;
  settings_.Change([&](DriverSettings& settings) {
    uint64_t& word = settings.vlans[id / 64];
    word = command == kVlanAdd ? word | bit : word & ~bit;
  });
  return true;
}

bool Control::SetPairs(uint8_t command, Data& data) {
  uint16_t pairs = 0;
  if (command != kMqPairsSet || !data.TakeLast(pairs) || pairs == 0 || pairs > max_pairs_) {
    return false;
  }
  settings_.Change([&](DriverSettings& settings) { settings.pairs = pairs; });
  return true;
}

bool Control::SetOffloads(uint8_t command, Data& data, uint64_t features) {
  uint64_t offloads = 0;
  if (command != kGuestOffloadsSet || !data.TakeLast(offloads) ||
      (offloads & ~(features & kGuestOffloads)) != 0) {
    return false;
  }
  settings_.Change(
      [&](DriverSettings& settings) { settings.offloads = DriverSettings::kSet | offloads; });
  return true;
}

}  // namespace atoll::virtio_net
