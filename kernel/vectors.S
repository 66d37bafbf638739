// Exception vectors, saving and restoring of threads, and the way between threads.
//
// While a thread runs below EL2, SP_EL2 points at its Frame. The fast path (kernel/fast_path.cc) runs on the
// scratch space below the frame, everything else on the CPU's stack. Interrupts stay masked at EL2.
// Live on entry from below: all the thread's registers; so x16/x17 go to the frame first.
#include "kernel/offsets.h"

.macro save_general_but_x16_x17
  stp x0, x1, [sp, #FRAME_X0]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x18, x19, [sp, #FRAME_X18]
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  stp x28, x29, [sp, #224]
  mrs x8, sp_el0
  mrs x9, elr_el2
  mrs x10, spsr_el2
  mrs x11, tpidr_el0
  mrs x12, tpidrro_el0
  stp x30, x8, [sp, #FRAME_X30]
  stp x9, x10, [sp, #FRAME_PC]
  stp x11, x12, [sp, #FRAME_TPIDR]
.endm

// To the CPU's stack; keeps x0-x15.
.macro to_cpu_stack
  mrs x16, tpidr_el2
  ldr x17, [x16, #CPU_STACK_TOP]
  mov sp, x17
  mov x29, xzr              // end of the frame chain for backtraces
.endm

// Gives the kernel lock back: from here on another CPU may do as it likes with everything but this CPU's current
// thread, on whose frame SP is already. What this CPU wrote is visible to who takes it next.
.macro release_kernel_lock
  adrp x17, kernel_lock     // at the start of a page: kernel.ld
  stlr xzr, [x17]
.endm

// One entry of the table has room for 32 instructions. Most need one; the code that they lead to fills the rest of the
// table, for the kernel is small.
.macro vector number
  .org ExceptionVectors + \number * 0x80
.endm

.section .text.vectors, "ax"
.balign 0x800
.global ExceptionVectors
ExceptionVectors:
// ---- 0-7: from EL2 itself, never expected -------------------------------------------------------
vector 0                    // SP_EL0: synchronous
  b kernel_exception

// x0 = the thread to run, made current by C++; all of its state comes from the frame.
.global Resume
Resume:
resume:
  add sp, x0, #THREAD_FRAME
  release_kernel_lock
  ldp x30, x8, [sp, #FRAME_X30]
  ldp x9, x10, [sp, #FRAME_PC]
  ldp x11, x12, [sp, #FRAME_TPIDR]
  msr sp_el0, x8
  msr elr_el2, x9
  msr spsr_el2, x10
  msr tpidr_el0, x11
  msr tpidrro_el0, x12
  ldp x0, x1, [sp, #FRAME_X0]
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #FRAME_X16]
  ldp x18, x19, [sp, #FRAME_X18]
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldp x28, x29, [sp, #224]
  eret                      // synchronises HCR_EL2, TTBR0_EL2 and what else was written
  dsb nsh                   // no speculation past eret (straight-line)
  isb

vector 1                    // IRQ
  b kernel_exception

// To the task that Cpu::current names, with x0-x7 as they are: a message never touches memory. x8-x18 come
// from its own frame (x8-x10: badge, token, attempt), so nothing of the caller or of EL2 leaks.
.global Deliver
Deliver:
  mrs x16, tpidr_el2
  ldr x16, [x16, #CPU_CURRENT]
  add sp, x16, #THREAD_FRAME
  release_kernel_lock
  ldp x30, x8, [sp, #FRAME_X30]
  ldp x9, x10, [sp, #FRAME_PC]
  ldr x11, [sp, #FRAME_TPIDR]
  msr sp_el0, x8
  msr elr_el2, x9
  msr spsr_el2, x10
  msr tpidr_el0, x11
  msr tpidrro_el0, xzr
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #FRAME_X16]
  ldp x18, x19, [sp, #FRAME_X18]
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldp x28, x29, [sp, #224]
  eret
  dsb nsh
  isb

vector 2                    // FIQ
  b kernel_exception

// A fault of the kernel's own. SP may be bad (stack overflow), so the report runs on the emergency stack;
// SP_EL0 holds x0 meanwhile: no thread will be resumed.
kernel_exception:
  msr sp_el0, x0
  mrs x0, tpidr_el2
  ldr x0, [x0, #CPU_EMERGENCY_STACK_TOP]
  sub x0, x0, #304          // PanicFrame: x0-x30, sp, elr, spsr, esr, far; 16-byte aligned
  stp x1, x2, [x0, #8]
  mov x1, sp
  mov sp, x0
  str x1, [sp, #248]
  mrs x0, sp_el0
  str x0, [sp, #0]
  stp x3, x4, [sp, #24]
  stp x5, x6, [sp, #40]
  stp x7, x8, [sp, #56]
  stp x9, x10, [sp, #72]
  stp x11, x12, [sp, #88]
  stp x13, x14, [sp, #104]
  b kernel_exception_2

vector 3                    // SError
  b kernel_exception

kernel_exception_2:
  stp x15, x16, [sp, #120]
  stp x17, x18, [sp, #136]
  stp x19, x20, [sp, #152]
  stp x21, x22, [sp, #168]
  stp x23, x24, [sp, #184]
  stp x25, x26, [sp, #200]
  stp x27, x28, [sp, #216]
  stp x29, x30, [sp, #232]
  mrs x1, elr_el2
  mrs x2, spsr_el2
  mrs x3, esr_el2
  mrs x4, far_el2
  stp x1, x2, [sp, #256]
  stp x3, x4, [sp, #272]
  mov x0, sp
  bl HandleKernelException
  b kernel_exception_3

vector 4                    // SP_EL2: synchronous, IRQ, FIQ, SError
  b kernel_exception

kernel_exception_3:
  // It returns only after a fixed-up probe (see kernel/machine/power.cc): go on at the changed ELR.
  ldr x1, [sp, #256]
  msr elr_el2, x1
  ldp x3, x4, [sp, #24]
  ldp x5, x6, [sp, #40]
  ldp x7, x8, [sp, #56]
  ldp x9, x10, [sp, #72]
  ldp x11, x12, [sp, #88]
  ldp x13, x14, [sp, #104]
  ldp x15, x16, [sp, #120]
  ldp x17, x18, [sp, #136]
  ldp x29, x30, [sp, #232]
  mov x0, sp
  ldr x1, [x0, #248]
  mov sp, x1
  ldp x1, x2, [x0, #8]
  ldr x0, [x0, #0]
  eret

vector 5
  b kernel_exception
vector 6
  b kernel_exception
vector 7
  b kernel_exception

// ---- 8-11: from a task or a guest, AArch64 ------------------------------------------------------
// Synchronous. System calls and hypercalls are told apart here, since they need not save everything.
vector 8
  stp x16, x17, [sp, #FRAME_X16]
  mrs x16, esr_el2
  lsr w17, w16, #26
  cmp w17, #EC_SVC64
  b.eq task_call
  cmp w17, #EC_DATA_ABORT_LOWER
  b.eq data_abort
  cmp w17, #EC_HVC64
  b.eq guest_hypercall
  b lower_synchronous

// svc of a task: x0-x7 message, x8 number. x9-x18 are the caller's to lose, so they are not saved.
// PAN is set by the exception (SCTLR_EL2.SPAN = 0).
task_call:
  stp x19, x20, [sp, #FRAME_X19]
  stp x21, x22, [sp, #168]
  stp x23, x24, [sp, #184]
  stp x25, x26, [sp, #200]
  stp x27, x28, [sp, #216]
  stp x29, x30, [sp, #232]
  mrs x9, sp_el0
  mrs x10, elr_el2
  mrs x11, spsr_el2
  mrs x12, tpidr_el0
  stp x9, x10, [sp, #FRAME_SP]
  stp x11, x12, [sp, #FRAME_PSTATE]
  cmp x8, #2                // abi::kReplyWait
  b.eq FastReplyWait
  cmp x8, #1                // abi::kCall
  b.eq FastCall
  // Another call: fall through with its number in x8.
  str x8, [sp, #FRAME_X8]
  b SlowTaskCall

vector 9
lower_irq:
  stp x16, x17, [sp, #FRAME_X16]
  msr pan, #1
  save_general_but_x16_x17
  to_cpu_stack
  bl HandleInterrupt
  b resume

vector 10                   // FIQ: with one Security state the GIC signals only IRQs; taken alike
  b lower_irq

data_abort:                 // of a guest, or a task's own fault
  msr pan, #1
  save_general_but_x16_x17
  mov x0, x16
  b FastDataAbort

vector 11
lower_serror:
  stp x16, x17, [sp, #FRAME_X16]
  msr pan, #1
  save_general_but_x16_x17
  to_cpu_stack
  bl HandleSystemError
  b resume

// ---- 12-15: from a guest's EL0 in AArch32, if the CPU has it ------------------------------------
vector 12
  stp x16, x17, [sp, #FRAME_X16]
  mrs x16, esr_el2
  b lower_synchronous

// hvc of a guest: everything is saved, since what stays live a service could read or change.
guest_hypercall:
  msr pan, #1               // not set on entry from a guest (TGE = 0)
  save_general_but_x16_x17
  tst w16, #0xffff          // the immediate: only 0 is a call
  b.eq FastHypercall
  b SlowExit

vector 13
  b lower_irq

lower_synchronous:
  msr pan, #1
  save_general_but_x16_x17
.global SlowExit
SlowExit:                   // everything is in the frame; the syndrome registers are still there
  to_cpu_stack
  bl HandleSynchronous
  b resume

vector 14
  b lower_irq

// The fast path's ways out. Each is entered by a tail call with the arguments of the function left:
// x0-x7 as the task gave them. x8 is rewritten from what the function was.
.global SlowCall
SlowCall:
  mov x8, #1
  b store_arguments
.global SlowReplyWait
SlowReplyWait:
  mov x8, #2
store_arguments:
  str x8, [sp, #FRAME_X8]
SlowTaskCall:
  stp x0, x1, [sp, #FRAME_X0]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  to_cpu_stack
  bl HandleTaskCall
  b resume

vector 15
  b lower_serror
.org ExceptionVectors + 0x800
