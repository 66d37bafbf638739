// Code of guests, copied to the start of their RAM at 0x40000000. RAM's second page holds what they find.

        .macro guest name
        .section .rodata.guests, "a", %progbits
        .balign 8
        .global \name
\name:
        .endm

        .macro end_guest name
        .global \name\()_end
\name\()_end:
        .endm

// x0 = 1: stores w2 = 0xabcd0102 at device address 0x09000010, loads a byte from 0x09000020 into x4 and keeps it, then
// hvc; the results go to the page, at last the word 0x600d. Every register holds a pattern meanwhile.
guest GuestAccesses
        adr     x1, 3f
        msr     vbar_el1, x1
        .irp    n, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        mov     x\n, #\n
        movk    x\n, #0xc0de, lsl #48
        .endr
        mov     x3, #0x09000000
        mov     w2, #0x0102
        movk    w2, #0xabcd, lsl #16
        str     w2, [x3, #0x10]
        ldrb    w4, [x3, #0x20]
        mov     x1, #0x40000000
        str     x4, [x1, #0x1000]
        mov     x0, #0x1234
        mov     x1, #0x1111
        mov     x2, #0x2222
        mov     x3, #0x3333
        hvc     #0
        mov     x4, #0x40000000
        add     x4, x4, #0x1000
        stp     x0, x1, [x4, #8]
        stp     x2, x3, [x4, #24]
        mov     x0, xzr                 // sum of what must not have changed
        .irp    n, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
        mov     x1, #\n
        movk    x1, #0xc0de, lsl #48
        cmp     x\n, x1
        cinc    x0, x0, ne
        .endr
        str     x0, [x4, #40]
        mov     x0, #0x600d
        str     x0, [x4, #48]
1:      wfi
        b       1b
        .balign 0x800
3:      .space  0x200
        // An exception: says so in the page.
        mov     x0, #0x40000000
        mrs     x1, esr_el1
        str     x1, [x0, #0x1038]
1:      wfi
        b       1b
end_guest GuestAccesses

// Rings the doorbell at 0x0a000050 with 0, 1, 2, 3, stores a 16-bit value there, and says 0x600d.
guest GuestDoorbell
        mov     x1, #0x0a000000
        str     wzr, [x1, #0x50]
        mov     w2, #1
        str     w2, [x1, #0x50]
        mov     w2, #2
        str     w2, [x1, #0x50]
        mov     w2, #3
        str     w2, [x1, #0x50]
        strh    w2, [x1, #0x50]
        ldr     w2, [x1, #0x50]
        mov     x0, #0x600d
        mov     x4, #0x40000000
        str     x0, [x4, #0x1030]
1:      wfi
        b       1b
end_guest GuestDoorbell

// Counts in the page.
guest GuestSpin
        mov     x4, #0x40000000
        mov     x0, xzr
1:      add     x0, x0, #1
        str     x0, [x4, #0x1030]
        b       1b
end_guest GuestSpin

// x0 = an address: counts there.
guest GuestCount
        mov     x1, xzr
1:      add     x1, x1, #1
        str     x1, [x0]
        b       1b
end_guest GuestCount

// x0 = an address: makes hypercalls of x0 = 7, x1 = their number. Counts good answers (x0 = 0, x1 = the number + 1)
// there, failed ones (x0 = -1) in the next word, others in the third.
guest GuestCalls
        mov     x19, x0
        mov     x20, xzr
1:      mov     x0, #7
        mov     x1, x20
        hvc     #0
        add     x20, x20, #1
        cmp     x0, xzr
        ccmp    x1, x20, #0, eq
        mov     x2, x19
        b.eq    2f
        cmn     x0, #1
        add     x2, x19, #8
        b.eq    2f
        add     x2, x19, #16
2:      ldr     x3, [x2]
        add     x3, x3, #1
        str     x3, [x2]
        b       1b
end_guest GuestCalls

// x0 = where it counts. Calls for ever: rounds in the first word; in the second, those after which it was another
// vCPU. Its second instruction is where a vCPU starts that only says so and sleeps.
guest GuestStaysItself
        b       2f
        str     x0, [x0]
1:      wfi
        b       1b
2:      mov     x19, x0
        mov     x20, xzr
        mrs     x21, mpidr_el1
3:      hvc     #0
        mrs     x22, mpidr_el1
        cmp     x21, x22
        cinc    x20, x20, ne
        str     x20, [x19, #8]
        ldr     x3, [x19]
        add     x3, x3, #1
        str     x3, [x19]
        b       3b
end_guest GuestStaysItself

// x0 = where it counts. A hardware breakpoint on an instruction of each round, whose handler counts in the second word;
// rounds, each with a hypercall, in the first.
        .balign 0x800                   // as the vectors in it
guest GuestBreakpoints
        mov     x19, x0
        adr     x1, 3f
        msr     vbar_el1, x1
        adr     x1, 2f
        msr     dbgbvr0_el1, x1
        mov     x1, #0x1e7              // DBGBCR0_EL1: BAS, PMC: EL1 and EL0, E
        msr     dbgbcr0_el1, x1
        msr     oslar_el1, xzr
        mov     x1, #0xa000             // MDSCR_EL1: MDE, KDE
        msr     mdscr_el1, x1
        msr     daifclr, #8
        isb
1:      mov     x0, #7
        mov     x1, xzr
        hvc     #0
        ldr     x3, [x19]
        add     x3, x3, #1
2:      str     x3, [x19]
        b       1b
        .balign 0x800
3:      .space  0x200
        ldr     x5, [x19, #8]
        add     x5, x5, #1
        str     x5, [x19, #8]
        mrs     x5, esr_el1
        lsr     x5, x5, #26
        sub     x5, x5, #0x31           // breakpoint, from the same level
        ldr     x6, [x19, #16]
        orr     x6, x6, x5
        str     x6, [x19, #16]
        str     x3, [x19]               // what it stands on
        mrs     x5, elr_el1
        add     x5, x5, #4
        msr     elr_el1, x5
        eret
end_guest GuestBreakpoints
