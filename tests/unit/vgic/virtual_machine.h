// A VM around the real kernel logic and the real register file: what the kernel's core does at exits, kicks
// and entries, with a model of the hardware below.
//
// Every vCPU has a CPU of its own on which it is always loaded, unless Unload was called. The guest side runs
// without any help of the kernel until a kick, a maintenance interrupt or an exit of its own, as on hardware.
#ifndef ATOLL_TESTS_UNIT_VGIC_VIRTUAL_MACHINE_H_
#define ATOLL_TESTS_UNIT_VGIC_VIRTUAL_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/vgic/virtual_gic.h"
#include "services/vgic/register_file.h"
#include "tests/unit/vgic/fake_virtual_interface.h"

namespace atoll {

struct VirtualMachineOptions {
  uint32_t intids = 128;
  uint32_t vcpus = 1;
  uint32_t list_registers = 4;
};

class VirtualMachine : public InterruptState {
 public:
  static constexpr uint32_t kSpurious = FakeVirtualInterface::kSpurious;
  static constexpr uint32_t kTimer = 27;        // PPI, mapped to the physical PPI of that number
  static constexpr uint32_t kEmulatedPpi = 23;  // any PPI that is not mapped

  using Options = VirtualMachineOptions;
  explicit VirtualMachine(Options options = {});

  // ---- the guest's memory-mapped accesses, made by vCPU `by` --------------------------------------------
  uint64_t Read(uint64_t offset, uint32_t size = 4, uint32_t by = 0);
  void Write(uint64_t offset, uint64_t value, uint32_t size = 4, uint32_t by = 0);
  static constexpr uint64_t Rd(uint32_t vcpu) { return 0xA0000 + vcpu * uint64_t{0x20000}; }
  static constexpr uint64_t Sgi(uint32_t vcpu) { return Rd(vcpu) + 0x10000; }

  // Register and bit of an interrupt; those below 32 are vCPU `vcpu`'s.
  bool Bit(uint64_t bank, uint32_t intid, uint32_t vcpu = 0);
  void SetBit(uint64_t bank, uint32_t intid, uint32_t vcpu = 0);
  bool Pending(uint32_t intid, uint32_t vcpu = 0) { return Bit(0x200, intid, vcpu); }
  bool Active(uint32_t intid, uint32_t vcpu = 0) { return Bit(0x300, intid, vcpu); }
  void SetPriority(uint32_t intid, uint32_t priority, uint32_t vcpu = 0);
  void SetGroup(uint32_t intid, uint32_t group, uint32_t vcpu = 0);
  void SetEdge(uint32_t intid, bool edge);
  void Route(uint32_t intid, uint64_t affinity);
  // Group 1, this priority, enabled; an SPI is routed to the vCPU.
  void Configure(uint32_t intid, uint32_t priority, uint32_t vcpu = 0);
  // GICD_CTLR and every CPU interface on, PMR open.
  void TurnOn();

  // ---- the guest's CPU interface ------------------------------------------------------------------------
  bool Irq(uint32_t vcpu = 0) const { return cpus_[vcpu].Irq(); }
  bool Fiq(uint32_t vcpu = 0) const { return cpus_[vcpu].Fiq(); }
  uint32_t Acknowledge(uint32_t vcpu = 0, uint32_t group = 1);
  void End(uint32_t intid, uint32_t vcpu = 0, uint32_t group = 1);
  void Deactivate(uint32_t intid, uint32_t vcpu = 0);
  void SendSgi(uint64_t value, uint32_t vcpu = 0, SgiRegister which = SgiRegister::kSgi1);
  template <typename Operation>
  void OnCpu(uint32_t vcpu, Operation operation) {
    operation(cpus_[vcpu]);
    Settle(vcpu);
  }
  // Acknowledges and ends until nothing is signalled; lowers lines if asked.
  std::vector<uint32_t> Drain(uint32_t vcpu = 0, bool lower_lines = false);
  // Would WFI end now?
  bool Wakes(uint32_t vcpu = 0);

  // ---- sources --------------------------------------------------------------------------------------------
  void SetLine(uint32_t intid, bool level);
  void SetPrivateLine(uint32_t vcpu, uint32_t intid, bool level) {
    Take(gic_->vcpu(vcpu).SetPrivateLine(intid, level));
  }
  // Output of the vCPU's timer. While the vCPU is loaded it is a physical interrupt.
  void SetTimer(uint32_t vcpu, bool level);

  // ---- life -------------------------------------------------------------------------------------------------
  void Unload(uint32_t vcpu);
  void Load(uint32_t vcpu);
  void Move(uint32_t vcpu);  // to a fresh CPU
  void ResetVcpu(uint32_t vcpu);
  void ResetAll();
  // A vCPU's exit and entry, without which it does not see what it was not kicked for.
  void Exit(uint32_t vcpu);

  // InterruptState: what the kernel's calls do.
  Result<uint64_t> Get(InterruptField field, uint32_t first, uint32_t count,
                       uint32_t vcpu) override;
  Status Set(InterruptField field, uint32_t first, uint64_t mask, uint64_t value,
             uint32_t vcpu) override;

  VirtualGic& gic() { return *gic_; }
  // What is done to these directly is not followed by an exit.
  FakeVirtualInterface& cpu(uint32_t vcpu) { return cpus_[vcpu]; }
  RegisterFile& registers() { return *registers_; }
  uint32_t vcpus() const { return options_.vcpus; }
  uint64_t kernel_calls() const { return kernel_calls_; }
  uint64_t maintenance_interrupts() const { return maintenance_; }
  // Result of the last SetLine or SendSgi.
  VcpuMask last_kicks() const { return last_kicks_; }

  // Empty: no list register is used against its rules, none holds an interrupt that another holds too.
  std::string Violation() const;

 private:
  void Take(VcpuMask kicks);
  void Settle(uint32_t vcpu);
  // Brings vCPUs to rest for Get and Set; they go on with Take(the result).
  VcpuMask Rest(InterruptField field, uint32_t first, uint32_t count, uint32_t vcpu);

  const Options options_;
  std::vector<uint64_t> affinities_;
  std::vector<std::byte> memory_;
  VirtualGic* gic_ = nullptr;
  std::deque<FakeVirtualInterface> cpus_;
  std::unique_ptr<RegisterFile> registers_;
  std::vector<bool> timer_;
  uint64_t kernel_calls_ = 0;
  uint64_t maintenance_ = 0;
  VcpuMask last_kicks_ = 0;
  bool stuck_ = false;
};

}  // namespace atoll

#endif  // ATOLL_TESTS_UNIT_VGIC_VIRTUAL_MACHINE_H_
