#include "services/vswitch/address_table.h"

#include <gtest/gtest.h>

#include "tests/unit/vswitch/network.h"

namespace atoll::vswitch {
namespace {

constexpr uint64_t kMaxAge = 300;

class Table : public testing::Test {
 protected:
  std::optional<uint32_t> Find(MacAddress mac, uint64_t now = 0, uint16_t vlan = 0) {
    return table_->Find(mac, vlan, now);
  }
  bool Learn(MacAddress mac, uint32_t port, uint64_t now = 0, uint16_t vlan = 0) {
    return table_->Learn(mac, vlan, port, now);
  }
  std::unique_ptr<AddressTable> table_ = std::make_unique<AddressTable>(kMaxAge, 12345);
};

TEST_F(Table, learns_refreshes_and_forgets) {
  EXPECT_FALSE(Find(Mac(1)).has_value());
  EXPECT_TRUE(Learn(Mac(1), 3, 1000));
  EXPECT_EQ(Find(Mac(1), 1000 + kMaxAge), 3);
  EXPECT_FALSE(Find(Mac(1), 1001 + kMaxAge).has_value());
  EXPECT_TRUE(Learn(Mac(1), 3, 1200));
  EXPECT_EQ(Find(Mac(1), 1200 + kMaxAge), 3);
}

TEST_F(Table, an_address_moves_with_its_station) {
  Learn(Mac(1), 3);
  Learn(Mac(1), 16);
  EXPECT_EQ(Find(Mac(1)), 16);
  Learn(Mac(1), 0);
  EXPECT_EQ(Find(Mac(1)), 0);
}

TEST_F(Table, each_vlan_learns_on_its_own) {
  Learn(Mac(1), 3, 0, 7);
  EXPECT_FALSE(Find(Mac(1), 0, 8).has_value());
  Learn(Mac(1), 4, 0, 8);
  EXPECT_EQ(Find(Mac(1), 0, 7), 3);
  EXPECT_EQ(Find(Mac(1), 0, 8), 4);
}

TEST_F(Table, NET_91_pinned_addresses_stay_in_all_vlans_and_for_ever) {
  table_->Pin(Mac(1), 2);
  EXPECT_FALSE(Learn(Mac(1), 3));
  EXPECT_FALSE(Learn(Mac(1), 3, 0, 9));
  EXPECT_TRUE(Learn(Mac(1), 2, 0, 9));
  EXPECT_EQ(Find(Mac(1), 1'000'000, 9), 2);
  table_->Pin(Mac(2), 2);  // a port has one
  EXPECT_FALSE(Find(Mac(1)).has_value());
  EXPECT_EQ(Find(Mac(2)), 2);
}

TEST_F(Table, NET_91_a_port_that_shows_ever_new_addresses_displaces_only_its_own) {
  for (uint32_t port = 0; port < AddressTable::kPorts; ++port) {
    const uint32_t places = port == 16 ? AddressTable::kUplinkPlaces : AddressTable::kPlaces;
    for (uint32_t i = 0; i < places; ++i) Learn(Mac(1000 * port + i), port);
  }
  for (uint32_t i = 0; i < 100'000; ++i)
    Learn(Mac(100'000 + i), 5, 0, static_cast<uint16_t>(i % 4096));
  for (uint32_t port = 0; port < AddressTable::kPorts; ++port) {
    const uint32_t places = port == 16 ? AddressTable::kUplinkPlaces : AddressTable::kPlaces;
    for (uint32_t i = 0; i < places; ++i) {
      ASSERT_EQ(Find(Mac(1000 * port + i)).has_value(), port != 5) << port << " " << i;
    }
  }
  // Its latest ones are known.
  for (uint32_t i = 100'000 - AddressTable::kPlaces; i < 100'000; ++i) {
    ASSERT_EQ(Find(Mac(100'000 + i), 0, static_cast<uint16_t>(i % 4096)), 5);
  }
}

TEST_F(Table, NET_91_addresses_that_move_all_the_time) {
  net::Random random(1);
  for (int i = 0; i < 100'000; ++i) Learn(Mac(random() % 3000), random() % 17, 0, random() % 3);
  // Nothing is lost of the structure: what is learned now is found.
  for (uint32_t i = 0; i < 48; ++i) Learn(Mac(5000 + i), 1);
  for (uint32_t i = 0; i < 48; ++i) EXPECT_EQ(Find(Mac(5000 + i)), 1);
}

}  // namespace
}  // namespace atoll::vswitch
