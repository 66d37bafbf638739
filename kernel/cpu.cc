#include "kernel/cpu.h"

#include "kernel/machine/gic_cpu_interface.h"
#include "kernel/machine/timer.h"

namespace atoll {

constinit std::array<Cpu, kMaxCpus> cpus;

extern "C" {
[[gnu::section(".data.kernel_lock")]] constinit KernelLock kernel_lock;
}

namespace {

void ServeRemote(Cpu& cpu) {
  // Acquire: the argument, and all that the asking CPU wrote before.
  const RemoteFunction function = cpu.remote.load(std::memory_order_acquire);
  if (function == nullptr) return;
  function(cpu.remote_argument);
  cpu.remote.store(nullptr, std::memory_order_release);
}

}  // namespace

void KernelLock::LockContended(Cpu& cpu) {
  const uint64_t since = CntpctEl0::Read();
  do {
    while (word_.load(std::memory_order_relaxed) != nullptr) {
      ServeRemote(cpu);
      asm volatile("yield");
    }
  } while (word_.exchange(&cpu, std::memory_order_acquire) != nullptr);
  ++cpu.contended;
  cpu.contended_ticks += CntpctEl0::Read() - since;
}

void OnCpu(Cpu& cpu, RemoteFunction function, void* argument) {
  if (&cpu == &Cpu::This()) return function(argument);
  cpu.remote_argument = argument;
  cpu.remote.store(function, std::memory_order_release);
  gic::SendSgi(kInterruptSgi, cpu.affinity);
  // It comes: it is at EL0 or EL1 with physical interrupts on, sleeps, or waits for the lock that we hold.
  while (cpu.remote.load(std::memory_order_acquire) != nullptr) asm volatile("yield");
}

void Interrupt(Cpu& cpu) { gic::SendSgi(kInterruptSgi, cpu.affinity); }

}  // namespace atoll
