// What a vCPU holds in registers that C++ cannot name or would use itself.
.arch armv8.2-a+fp+simd

// void FillVectors(const uint64_t pattern[66]): V0-V31, FPCR, FPSR.
.global FillVectors
FillVectors:
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  ldr q\n, [x0, #\n * 16]
  .endr
  ldr x1, [x0, #512]
  msr fpcr, x1
  ldr x1, [x0, #520]
  msr fpsr, x1
  ret

// void StoreVectors(uint64_t into[66])
.global StoreVectors
StoreVectors:
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  str q\n, [x0, #\n * 16]
  .endr
  mrs x1, fpcr
  str x1, [x0, #512]
  mrs x1, fpsr
  str x1, [x0, #520]
  ret

// void HoldGeneral(const uint64_t pattern[32], uint64_t after[32], exit, argument): x2-x30 and NZCV get the pattern, then
// exit 0 does an HVC of function `argument`, 1 an SMC, 2 loads from and 3 stores to the address `argument` (32 bits),
// 4 spins until the word at `argument` is not 0, and all registers are stored. x0 and x1 are the exits' own.
.global HoldGeneral
HoldGeneral:
  stp x29, x30, [sp, #-112]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  str x1, [sp, #96]
  str x2, [sp, #104]
  mov x1, x3
  ldr x2, [x0, #31 * 8]
  msr nzcv, x2
  ldp x2, x3, [x0, #2 * 8]
  ldp x4, x5, [x0, #4 * 8]
  ldp x6, x7, [x0, #6 * 8]
  ldp x8, x9, [x0, #8 * 8]
  ldp x10, x11, [x0, #10 * 8]
  ldp x12, x13, [x0, #12 * 8]
  ldp x14, x15, [x0, #14 * 8]
  ldp x16, x17, [x0, #16 * 8]
  ldp x18, x19, [x0, #18 * 8]
  ldp x20, x21, [x0, #20 * 8]
  ldp x22, x23, [x0, #22 * 8]
  ldp x24, x25, [x0, #24 * 8]
  ldp x26, x27, [x0, #26 * 8]
  ldp x28, x29, [x0, #28 * 8]
  ldr x30, [x0, #30 * 8]
  ldr x0, [sp, #104]
  cbz x0, 10f
  sub x0, x0, #1
  cbz x0, 11f
  sub x0, x0, #1
  cbz x0, 12f
  sub x0, x0, #1
  cbz x0, 13f
14:
  ldr w0, [x1]
  cbz w0, 14b
  b 20f
10:
  mov x0, x1
  hvc #0
  b 20f
11:
  mov x0, x1
  smc #0
  b 20f
12:
  ldr w0, [x1]
  b 20f
13:
  str wzr, [x1]
20:
  ldr x0, [sp, #96]
  stp x2, x3, [x0, #2 * 8]
  stp x4, x5, [x0, #4 * 8]
  stp x6, x7, [x0, #6 * 8]
  stp x8, x9, [x0, #8 * 8]
  stp x10, x11, [x0, #10 * 8]
  stp x12, x13, [x0, #12 * 8]
  stp x14, x15, [x0, #14 * 8]
  stp x16, x17, [x0, #16 * 8]
  stp x18, x19, [x0, #18 * 8]
  stp x20, x21, [x0, #20 * 8]
  stp x22, x23, [x0, #22 * 8]
  stp x24, x25, [x0, #24 * 8]
  stp x26, x27, [x0, #26 * 8]
  stp x28, x29, [x0, #28 * 8]
  str x30, [x0, #30 * 8]
  mrs x1, nzcv
  str x1, [x0, #31 * 8]
  ldp x27, x28, [sp, #80]
  ldp x25, x26, [sp, #64]
  ldp x23, x24, [sp, #48]
  ldp x21, x22, [sp, #32]
  ldp x19, x20, [sp, #16]
  ldp x29, x30, [sp], #112
  ret

// Entry point of a vCPU: stores what it starts with at its context id (bare::StartState), then turns itself off.
.global StoreStartState
StoreStartState:
  stp x1, x2, [x0, #1 * 8]
  stp x3, x4, [x0, #3 * 8]
  stp x5, x6, [x0, #5 * 8]
  stp x7, x8, [x0, #7 * 8]
  stp x9, x10, [x0, #9 * 8]
  stp x11, x12, [x0, #11 * 8]
  stp x13, x14, [x0, #13 * 8]
  stp x15, x16, [x0, #15 * 8]
  stp x17, x18, [x0, #17 * 8]
  stp x19, x20, [x0, #19 * 8]
  stp x21, x22, [x0, #21 * 8]
  stp x23, x24, [x0, #23 * 8]
  stp x25, x26, [x0, #25 * 8]
  stp x27, x28, [x0, #27 * 8]
  stp x29, x30, [x0, #29 * 8]
  str x0, [x0]
  mov x1, sp
  str x1, [x0, #31 * 8]
  add x2, x0, #32 * 8
  .irp name, currentel, spsel, daif, sctlr_el1, cpacr_el1, cntv_ctl_el0, cntp_ctl_el0, icc_pmr_el1, icc_igrpen0_el1, icc_igrpen1_el1, mdscr_el1, vbar_el1, ttbr0_el1, tcr_el1, cntkctl_el1, sp_el0, elr_el1, spsr_el1, esr_el1, far_el1, tpidr_el0, tpidr_el1, tpidrro_el0, contextidr_el1, par_el1, nzcv
  mrs x1, \name
  str x1, [x2], #8
  .endr
  // FP is off as after a reset; what it holds is nobody's.
  mov x1, #(3 << 20)
  msr cpacr_el1, x1
  isb
  add x2, x0, #64 * 8
  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  str q\n, [x2], #16
  .endr
  dsb sy
  ldr x0, =0x84000002       // PSCI CPU_OFF
  hvc #0
  b .
