#include "services/vswitch/address_table.h"

namespace atoll::vswitch {

uint16_t AddressTable::Lookup(MacAddress mac, uint16_t vlan) const {
  uint16_t place = buckets_[Bucket(mac)];
  while (place != kNone) {
    const Entry& entry = entries_[place];
    if (entry.mac == mac && (entry.vlan == vlan || entry.vlan == kAnyVlan)) break;
    place = entry.next;
  }
  return place;
}

void AddressTable::Insert(uint16_t place, const Entry& entry) {
  uint16_t& bucket = buckets_[Bucket(entry.mac)];
  entries_[place] = entry;
  entries_[place].used = true;
  entries_[place].next = bucket;
  bucket = place;
}

void AddressTable::Remove(uint16_t place) {
  uint16_t* link = &buckets_[Bucket(entries_[place].mac)];
  while (*link != place) link = &entries_[*link].next;
  *link = entries_[place].next;
  entries_[place].used = false;
}

void AddressTable::Pin(MacAddress mac, uint32_t port) {
  const auto place = static_cast<uint16_t>(kEntries + port);
  if (entries_[place].used) Remove(place);
  Insert(place, {.mac = mac, .vlan = kAnyVlan, .port = static_cast<uint8_t>(port)});
}

bool AddressTable::Learn(MacAddress mac, uint16_t vlan, uint32_t port, uint64_t now) {
  const uint16_t known = Lookup(mac, vlan);
  if (known != kNone) {
    Entry& entry = entries_[known];
    if (entry.port == port) {
      entry.seen = now;
      return true;
    }
    if (known >= kEntries) return false;
    Remove(known);  // it moved, and its place is another port's
  }
  const auto place = static_cast<uint16_t>(First(port) + next_place_[port]);
  next_place_[port] = static_cast<uint16_t>((next_place_[port] + 1) % Places(port));
  if (entries_[place].used) Remove(place);
  Insert(place, {.mac = mac, .seen = now, .vlan = vlan, .port = static_cast<uint8_t>(port)});
  return true;
}

std::optional<uint32_t> AddressTable::Find(MacAddress mac, uint16_t vlan, uint64_t now) const {
  const uint16_t place = Lookup(mac, vlan);
  if (place == kNone) return std::nullopt;
  const Entry& entry = entries_[place];
  if (place < kEntries && now - entry.seen > max_age_) return std::nullopt;
  return entry.port;
}

}  // namespace atoll::vswitch
