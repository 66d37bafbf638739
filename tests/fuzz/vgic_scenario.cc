#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/fuzz/vgic_fuzz.h"
#include "tests/fuzz/vgic_model.h"
#include "tests/unit/vgic/virtual_machine.h"

namespace atoll {
namespace {

constexpr uint32_t kTimer = VirtualMachine::kTimer;
constexpr uint32_t kPpi = VirtualMachine::kEmulatedPpi;
constexpr uint32_t kIntids = 64;
constexpr uint32_t kSpurious = VirtualMachine::kSpurious;

class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> input) : input_(input) {}
  bool empty() const { return input_.empty(); }
  uint32_t Next() {
    if (input_.empty()) return 0;
    const uint32_t value = std::to_integer<uint32_t>(input_.front());
    input_ = input_.subspan(1);
    return value;
  }
  uint32_t Below(uint32_t end) { return Next() % end; }
  bool Flag() { return (Next() & 1) != 0; }
  uint64_t Word() {
    uint64_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | Next();
    return value;
  }

 private:
  std::span<const std::byte> input_;
};

class Scenario {
 public:
  explicit Scenario(Bytes& bytes)
      : bytes_(bytes),
        options_{.intids = kIntids,
                 .vcpus = std::array{1u, 1u, 2u, 3u}[bytes.Below(4)],
                 .list_registers = std::array{1u, 2u, 3u, 4u, 4u, 4u, 16u}[bytes.Below(7)]},
        vm_(options_),
        model_(kIntids, options_.vcpus),
        stacks_(options_.vcpus) {
    const bool quirk = bytes.Flag();
    for (uint32_t v = 0; v < options_.vcpus; ++v) vm_.cpu(v).counts_eoi_in_mode_1 = quirk;
    Open();
  }

  std::string Run() {
    while (!bytes_.empty() && error_.empty()) {
      Step();
      Check();
    }
    if (error_.empty()) Finish();
    return error_;
  }

 private:
  struct Running {
    uint32_t intid;
    uint32_t group;
    bool tainted;  // its active state was changed by other means since
  };

  void Fail(std::string what) {
    if (error_.empty()) error_ = what + " (step " + std::to_string(steps_) + ")";
  }
  VgicModel::Interrupt& At(uint32_t intid, uint32_t vcpu) { return model_.At(intid, vcpu); }

  // Everything enabled in Group 1 and open, as a started guest has it; steps change it.
  void Open() {
    vm_.TurnOn();
    model_.groups = 3;
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      for (uint32_t bank : {0x80u, 0x100u}) WriteBits(bank, 0, ~0u, v);
    }
    for (uint32_t bank : {0x80u, 0x100u}) WriteBits(bank, 32, ~0u, 0);
  }

  void WriteBits(uint32_t bank, uint32_t first, uint32_t value, uint32_t vcpu) {
    vm_.Write((first < 32 ? VirtualMachine::Sgi(vcpu) : 0) + bank + first / 8, value, 4, vcpu);
    for (uint32_t i = 0; i < 32; ++i) {
      VgicModel::Interrupt& interrupt = At(first + i, vcpu);
      const bool one = (value >> i) & 1;
      if (bank == 0x80) interrupt.group1 = one;
      if (!one) continue;
      switch (bank) {
        case 0x100: interrupt.enabled = true; break;
        case 0x180: interrupt.enabled = false; break;
        case 0x200: interrupt.latch = true; break;
        case 0x280: interrupt.latch = false; break;
        case 0x300:
          if (!interrupt.active) Taint(first + i, vcpu);
          interrupt.active = true;
          break;
        case 0x380:
          if (interrupt.active) Taint(first + i, vcpu);
          interrupt.active = false;
          break;
        default: break;
      }
    }
  }

  void Taint(uint32_t intid, uint32_t vcpu) {
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      if (intid < 32 && v != vcpu) continue;
      for (Running& running : stacks_[v]) running.tainted |= running.intid == intid;
    }
  }

  bool Loaded(uint32_t vcpu) { return vm_.gic().vcpu(vcpu).loaded(); }

  void Acknowledge(uint32_t vcpu) {
    if (!Loaded(vcpu)) return;
    const uint32_t group = vm_.Fiq(vcpu) ? 0 : 1;
    const VgicModel::Choice best = model_.Best(vcpu, vm_.cpu(vcpu).ReadMachineControl().groups());
    const bool signalled = group == 0 ? vm_.Fiq(vcpu) : vm_.Irq(vcpu);
    const uint32_t intid = vm_.Acknowledge(vcpu, group);
    if (!signalled) {
      if (intid != kSpurious) Fail("acknowledged without a signal");
      return;
    }
    if (!best.intids.contains(intid)) {
      Fail("acknowledged " + std::to_string(intid) + ", which is not of the best priority");
      return;
    }
    if ((At(intid, vcpu).group1 ? 1u : 0u) != group) Fail("acknowledged in the wrong group");
    model_.Acknowledge(intid, vcpu);
    stacks_[vcpu].push_back({intid, group, false});
  }

  void End(uint32_t vcpu) {
    if (!Loaded(vcpu) || stacks_[vcpu].empty()) return;
    const Running running = stacks_[vcpu].back();
    stacks_[vcpu].pop_back();
    const bool separate = vm_.cpu(vcpu).ReadMachineControl().separate_deactivation();
    vm_.End(running.intid, vcpu, running.group);
    if (separate) return;
    VgicModel::Interrupt& interrupt = At(running.intid, vcpu);
    if (running.tainted) {
      // Which activation an end belongs to is not defined then.
      interrupt.active = vm_.Active(running.intid, vcpu);
    } else {
      interrupt.active = false;
    }
  }

  void Deactivate(uint32_t intid, uint32_t vcpu) {
    if (!Loaded(vcpu)) return;
    vm_.Deactivate(intid, vcpu);
    if (!vm_.cpu(vcpu).ReadMachineControl().separate_deactivation()) return;
    if (At(intid, vcpu).active) Taint(intid, vcpu);
    At(intid, vcpu).active = false;
  }

  void SetTimer(uint32_t vcpu, bool level) {
    vm_.SetTimer(vcpu, level);
    At(kTimer, vcpu).line = level;
    // A timer that falls shows at the next exit only, which this is.
    vm_.Pending(kTimer, vcpu);
  }

  void Step() {
    ++steps_;
    const uint32_t vcpu = bytes_.Below(options_.vcpus);
    const uint32_t intid = bytes_.Below(kIntids);
    const uint32_t first = bytes_.Flag() ? 32 : 0;
    FakeVirtualInterface& cpu = vm_.cpu(vcpu);
    switch (bytes_.Below(28)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const bool level = bytes_.Flag();
        if (intid < 32) break;
        vm_.SetLine(intid, level);
        model_.SetLine(At(intid, vcpu), level);
        break;
      }
      case 4: {
        const bool level = bytes_.Flag();
        vm_.SetPrivateLine(vcpu, kPpi, level);
        model_.SetLine(At(kPpi, vcpu), level);
        break;
      }
      case 5: SetTimer(vcpu, bytes_.Flag()); break;
      case 6:
      case 7: {
        const uint32_t targets = bytes_.Next();
        vm_.SendSgi(targets | uint64_t{intid % 16} << 24, vcpu);
        for (uint32_t v = 0; v < options_.vcpus; ++v) {
          if ((targets >> v) & 1) At(intid % 16, v).latch = true;
        }
        break;
      }
      case 8:
        WriteBits(0x80, first, static_cast<uint32_t>(bytes_.Word() | bytes_.Word()), vcpu);
        break;
      case 9:
      case 10:
        WriteBits(0x100, first, static_cast<uint32_t>(bytes_.Word() | bytes_.Word()), vcpu);
        break;
      case 11:
        WriteBits(0x180, first, static_cast<uint32_t>(bytes_.Word() & bytes_.Word()), vcpu);
        break;
      case 12:
        WriteBits(0x200, first, static_cast<uint32_t>(bytes_.Word() & bytes_.Word()), vcpu);
        break;
      case 13:
        WriteBits(0x280, first, static_cast<uint32_t>(bytes_.Word() & bytes_.Word()), vcpu);
        break;
      case 14: WriteBits(0x300, intid & 32, 1u << (intid % 32), vcpu); break;
      case 15: WriteBits(0x380, intid & 32, static_cast<uint32_t>(bytes_.Word()), vcpu); break;
      case 16:
      case 17: {
        const uint32_t priority = bytes_.Next();
        vm_.SetPriority(intid, priority, vcpu);
        At(intid, vcpu).priority = priority & 0xF8;
        break;
      }
      case 18: {
        const uint64_t route = bytes_.Below(4);
        if (intid < 32) break;
        vm_.Route(intid, route);
        At(intid, vcpu).route = route;
        break;
      }
      case 19: {
        const bool edge = bytes_.Flag();
        if (intid < 32) break;
        vm_.SetEdge(intid, edge);
        At(intid, vcpu).edge = edge;
        break;
      }
      case 20:
      case 21:
      case 22: Acknowledge(vcpu); break;
      case 23: End(vcpu); break;
      case 24: Deactivate(intid, vcpu); break;
      case 25: {
        const uint32_t kind = bytes_.Below(6);
        const uint32_t value = bytes_.Next();
        if (!Loaded(vcpu)) break;
        if (kind >= 4 && !stacks_[vcpu].empty()) break;  // not while something runs
        vm_.OnCpu(vcpu, [&](FakeVirtualInterface& own) {
          if (kind == 0) own.WritePmr(value);
          if (kind == 1) own.WriteGroupEnable(0, value & 1);
          if (kind == 2 || kind == 3) own.WriteGroupEnable(1, value % 4 != 0);
          if (kind == 4) own.WriteBpr(value & 1, value >> 1);
          if (kind == 5) own.WriteCtlr(value & 1, value & 2);
        });
        break;
      }
      case 26: {
        const uint32_t groups = bytes_.Below(8);
        vm_.Write(0, groups | 2, 4, vcpu);
        model_.groups = (groups | 2) & 3;
        break;
      }
      case 27: Life(vcpu, bytes_.Below(16)); break;
    }
    (void)cpu;
  }

  void Life(uint32_t vcpu, uint32_t kind) {
    if (kind < 6) {
      if (Loaded(vcpu)) vm_.Move(vcpu);
    } else if (kind < 10) {
      vm_.Unload(vcpu);
    } else if (kind < 13) {
      vm_.Load(vcpu);
    } else if (kind == 13) {
      if (!Loaded(vcpu)) return;
      vm_.ResetVcpu(vcpu);
      stacks_[vcpu].clear();
      vm_.OnCpu(vcpu, [](FakeVirtualInterface& cpu) {
        cpu.WritePmr(0xff);
        cpu.WriteGroupEnable(1, true);
      });
    } else if (kind == 14) {
      Compare();
    } else if (bytes_.Below(8) == 0) {
      vm_.ResetAll();
      model_.Reset();
      for (uint32_t v = 0; v < options_.vcpus; ++v) {
        At(kTimer, v).line = false;
        stacks_[v].clear();
      }
      Open();
    }
  }

  // What the vCPUs are signalled, without any help of the kernel.
  void Check() {
    if (std::string violation = vm_.Violation(); !violation.empty()) Fail(violation);
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      if (!Loaded(v)) continue;
      for (uint32_t group : {0u, 1u}) {
        const VgicModel::Signal expected = model_.Signalled(v, group, vm_.cpu(v));
        const bool is = group == 0 ? vm_.Fiq(v) : vm_.Irq(v);
        if (expected == VgicModel::Signal::kEither || is == (expected == VgicModel::Signal::kYes))
          continue;
        Fail("vCPU " + std::to_string(v) + (is ? " is" : " is not") + " signalled Group " +
             std::to_string(group));
      }
    }
  }

  // All state as the guest reads it, and whether WFI would end.
  void Compare() {
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      for (uint32_t intid = 0; intid < kIntids; ++intid) {
        const VgicModel::Interrupt& expected = At(intid, v);
        const std::string name = std::to_string(intid) + " of vCPU " + std::to_string(v);
        if (vm_.Pending(intid, v) != expected.Pending()) Fail("pending state of " + name);
        if (vm_.Active(intid, v) != expected.active) Fail("active state of " + name);
        if (vm_.Bit(0x100, intid, v) != expected.enabled) Fail("enable of " + name);
        if (vm_.Bit(0x80, intid, v) != expected.group1) Fail("group of " + name);
      }
      if (!Loaded(v)) continue;
      const auto irq = model_.Signalled(v, 1, vm_.cpu(v));
      const auto fiq = model_.Signalled(v, 0, vm_.cpu(v));
      if (irq == VgicModel::Signal::kEither || fiq == VgicModel::Signal::kEither) continue;
      const bool expected = irq == VgicModel::Signal::kYes || fiq == VgicModel::Signal::kYes;
      if (vm_.Wakes(v) != expected) Fail("WFI of vCPU " + std::to_string(v));
    }
  }

  // Lets everything that pends come, and sees that nothing is left, lost or doubled.
  void Finish() {
    Compare();
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      vm_.Load(v);
      while (!stacks_[v].empty()) End(v);
      vm_.OnCpu(v, [](FakeVirtualInterface& cpu) { cpu.WriteCtlr(false, false); });
    }
    for (uint32_t v = 0; v < options_.vcpus; ++v) WriteBits(0x380, 0, ~0u, v);
    WriteBits(0x380, 32, ~0u, 0);
    vm_.Write(0, 3);
    model_.groups = 3;
    for (uint32_t intid = 32; intid < kIntids; ++intid) {
      vm_.Route(intid, 0);
      At(intid, 0).route = 0;
    }
    for (uint32_t v = 0; v < options_.vcpus; ++v) {
      vm_.OnCpu(v, [](FakeVirtualInterface& cpu) {
        cpu.WritePmr(0xff);
        cpu.WriteGroupEnable(0, true);
        cpu.WriteGroupEnable(1, true);
      });
      DrainAgainstModel(v);
    }
    Compare();
  }

  void DrainAgainstModel(uint32_t vcpu) {
    for (uint32_t n = 0; n < 10 * kIntids && error_.empty(); ++n) {
      Check();
      if (!vm_.Irq(vcpu) && !vm_.Fiq(vcpu)) return;
      Acknowledge(vcpu);
      if (!error_.empty()) return;
      const uint32_t intid = stacks_[vcpu].back().intid;
      VgicModel::Interrupt& interrupt = At(intid, vcpu);
      if (interrupt.line) {
        if (intid >= 32) {
          vm_.SetLine(intid, false);
          interrupt.line = false;
        } else if (intid == kTimer) {
          SetTimer(vcpu, false);
        } else {
          vm_.SetPrivateLine(vcpu, intid, false);
          interrupt.line = false;
        }
      }
      End(vcpu);
    }
    Fail("interrupts without end");
  }

  Bytes& bytes_;
  const VirtualMachine::Options options_;
  VirtualMachine vm_;
  VgicModel model_;
  std::vector<std::vector<Running>> stacks_;
  uint32_t steps_ = 0;
  std::string error_;
};

}  // namespace

std::string FuzzVgic(std::span<const std::byte> input) {
  Bytes bytes(input);
  return Scenario(bytes).Run();
}

std::string FuzzVgicRegisters(std::span<const std::byte> input) {
  Bytes bytes(input);
  VirtualMachine vm({.intids = std::array{64u, 96u, 1024u}[bytes.Below(3)], .vcpus = 3});
  vm.TurnOn();
  while (!bytes.empty()) {
    const uint32_t by = bytes.Below(3);
    const uint64_t frame =
        std::array{uint64_t{0},           VirtualMachine::Rd(0),  VirtualMachine::Sgi(0),
                   VirtualMachine::Rd(2), VirtualMachine::Sgi(1), VirtualMachine::Rd(3),
                   ~uint64_t{0xffff}}[bytes.Below(7)];
    const uint64_t offset = bytes.Flag() ? bytes.Word() & 0xffff : (bytes.Word() & 0x3ff) << 2;
    const uint32_t size = std::array{1u, 2u, 4u, 4u, 4u, 8u}[bytes.Below(6)];
    if (bytes.Flag()) {
      vm.Write(frame + offset, bytes.Word() << 32 | bytes.Word(), size, by);
    } else {
      const uint64_t value = vm.Read(frame + offset, size, by);
      if (size < 8 && value >> (size * 8) != 0) return "a load gives more bits than it has";
    }
    if (bytes.Below(4) == 0) vm.Acknowledge(by);
    if (bytes.Below(8) == 0) vm.SetLine(bytes.Next(), bytes.Flag());
    if (std::string violation = vm.Violation(); !violation.empty()) return violation;
  }
  vm.ResetAll();
  for (uint32_t intid = 32; intid < 256; ++intid) vm.SetLine(intid, false);
  for (uint32_t v = 0; v < 3; ++v) {
    if (vm.Irq(v) || vm.Fiq(v)) return "signalled after a reset";
  }
  vm.TurnOn();
  vm.Configure(40, 0x80, 2);
  vm.SetLine(40, true);
  if (vm.Acknowledge(2) != 40) return "no interrupt after a reset";
  return vm.Violation();
}

}  // namespace atoll
