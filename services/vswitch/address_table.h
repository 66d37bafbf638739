// Which port an Ethernet address was last seen at.
//
// Each port has places of its own, so a port that shows ever new addresses displaces its own ones only. An address
// counts within its VLAN (independent learning), and is forgotten when it was not seen for a while. Pinned
// addresses belong to their port for ever, in all VLANs.
#ifndef ATOLL_SERVICES_VSWITCH_ADDRESS_TABLE_H_
#define ATOLL_SERVICES_VSWITCH_ADDRESS_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace atoll::vswitch {

// An Ethernet address as the number that its six bytes are in memory: bit 0 is the group bit.
using MacAddress = uint64_t;

class AddressTable {
 public:
  static constexpr uint32_t kPorts = 17;
  static constexpr uint32_t kUplink = 16;  // a whole network may be behind it
  static constexpr uint32_t kPlaces = 48;  // of every other port
  static constexpr uint32_t kUplinkPlaces = 256;
  static constexpr uint32_t kEntries = kUplink * kPlaces + kUplinkPlaces;
  static_assert(kEntries == 1024);

  // max_age: in the unit of `now` below. The seed keeps guests from choosing addresses that meet in one bucket.
  constexpr AddressTable(uint64_t max_age, uint64_t seed) : max_age_(max_age), seed_(seed) {}

  // At most one address for each port, and each address once.
  void Pin(MacAddress mac, uint32_t port);

  // Notes that `mac` was seen at `port`. False: it is pinned to another port.
  bool Learn(MacAddress mac, uint16_t vlan, uint32_t port, uint64_t now);

  // The port, unless the address is unknown or was not seen for max_age.
  std::optional<uint32_t> Find(MacAddress mac, uint16_t vlan, uint64_t now) const;

 private:
  static constexpr size_t kBuckets = 1024;
  static constexpr uint16_t kNone = 0xffff;
  static constexpr uint16_t kAnyVlan = 0xffff;

  struct Entry {
    MacAddress mac = 0;
    uint64_t seen = 0;
    uint16_t vlan = 0;
    uint16_t next = kNone;  // in the bucket
    uint8_t port = 0;
    bool used = false;
  };

  static uint32_t First(uint32_t port) { return port * kPlaces; }
  static uint32_t Places(uint32_t port) { return port == kUplink ? kUplinkPlaces : kPlaces; }

  size_t Bucket(MacAddress mac) const {
    return (mac ^ seed_) * 0x9e37'79b9'7f4a'7c15 >> 54;  // the top ten bits
  }
  uint16_t Lookup(MacAddress mac, uint16_t vlan) const;
  void Insert(uint16_t place, const Entry& entry);
  void Remove(uint16_t place);

  uint64_t max_age_;
  uint64_t seed_;
  std::array<Entry, kEntries + kPorts> entries_{};  // pinned ones at the end
  std::array<uint16_t, kBuckets> buckets_ = [] {
    std::array<uint16_t, kBuckets> none{};
    none.fill(kNone);
    return none;
  }();
  std::array<uint16_t, kPorts> next_place_{};  // of each port, counted from its first
};

}  // namespace atoll::vswitch

#endif  // ATOLL_SERVICES_VSWITCH_ADDRESS_TABLE_H_
