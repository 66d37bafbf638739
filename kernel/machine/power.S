// The last instructions of the machine. Position independent: runs at physical and virtual
// addresses.

#define SEMIHOSTING_SYS_EXIT_EXTENDED 0x20       // Arm semihosting 3.0, 7.11
#define ADP_STOPPED_APPLICATION_EXIT  0x20026
#define PSCI_SYSTEM_OFF               0x84000008 // DEN0022 5.1.9
#define CURRENTEL_EL2                 (2 << 2)
#define CONDUIT_SMC                   1
#define CONDUIT_HVC                   2

  .section .text.power_off, "ax"
// A vector table of which only one entry is ever used: synchronous exceptions of the current level,
// at 0x200; everything else is masked. The code is in the space before it.
  .balign 2048
  .globl power_off_vectors, power_off
power_off_vectors:
// power_off(w0 = status). Live: sp. Never returns.
power_off:
  msr   daifset, #0xf
  mov   w19, w0
  adr   x1, power_off_vectors     // HLT without semihosting is undefined: go on at psci_system_off
  mrs   x2, CurrentEL
  cmp   x2, #CURRENTEL_EL2
  b.eq  1f
  msr   vbar_el1, x1
  b     2f
1:
  msr   vbar_el2, x1
2:
  isb
  cbz   w19, psci_system_off
  mov   x3, #(ADP_STOPPED_APPLICATION_EXIT & 0xffff)
  movk  x3, #(ADP_STOPPED_APPLICATION_EXIT >> 16), lsl #16
  stp   x3, x19, [sp, #-16]!
  mov   w0, #SEMIHOSTING_SYS_EXIT_EXTENDED
  mov   x1, sp
  hlt   #0xf000
  // Fall through: a debugger may step over the HLT.

psci_system_off:
  mov   w0, #(PSCI_SYSTEM_OFF & 0xffff)
  movk  w0, #(PSCI_SYSTEM_OFF >> 16), lsl #16
  adrp  x1, psci_conduit
  ldr   w1, [x1, :lo12:psci_conduit]
  cmp   w1, #CONDUIT_SMC
  b.eq  3f
  cmp   w1, #CONDUIT_HVC
  b.eq  4f
  mrs   x2, CurrentEL
  cmp   x2, #CURRENTEL_EL2
  b.ne  4f
3:
  smc   #0
  b     5f
4:
  hvc   #0
5:                                // the firmware refused; nobody is left to tell
  wfi
  b     5b

  .org  power_off_vectors + 0x200
  b     psci_system_off
