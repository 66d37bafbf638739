#include <gtest/gtest.h>

#include "services/@NAME@/device.h"
#include "tests/unit/device/register_machine.h"

namespace atoll {
namespace {

using Machine = RegisterMachine<@CLASS@>;
@MAKE@
TEST(@CLASS@, Registers) {
  Machine m@MADE@;
  EXPECT_EQ(m.Read("ID"), 0x41544f4cu);
  m.Write("VALUE", 2);
  EXPECT_EQ(m.Read("VALUE"), 2u);
  EXPECT_EQ(m.Read("STORES"), 1u);
  m.Write("STORES", 9);
  EXPECT_EQ(m.Read("STORES"), 1u) << "read-only";
}

TEST(@CLASS@, BadAccessesDoNothing) {
  Machine m@MADE@;
  m.Store(1, 4, 5);
  m.Store(0, 8, 5);
  m.Store(0x800, 4, 5);
  EXPECT_EQ(m.Load(0x800, 4), 0u);
  EXPECT_EQ(m.Load(0, 8), 0u);
  EXPECT_EQ(m.Read("VALUE"), 0u);
  EXPECT_EQ(m.Read("STORES"), 0u);
}

TEST(@CLASS@, InterruptFollowsValue) {
  Machine m@MADE@;
  m.Write("VALUE", 1);
  EXPECT_TRUE(m.ports.line.level);
  m.Restart();
  EXPECT_TRUE(m.ports.line.level);
  m.Write("VALUE", 0);
  EXPECT_FALSE(m.ports.line.level);
}

TEST(@CLASS@, StoreCountsOnceWhereverTheServiceDies) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  Machine m@MADE@;
  size_t states = 0;
  EXPECT_TRUE(m.SurvivesDeathIn("VALUE", 3, states));
  EXPECT_EQ(m.Read("STORES"), 1u);
}

}  // namespace
}  // namespace atoll
