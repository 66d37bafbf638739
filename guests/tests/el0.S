// uint64_t RunAtEl0(entry, argument, spsr): entry runs at EL0 on a stack of its own and ends with svc, which the handler of
// exceptions answers by going on at El0Return.
.global RunAtEl0
RunAtEl0:
  stp x29, x30, [sp, #-96]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  mrs x20, sp_el0
  mrs x21, elr_el1
  mrs x22, spsr_el1
  stp x20, x21, [sp, #-32]!
  str x22, [sp, #16]
  adrp x3, el0_stack_top
  add x3, x3, :lo12:el0_stack_top
  msr sp_el0, x3
  msr elr_el1, x0
  msr spsr_el1, x2
  mov x0, x1
  adr x30, 1f
  eret
1:
  svc #0
.global El0Return
El0Return:
  ldr x22, [sp, #16]
  ldp x20, x21, [sp], #32
  msr sp_el0, x20
  msr elr_el1, x21
  msr spsr_el1, x22
  ldp x27, x28, [sp, #80]
  ldp x25, x26, [sp, #64]
  ldp x23, x24, [sp, #48]
  ldp x21, x22, [sp, #32]
  ldp x19, x20, [sp, #16]
  ldp x29, x30, [sp], #96
  ret

.section .bss.el0_stack
.balign 16
  .space 16384
el0_stack_top:
