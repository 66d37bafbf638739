// The console and VMs that come and go: keys that choose one, lists, what is typed for one that is off.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "services/console/console.h"
#include "tests/unit/uart/console_machine.h"

namespace atoll {
namespace {

TEST(Console, next_key_goes_round) {
  ConsoleMachine m(3);
  m.Type("\x01n");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm1\r\n");
  m.Type("\x01n\x01N");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm2\r\n\r\n[console] vm0\r\n");
  m.Type("x");
  EXPECT_EQ(m.guests[0].Read(), "x");
  ConsoleMachine none(0);
  none.Type("\x01n\x01l");
  EXPECT_NE(none.hardware.TakeWire().find("there are no guests"), std::string::npos);
}

TEST(Console, list_has_states_and_what_waits) {
  ConsoleMachine m(3);
  m.BootWithList();
  m.Set(0, "vm1", ListedState::kOff);  // the supervisor's order may be another
  m.Set(1, "vm0", ListedState::kOn, 4);
  m.Set(2, "vm2", ListedState::kWaiting);
  m.guests[2].Print("held back");
  m.Output();
  m.Type("\x01l");
  EXPECT_EQ(m.hardware.TakeWire(),
            "\r\n[console] 1* vm0: on, start 4\r\n\r\n[console] 2  vm1: off\r\n"
            "\r\n[console] 3  vm2: off, will start again, 9 bytes wait\r\n");
}

TEST(Console, list_of_a_hundred_commands_is_bounded) {
  ConsoleMachine m(8);
  m.BootWithList();
  std::string keys;
  for (int i = 0; i < 100; ++i) keys += "\x01l";
  m.Type(keys);
  EXPECT_FALSE(m.hardware.TakeWire().empty());
  m.Type("a");
  EXPECT_EQ(m.guests[0].Read(), "a");
}

TEST(Console, states_that_make_no_sense_are_harmless) {
  ConsoleMachine m;
  m.BootWithList();
  m.Set(0, "vm0", static_cast<ListedState>(77));
  std::memset(m.vms[1].name.data(), 'x', m.vms[1].name.size());
  m.Type("abc\x01l");
  EXPECT_EQ(m.guests[0].Read(), "abc");
  EXPECT_NE(m.hardware.TakeWire().find("1* vm0: on"), std::string::npos);
}

TEST(Console, what_is_typed_for_a_vm_that_is_off_is_dropped_and_said_once) {
  ConsoleMachine m;
  m.BootWithList();
  m.Set(0, "vm0", ListedState::kOn);
  m.Type("before");
  EXPECT_EQ(m.guests[0].Read(6), "before");
  m.Set(0, "vm0", ListedState::kCrashed);
  m.Type("one");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm0: crashed; what you type is dropped\r\n");
  m.Type("two");
  EXPECT_EQ(m.hardware.TakeWire(), "");
  EXPECT_EQ(m.guests[0].Read(), "");
  m.Type(
      "\x01"
      "2three");  // commands work all the same
  EXPECT_EQ(m.guests[1].Read(), "three");
  m.hardware.TakeWire();
  m.Type(
      "\x01"
      "1");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm0: crashed\r\n");
}

TEST(Console, a_vm_that_starts_again_gets_nothing_typed_before_and_all_typed_after) {
  ConsoleMachine m;
  m.BootWithList();
  m.Set(0, "vm0", ListedState::kOn);
  m.Type("never read");
  m.guests[0].Print("last words\n");
  m.Set(0, "vm0", ListedState::kEnding);
  EXPECT_EQ(m.hardware.TakeWire(), "last words\n");
  m.Set(0, "vm0", ListedState::kWaiting);
  m.Type("dropped");
  m.Set(0, "vm0", ListedState::kStarting, 2);
  m.guests[0].line = *GuestLine::Attach(m.guests[0].memory.span());  // the new pl011
  m.Set(0, "vm0", ListedState::kOn, 2);
  m.Type("fresh");
  EXPECT_EQ(m.guests[0].Read(), "fresh");
  m.hardware.TakeWire();
  m.guests[0].Print("hello\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "hello\n");
}

TEST(Console, a_full_input_ring_of_a_vm_that_ended_blocks_nobody) {
  ConsoleMachine m;
  m.BootWithList();
  m.Set(0, "vm0", ListedState::kOn);
  m.Type(std::string(2 * kRingCapacity, 'x'));
  m.Set(0, "vm0", ListedState::kOff);
  m.Type(
      "\x01"
      "2y");
  EXPECT_EQ(m.guests[1].Read(), "y");
}

TEST(Console, output_of_a_vm_without_focus_is_kept_over_its_end) {
  ConsoleMachine m;
  m.BootWithList();
  m.Set(1, "vm1", ListedState::kOn);
  m.guests[1].Print("panic: why\n");
  m.Set(1, "vm1", ListedState::kCrashed);
  m.Set(1, "vm1", ListedState::kOn, 2);
  m.guests[1].line = *GuestLine::Attach(m.guests[1].memory.span());
  m.guests[1].Print("again\n");
  m.Output();
  EXPECT_EQ(m.hardware.TakeWire(), "");
  m.Type(
      "\x01"
      "2");
  EXPECT_EQ(m.hardware.TakeWire(), "\r\n[console] vm1\r\npanic: why\nagain\n");
}

}  // namespace
}  // namespace atoll
