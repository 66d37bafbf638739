// Exception vectors until the kernel's own are installed: every exception is a bug, and reported.
#include "kernel/boot/stack_layout.h"

#define PANIC_FRAME_BYTES 288   // PanicFrame, kernel/log/panic.h

  .section .boot.text, "ax"
  .balign 2048
  .globl boot_vectors
boot_vectors:
  .rept 16
  b     boot_exception
  .balign 128
  .endr

// Live: all registers. SP may be the fault's cause, so the report runs on the emergency stack;
// SP_EL0 is unused before the first task and holds x0 meanwhile.
boot_exception:
  msr   sp_el0, x0
  adrp  x0, kernel_stacks + ATOLL_EMERGENCY_STACK_TOP - PANIC_FRAME_BYTES
  add   x0, x0, #:lo12:(kernel_stacks + ATOLL_EMERGENCY_STACK_TOP - PANIC_FRAME_BYTES)
  stp   x1, x2, [x0, #8]
  stp   x3, x4, [x0, #24]
  stp   x5, x6, [x0, #40]
  stp   x7, x8, [x0, #56]
  stp   x9, x10, [x0, #72]
  stp   x11, x12, [x0, #88]
  stp   x13, x14, [x0, #104]
  stp   x15, x16, [x0, #120]
  stp   x17, x18, [x0, #136]
  stp   x19, x20, [x0, #152]
  stp   x21, x22, [x0, #168]
  stp   x23, x24, [x0, #184]
  stp   x25, x26, [x0, #200]
  stp   x27, x28, [x0, #216]
  stp   x29, x30, [x0, #232]
  mrs   x1, sp_el0
  str   x1, [x0, #0]
  mov   x1, sp
  mrs   x2, elr_el2
  stp   x1, x2, [x0, #248]
  mrs   x1, spsr_el2
  mrs   x2, esr_el2
  stp   x1, x2, [x0, #264]
  mrs   x1, far_el2
  str   x1, [x0, #280]
  mov   sp, x0
  b     boot_panic
