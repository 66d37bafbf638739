// Entry of a bare-metal guest: a flat binary at RAM base + 0x80000, at EL1 with x0 = device tree, MMU off.
.section .text.start, "ax"
.global _start
_start:
  mov x20, x1
  mov x21, x2
  mov x22, x3
  adrp x1, stack_top
  add x1, x1, :lo12:stack_top
  mov sp, x1
  adrp x2, bss_start
  add x2, x2, :lo12:bss_start
  adrp x3, bss_end
  add x3, x3, :lo12:bss_end
1:
  cmp x2, x3
  b.hs 2f
  stp xzr, xzr, [x2], #16
  b 1b
2:
  adrp x2, boot_registers
  add x2, x2, :lo12:boot_registers
  stp x0, x20, [x2]
  stp x21, x22, [x2, #16]
  adrp x2, vectors
  add x2, x2, :lo12:vectors
  msr vbar_el1, x2
  mov x2, #(3 << 20)        // CPACR_EL1.FPEN: no traps
  msr cpacr_el1, x2
  isb
  bl GuestMain
  ldr x0, =0x84000008       // PSCI SYSTEM_OFF
  hvc #0
3:
  wfi
  b 3b

// A further vCPU: x0 = its stack top, given as CPU_ON's context.
.global secondary_start
secondary_start:
  mov sp, x0
  adrp x2, vectors
  add x2, x2, :lo12:vectors
  msr vbar_el1, x2
  isb
  bl SecondaryMain
4:
  ldr x0, =0x84000002       // PSCI CPU_OFF
  hvc #0
  b 4b

// Every exception comes to HandleException(frame, vector 0-15); the frame is struct bare::Frame.
.macro entry number
  .balign 0x80
  sub sp, sp, #288
  stp x0, x1, [sp]
  mov x0, #\number
  b save
.endm

.balign 0x800
vectors:
  entry 0
  entry 1
  entry 2
  entry 3
  entry 4
  entry 5
  entry 6
  entry 7
  entry 8
  entry 9
  entry 10
  entry 11
  entry 12
  entry 13
  entry 14
  entry 15

save:
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x19, [sp, #144]
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  stp x28, x29, [sp, #224]
  mrs x2, elr_el1
  mrs x3, spsr_el1
  stp x30, x2, [sp, #240]
  mrs x4, esr_el1
  stp x3, x4, [sp, #256]
  mrs x2, far_el1
  str x2, [sp, #272]
  mov x1, x0
  mov x0, sp
  bl HandleException
  ldp x30, x2, [sp, #240]
  ldr x3, [sp, #256]
  msr elr_el1, x2
  msr spsr_el1, x3
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x19, [sp, #144]
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldp x28, x29, [sp, #224]
  ldp x0, x1, [sp]
  add sp, sp, #288
  eret

.section .bss
.global boot_registers
boot_registers:             // x0-x3 as the guest was entered with
  .space 32
.balign 4096
  .space 65536
stack_top:
