// Vectors of the interrupt measurements; see bench.cc for the registers.
.section .text, "ax"
.balign 0x800
.global bench_vectors
bench_vectors:
  .rept 5
  b .
  .balign 0x80
  .endr
  // Current EL with SP_ELx: IRQ.
  mrs x10, cntvct_el0
  mrs x9, icc_iar1_el1
  cbz x13, 1f
  msr cntv_ctl_el0, xzr
  isb
1:
  msr icc_eoir1_el1, x9
  add x11, x11, #1
  eret
  .balign 0x80
  .rept 10
  b .
  .balign 0x80
  .endr
