// PL011: the service dies after any store of any access, the access is delivered again, and guest and console see what
// they would have seen.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "tests/unit/uart/uart_machine.h"
#include "tests/unit/virtio/memory_states.h"

namespace atoll {
namespace {

using namespace pl011;  // NOLINT: registers only

constexpr uint32_t kOn = kCrUartEnable | kCrTransmitEnable | kCrReceiveEnable;
constexpr uint32_t kLoopFlow = kOn | kCrLoopback | kCrRtsFlow | kCrCtsFlow;
constexpr uint64_t kToken = uint64_t{7} << 48 | 1000;

// Whatever guest and console can tell.
struct Outcome {
  std::string registers;
  std::string output, input;
  bool line = false, notified = false;

  bool operator==(const Outcome&) const = default;
};

Outcome Observe(UartMachine& m) {
  m.PassMicroseconds(5000);  // timeouts start anew after a restart
  Outcome seen;
  seen.line = m.line.level;
  for (uint32_t i = kRsr; i < kRegisterCount; ++i) {
    seen.registers +=
        std::to_string(i) + ":" + std::to_string(m.Read(static_cast<Register>(i))) + " ";
  }
  seen.output = m.ConsoleReads();
  seen.notified = seen.output.empty() || m.console_signal.Taken() != 0;
  m.Write(kImsc, 0);
  for (int i = 0; i < 100 && (m.Read(kFr) & kFrRxFifoEmpty) == 0; ++i) {
    seen.input += std::to_string(m.Read(kDr)) + " ";
  }
  m.Write(kCr, kOn);  // what waits outside a loopback, or inside
  for (int i = 0; i < 100 && (m.Read(kFr) & kFrRxFifoEmpty) == 0; ++i) {
    seen.input += std::to_string(m.Read(kDr)) + " ";
  }
  seen.output += m.ConsoleReads();
  return seen;
}

struct Scenario {
  const char* name;
  std::function<void(UartMachine&)> prepare;
  Register index;
  bool write;
  uint32_t value = 0;
  bool die_twice = false;
};

void FillLoop(UartMachine& m) {
  m.Enable();
  m.Write(kCr, kOn | kCrLoopback);
  m.Print("0123456789abcdef");
}

// Eight entries are in the loop, which is the level, so that RTS, and with it CTS, is off: three bytes wait.
void HoldThree(UartMachine& m) {
  m.Enable();
  m.Write(kCr, kLoopFlow | kCrRts);
  m.Print("01234567ABC");
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      {"first byte of output", [](auto& m) { m.Enable(); }, kDr, true, 'x'},
      {"byte on the fast way",
       [](auto& m) {
         m.Enable();
         m.Print("ab");
       },
       kDr, true, 'x', true},
      {"byte that fills half of the ring",
       [](auto& m) {
         m.Enable();
         m.Print(std::string(UartMachine::kRingCapacity / 2 - 1, '.'));
       },
       kDr, true, 'x'},
      {"byte that fills the FIFO to its level",
       [](auto& m) {
         m.Enable();
         m.Print(std::string(UartMachine::kRingCapacity - 8, '.'));
       },
       kDr, true, 'x'},
      {"last byte that has room",
       [](auto& m) {
         m.Enable();
         m.Print(std::string(UartMachine::kRingCapacity - 1, '.'));
       },
       kDr, true, 'x'},
      {"byte without room",
       [](auto& m) {
         m.Enable();
         m.FillOutput();
       },
       kDr, true, 'x'},
      {"looped byte",
       [](auto& m) {
         m.Enable();
         m.Write(kCr, kOn | kCrLoopback);
       },
       kDr, true, 'x'},
      {"looped byte at the level",
       [](auto& m) {
         m.Enable();
         m.Write(kCr, kOn | kCrLoopback);
         m.Print("1234567");
       },
       kDr, true, 'x'},
      {"looped byte into a full FIFO", FillLoop, kDr, true, 'x'},
      {"byte that is held back", HoldThree, kDr, true, 'x', true},
      {"only byte of input",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("a");
       },
       kDr, false},
      {"byte of input at the level",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("12345678");
       },
       kDr, false, 0, true},
      {"byte of input above the level",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("123456789");
       },
       kDr, false},
      {"byte of more input than the FIFO takes",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites(std::string(40, 'i'));
       },
       kDr, false},
      {"byte of input without FIFO",
       [](auto& m) {
         m.Enable(/*fifo=*/false);
         m.ConsoleWrites("abc");
       },
       kDr, false},
      {"byte of input after its timeout",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("a");
         m.PassMicroseconds(1000);
       },
       kDr, false},
      {"nothing to read", [](auto& m) { m.Enable(); }, kDr, false},
      {"looped entry", [](auto& m) { FillLoop(m); }, kDr, false},
      {"looped entry with an overrun",
       [](auto& m) {
         FillLoop(m);
         m.Print("x");
         for (int i = 0; i < 15; ++i) m.Read(kDr);
       },
       kDr, false},
      {"looped entry that lets a held byte go", HoldThree, kDr, false, 0, true},
      {"break",
       [](auto& m) {
         m.Enable();
         m.console.input.PutMark();
         m.ConsoleWrites("ab");
       },
       kDr, false},
      {"break that begins in loopback",
       [](auto& m) {
         m.Enable();
         m.Write(kCr, kOn | kCrLoopback);
         m.Print("a");
       },
       kLcrH, true, kLcrHWordLength8 | kLcrHFifoEnable | kLcrHBreak},
      {"FIFOs off over input",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("abc");
       },
       kLcrH, true, kLcrHWordLength8},
      {"modem outputs in loopback",
       [](auto& m) {
         m.Enable();
         m.Write(kCr, kOn | kCrLoopback);
       },
       kCr, true, kOn | kCrLoopback | kCrDtr | kCrRts | kCrOut1 | kCrOut2},
      {"end of loopback with bytes held back", HoldThree, kCr, true, kOn},
      {"receiver on over waiting input", [](auto& m) { m.ConsoleWrites("0123456789"); }, kCr, true,
       kOn},
      {"receiver off",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("0123456789");
       },
       kCr, true, 0},
      {"levels",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("0123");
       },
       kIfls, true, 0},
      {"mask over a pending interrupt",
       [](auto& m) {
         m.Enable();
         m.ConsoleWrites("0123456789");
       },
       kImsc, true, kInterruptReceive},
      {"interrupts cleared",
       [](auto& m) {
         m.Enable();
         m.Print("a");
         m.ConsoleWrites("0123456789");
       },
       kIcr, true, kInterruptAll},
      {"errors cleared",
       [](auto& m) {
         FillLoop(m);
         m.Print("x");
       },
       kRsr, true, 0},
      {"divisor", [](auto& m) { m.Enable(); }, kIbrd, true, 0x1234},
  };
  return scenarios;
}

void Prepare(UartMachine& m, const Scenario& scenario) {
  scenario.prepare(m);
  // An earlier call has left its token.
  m.Access(kIbrd, /*write=*/true, 26, kToken - 1);
}

std::vector<std::span<std::byte>> Watched(UartMachine& m) {
  return {m.journal.span().first(sizeof(Pl011State)), m.memory.span()};
}

// A machine, and every state that the access leaves its memory in.
struct Deaths {
  explicit Deaths(const Scenario& scenario) : scenario(scenario), states(Watched(machine), 300) {
    Prepare(machine, scenario);
    complete = states.Run([&] { Access(); });
  }
  uint64_t Access() {
    return machine.Access(scenario.index, scenario.write, scenario.value, kToken);
  }

  const Scenario& scenario;
  UartMachine machine;
  MemoryStates states;
  bool complete = false;
};

// Stepping is slow: it is done once for all tests.
Deaths& DeathsIn(const Scenario& scenario) {
  static std::map<const Scenario*, std::unique_ptr<Deaths>> all;
  std::unique_ptr<Deaths>& deaths = all[&scenario];
  if (deaths == nullptr) deaths = std::make_unique<Deaths>(scenario);
  return *deaths;
}

TEST(Pl011Restart, PL011_67_access_takes_effect_once_wherever_the_service_died) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const Scenario& scenario : Scenarios()) {
    SCOPED_TRACE(scenario.name);
    UartMachine reference;
    Prepare(reference, scenario);
    const uint64_t wanted =
        reference.Access(scenario.index, scenario.write, scenario.value, kToken);
    const Outcome outcome = Observe(reference);

    Deaths& deaths = DeathsIn(scenario);
    ASSERT_TRUE(deaths.complete);
    UartMachine& m = deaths.machine;
    MemoryStates& states = deaths.states;
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      m.BootBoth();
      ASSERT_EQ(deaths.Access(), wanted) << i;
      const Outcome seen = Observe(m);
      ASSERT_EQ(seen.registers, outcome.registers) << i << " of " << states.size();
      ASSERT_EQ(seen.output, outcome.output) << i << " of " << states.size();
      ASSERT_EQ(seen.input, outcome.input) << i << " of " << states.size();
      ASSERT_TRUE(seen == outcome) << i << " of " << states.size();
    }
  }
}

// The second instance dies as well, in its start or in the access; the third is given the call again.
TEST(Pl011Restart, PL011_67_access_takes_effect_once_after_two_deaths) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const Scenario& scenario : Scenarios()) {
    if (!scenario.die_twice) continue;
    SCOPED_TRACE(scenario.name);
    UartMachine reference;
    Prepare(reference, scenario);
    const uint64_t wanted =
        reference.Access(scenario.index, scenario.write, scenario.value, kToken);
    const Outcome outcome = Observe(reference);

    Deaths& deaths = DeathsIn(scenario);
    UartMachine& m = deaths.machine;
    for (size_t i = 1; i < deaths.states.size(); i += 4) {
      deaths.states.Restore(i);
      m.BootBoth();
      MemoryStates second(Watched(m), 300);
      ASSERT_TRUE(second.Run([&] { deaths.Access(); }));
      for (size_t j = 0; j < second.size(); ++j) {
        second.Restore(j);
        m.BootBoth();
        ASSERT_EQ(deaths.Access(), wanted) << i << ", " << j;
        ASSERT_TRUE(Observe(m) == outcome) << i << ", " << j;
      }
    }
  }
}

// The vCPU was turned off meanwhile: nobody repeats the access. The next one finds the device before or after it.
TEST(Pl011Restart, PL011_67_access_that_is_not_delivered_again_happened_or_did_not) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.index != kDr) continue;
    SCOPED_TRACE(scenario.name);
    Outcome outcomes[2];
    for (int done = 0; done < 2; ++done) {
      UartMachine reference;
      Prepare(reference, scenario);
      if (done == 1) reference.Access(scenario.index, scenario.write, scenario.value, kToken);
      reference.Access(kDr, /*write=*/true, 'N', kToken + 1);
      outcomes[done] = Observe(reference);
    }
    Deaths& deaths = DeathsIn(scenario);
    ASSERT_TRUE(deaths.complete);
    UartMachine& m = deaths.machine;
    MemoryStates& states = deaths.states;
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      m.BootBoth();
      m.Access(kDr, /*write=*/true, 'N', kToken + 1);
      const Outcome seen = Observe(m);
      ASSERT_TRUE((seen.output == outcomes[0].output && seen.input == outcomes[0].input) ||
                  (seen.output == outcomes[1].output && seen.input == outcomes[1].input))
          << i << ": " << seen.output << "; " << seen.input;
    }
  }
}

TEST(Pl011Restart, PL011_68_signal_is_not_lost_wherever_the_service_died) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  const auto arrive = [](UartMachine& m) {
    m.Enable();
    m.Write(kImsc, kInterruptReceive | kInterruptTransmit);
    m.FillOutput();
    m.ConsoleReads(100);
    m.ConsoleWrites("0123456789", /*signal=*/false);
  };
  UartMachine reference;
  arrive(reference);
  reference.device->OnSignals(Pl011::kConsoleSignal);
  const Outcome outcome = Observe(reference);
  ASSERT_TRUE(outcome.line);

  UartMachine m;
  arrive(m);
  MemoryStates states(Watched(m));
  ASSERT_TRUE(states.Run([&] { m.device->OnSignals(Pl011::kConsoleSignal); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    m.BootBoth();
    EXPECT_TRUE(Observe(m) == outcome) << i;
  }
}

// ---- damaged journals --------------------------------------------------------------------------

TEST(Pl011Restart, no_state_that_a_death_leaves_passes_for_damage) {
  if (!MemoryStates::kSupported) GTEST_SKIP();
  for (const Scenario& scenario : Scenarios()) {
    Deaths& deaths = DeathsIn(scenario);
    ASSERT_TRUE(deaths.complete);
    UartMachine& m = deaths.machine;
    MemoryStates& states = deaths.states;
    for (size_t i = 0; i < states.size(); ++i) {
      states.Restore(i);
      EXPECT_FALSE(AttachPl011State(m.journal.span())->damaged) << scenario.name << " " << i;
    }
  }
  AlignedMemory<4096> fresh;
  MemoryStates states({fresh.span().first(sizeof(Pl011State))});
  ASSERT_TRUE(states.Run([&] { (void)AttachPl011State(fresh.span()); }));
  for (size_t i = 0; i < states.size(); ++i) {
    states.Restore(i);
    EXPECT_FALSE(AttachPl011State(fresh.span())->damaged) << i;
  }
}

TEST(Pl011Restart, every_flipped_bit_of_a_setting_is_noticed) {
  UartMachine m;
  m.Enable();
  m.Write(kImsc, kInterruptReceive);
  for (uint32_t i = 0; i < kRegisterCount; ++i) {
    if (Pl011Check(i, 0) == 0) continue;
    for (uint32_t bit = 0; bit < 32; ++bit) {
      const AlignedMemory<4096> good = m.journal;
      m.state->registers[i] ^= uint32_t{1} << bit;
      const Result<Pl011Journal> found = AttachPl011State(m.journal.span());
      EXPECT_TRUE(found->damaged) << i << " " << bit;
      EXPECT_EQ(found->state->registers, kTable.reset_values());
      EXPECT_FALSE(AttachPl011State(m.journal.span())->damaged);
      m.journal = good;
    }
  }
}

// Whatever stands in the journal: the service works, and nothing outside is touched (the sanitizers see to that).
TEST(Pl011Restart, scribbled_journals_do_no_harm) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 3000; ++round) {
    UartMachine m;
    m.Enable();
    m.Print("before");
    m.ConsoleWrites("in");
    auto words = std::span(reinterpret_cast<uint32_t*>(m.journal.bytes), sizeof(Pl011State) / 4);
    const bool whole = round % 3 == 0;
    for (size_t i = 0; i < words.size(); ++i) {
      if (whole || random() % 16 == 0) words[i] = static_cast<uint32_t>(random());
    }
    if (round % 2 == 0) m.state->format = Pl011State::kFormat;
    m.BootBoth();
    EXPECT_FALSE(AttachPl011State(m.journal.span())->damaged);
    for (int i = 0; i < 100; ++i) {
      const auto index = static_cast<Register>(random() % kRegisterCount);
      m.Access(index, random() % 2 == 0, random(), random() % 4 == 0 ? m.state->token : random());
      if (i % 20 == 0) m.PassMicroseconds(1000);
    }
    m.ConsoleReads();
    m.Write(kCr, kOn);
    m.ConsoleReads();
    m.DrainInput();
    m.Write(kImsc, 0);
    EXPECT_FALSE(m.line.level);
    m.Print("works");
    EXPECT_EQ(m.ConsoleReads(), "works");
    m.ConsoleWrites("too");
    m.Write(kLcrH, kLcrHFifoEnable);
    EXPECT_EQ(m.DrainInput(), "too");
  }
}

}  // namespace
}  // namespace atoll
