// Kernel entries with every register under control.

// void CallWithRegisters(uint64_t* x): x0-x28 and x30 from the array, svc #0, and back to it.
        .text
        .global CallWithRegisters
CallWithRegisters:
        stp     x29, x30, [sp, #-112]!
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        str     x0, [sp, #96]
        mov     x29, x0
        ldp     x0, x1, [x29]
        ldp     x2, x3, [x29, #16]
        ldp     x4, x5, [x29, #32]
        ldp     x6, x7, [x29, #48]
        ldp     x8, x9, [x29, #64]
        ldp     x10, x11, [x29, #80]
        ldp     x12, x13, [x29, #96]
        ldp     x14, x15, [x29, #112]
        ldp     x16, x17, [x29, #128]
        ldp     x18, x19, [x29, #144]
        ldp     x20, x21, [x29, #160]
        ldp     x22, x23, [x29, #176]
        ldp     x24, x25, [x29, #192]
        ldp     x26, x27, [x29, #208]
        ldr     x28, [x29, #224]
        ldr     x30, [x29, #240]
        svc     #0
        str     x29, [sp, #104]
        ldr     x29, [sp, #96]
        stp     x0, x1, [x29]
        stp     x2, x3, [x29, #16]
        stp     x4, x5, [x29, #32]
        stp     x6, x7, [x29, #48]
        stp     x8, x9, [x29, #64]
        stp     x10, x11, [x29, #80]
        stp     x12, x13, [x29, #96]
        stp     x14, x15, [x29, #112]
        stp     x16, x17, [x29, #128]
        stp     x18, x19, [x29, #144]
        stp     x20, x21, [x29, #160]
        stp     x22, x23, [x29, #176]
        stp     x24, x25, [x29, #192]
        stp     x26, x27, [x29, #208]
        str     x28, [x29, #224]
        str     x30, [x29, #240]
        ldr     x0, [sp, #104]
        str     x0, [x29, #232]
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     x29, x30, [sp], #112
        ret

// A task that starts here writes its first registers to the shared page (x0-x30, NZCV, TPIDR_EL0, SP) and exits.
        .global CaptureStart
CaptureStart:
        str     x30, [sp, #-16]!
        mov     x30, #0x20000000
        stp     x0, x1, [x30]
        stp     x2, x3, [x30, #16]
        stp     x4, x5, [x30, #32]
        stp     x6, x7, [x30, #48]
        stp     x8, x9, [x30, #64]
        stp     x10, x11, [x30, #80]
        stp     x12, x13, [x30, #96]
        stp     x14, x15, [x30, #112]
        stp     x16, x17, [x30, #128]
        stp     x18, x19, [x30, #144]
        stp     x20, x21, [x30, #160]
        stp     x22, x23, [x30, #176]
        stp     x24, x25, [x30, #192]
        stp     x26, x27, [x30, #208]
        stp     x28, x29, [x30, #224]
        ldr     x0, [sp], #16
        str     x0, [x30, #240]
        mrs     x0, nzcv
        str     x0, [x30, #248]
        mrs     x0, tpidr_el0
        str     x0, [x30, #256]
        mov     x0, sp
        str     x0, [x30, #264]
        mov     x0, #0
        mov     x1, #77
        mov     x8, #13                 // Exit
        svc     #0
        brk     #0

// Tasks for tests of stepping, counted by instruction: x19 counts.
// Receives signals; 26 instructions for each, with a call (handle 1) and a kernel call (SetSignal, handle 2) among them.
        .global StepWorker, StepWork
StepWorker:
        mov     x19, xzr
        mov     x0, xzr
        mov     x8, #2                  // ReplyWait
        svc     #0
StepWork:
        .rept   10
        add     x19, x19, #1
        .endr
        mov     x0, #1
        mov     x1, xzr
        mov     x8, #1                  // Call
        svc     #0
        .rept   5
        add     x19, x19, #1
        .endr
        mov     x0, #2
        mov     x8, #8                  // SetSignal
        svc     #0
        add     x19, x19, #1
        mov     x0, xzr
        mov     x8, #2
        svc     #0
        b       StepWork

// Sets a commit window of x0 = its bytes and receives a signal; then x21 and x22 count in a loop, equal wherever it is
// not inside of the window.
        .global WindowWorker, WindowWork, WindowBegin, WindowEnd
WindowWorker:
        mov     x21, xzr
        mov     x22, xzr
        and     x2, x0, #0xff
        adr     x1, WindowBegin
        mov     x8, #14                 // SetCommitWindow
        svc     #0
        mov     x28, x0
        mov     x0, xzr
        mov     x8, #2
        svc     #0
WindowWork:
        nop
WindowBegin:
        add     x21, x21, #1
        nop
        nop
        add     x22, x22, #1
WindowEnd:
        nop
        nop
        b       WindowWork

// Says in the shared page what x21 and x22 are, and ends.
        .global WindowDiverted
WindowDiverted:
        mov     x0, #0x20000000
        stp     x21, x22, [x0]
        mov     x8, #13                 // Exit
        svc     #0

// Never leaves its window.
        .global WindowHang
WindowHang:
        adr     x1, 1f
        mov     x2, #32
        mov     x8, #14
        svc     #0
1:      nop
2:      b       2b
