// V0-V31, FPCR, FPSR to and from FpContext (el1_context.h). The kernel is compiled without FP; only
// these two functions touch it. Live: x0 = context; clobbers x9, x10, and V0-V31 in LoadFpContext.
// EL2 itself is never trapped by CPTR_EL2.FPEN = 0b01.
.arch armv8.1-a+fp+simd

.macro all_vectors instruction
  \instruction q0, q1, [x0, #0]
  \instruction q2, q3, [x0, #32]
  \instruction q4, q5, [x0, #64]
  \instruction q6, q7, [x0, #96]
  \instruction q8, q9, [x0, #128]
  \instruction q10, q11, [x0, #160]
  \instruction q12, q13, [x0, #192]
  \instruction q14, q15, [x0, #224]
  \instruction q16, q17, [x0, #256]
  \instruction q18, q19, [x0, #288]
  \instruction q20, q21, [x0, #320]
  \instruction q22, q23, [x0, #352]
  \instruction q24, q25, [x0, #384]
  \instruction q26, q27, [x0, #416]
  \instruction q28, q29, [x0, #448]
  \instruction q30, q31, [x0, #480]
.endm

.section .text.SaveFpContext, "ax"
.global SaveFpContext
.type SaveFpContext, %function
SaveFpContext:
  all_vectors stp
  mrs x9, fpcr
  mrs x10, fpsr
  add x0, x0, #512
  stp x9, x10, [x0]
  ret

.section .text.LoadFpContext, "ax"
.global LoadFpContext
.type LoadFpContext, %function
LoadFpContext:
  all_vectors ldp
  add x0, x0, #512
  ldp x9, x10, [x0]
  msr fpcr, x9
  msr fpsr, x10
  ret
