// memcpy, memmove, memset and memcmp with general registers only (services never touch vector registers).
// Addresses may be unaligned: task memory is Normal. x0 = destination = result, x1, x2 as in C.

        .macro  FUNCTION name
        .section .text.\name, "ax", %progbits
        .global \name
        .type \name, %function
        .balign 16
\name:
        .endm

        // The next 256 bytes, both addresses being those of the last ones.
        .macro  copy_256_bytes
        ldp     x4, x5, [x1, #256]!
        ldp     x6, x7, [x1, #16]
        ldp     x8, x9, [x1, #32]
        ldp     x10, x11, [x1, #48]
        stp     x4, x5, [x3, #256]!
        stp     x6, x7, [x3, #16]
        stp     x8, x9, [x3, #32]
        stp     x10, x11, [x3, #48]
        .irp    offset, 64, 128, 192
        ldp     x4, x5, [x1, #\offset]
        ldp     x6, x7, [x1, #\offset + 16]
        ldp     x8, x9, [x1, #\offset + 32]
        ldp     x10, x11, [x1, #\offset + 48]
        stp     x4, x5, [x3, #\offset]
        stp     x6, x7, [x3, #\offset + 16]
        stp     x8, x9, [x3, #\offset + 32]
        stp     x10, x11, [x3, #\offset + 48]
        .endr
        .endm

FUNCTION memcpy
.Lforward:
        mov     x3, x0
        subs    x2, x2, #1024
        b.lo    3f
        // Frames and disk blocks: 130 instructions for 1 KiB. In ascending order, which memmove relies on.
        sub     x1, x1, #256
        sub     x3, x3, #256
1:      .rept   4
        copy_256_bytes
        .endr
        subs    x2, x2, #1024
        b.hs    1b
        add     x1, x1, #256
        add     x3, x3, #256
3:      adds    x2, x2, #512
        b.mi    4f
        sub     x1, x1, #256
        sub     x3, x3, #256
        .rept   2
        copy_256_bytes
        .endr
        sub     x2, x2, #512
        add     x1, x1, #256
        add     x3, x3, #256
4:      // x2 is what is left less 512.
        adds    x2, x2, #448
        b.mi    2f
1:      ldp     x4, x5, [x1]
        ldp     x6, x7, [x1, #16]
        ldp     x8, x9, [x1, #32]
        ldp     x10, x11, [x1, #48]
        add     x1, x1, #64
        stp     x4, x5, [x3]
        stp     x6, x7, [x3, #16]
        stp     x8, x9, [x3, #32]
        stp     x10, x11, [x3, #48]
        add     x3, x3, #64
        subs    x2, x2, #64
        b.hs    1b
2:      // The low six bits of x2 are what is left.
        tbz     x2, #5, 3f
        ldp     x4, x5, [x1], #16
        ldp     x6, x7, [x1], #16
        stp     x4, x5, [x3], #16
        stp     x6, x7, [x3], #16
3:      tbz     x2, #4, 4f
        ldp     x4, x5, [x1], #16
        stp     x4, x5, [x3], #16
4:      tbz     x2, #3, 5f
        ldr     x4, [x1], #8
        str     x4, [x3], #8
5:      tbz     x2, #2, 6f
        ldr     w4, [x1], #4
        str     w4, [x3], #4
6:      tbz     x2, #1, 7f
        ldrh    w4, [x1], #2
        strh    w4, [x3], #2
7:      tbz     x2, #0, 8f
        ldrb    w4, [x1]
        strb    w4, [x3]
8:      ret
        .size memcpy, . - memcpy

FUNCTION memmove
        sub     x3, x0, x1
        cmp     x3, x2
        b.hs    memcpy                  // destination below source, or beyond its end: forwards is safe
        add     x3, x0, x2
        add     x1, x1, x2
        subs    x2, x2, #64
        b.lo    2f
1:      ldp     x4, x5, [x1, #-16]
        ldp     x6, x7, [x1, #-32]
        ldp     x8, x9, [x1, #-48]
        ldp     x10, x11, [x1, #-64]!
        stp     x4, x5, [x3, #-16]
        stp     x6, x7, [x3, #-32]
        stp     x8, x9, [x3, #-48]
        stp     x10, x11, [x3, #-64]!
        subs    x2, x2, #64
        b.hs    1b
2:      tbz     x2, #5, 3f
        ldp     x4, x5, [x1, #-16]!
        ldp     x6, x7, [x1, #-16]!
        stp     x4, x5, [x3, #-16]!
        stp     x6, x7, [x3, #-16]!
3:      tbz     x2, #4, 4f
        ldp     x4, x5, [x1, #-16]!
        stp     x4, x5, [x3, #-16]!
4:      tbz     x2, #3, 5f
        ldr     x4, [x1, #-8]!
        str     x4, [x3, #-8]!
5:      tbz     x2, #2, 6f
        ldr     w4, [x1, #-4]!
        str     w4, [x3, #-4]!
6:      tbz     x2, #1, 7f
        ldrh    w4, [x1, #-2]!
        strh    w4, [x3, #-2]!
7:      tbz     x2, #0, 8f
        ldrb    w4, [x1, #-1]
        strb    w4, [x3, #-1]
8:      ret
        .size memmove, . - memmove

FUNCTION memset
        mov     x3, x0
        and     w1, w1, #0xff
        mov     x4, #0x0101010101010101
        mul     x4, x4, x1
        cmp     x2, #512
        b.lo    4f
        cbnz    w1, 4f
        // Zeroes in bulk: DC ZVA clears a naturally aligned block of 4 << DCZID_EL0.BS bytes (DDI0487,
        // DCZID_EL0). DZP = 1: not permitted here.
        mrs     x5, dczid_el0
        tbnz    x5, #4, 4f
        mov     w6, #4
        and     w5, w5, #0xf
        lsl     x6, x6, x5              // x6 = block bytes
        cmp     x6, #256
        b.hi    4f
        sub     x7, x6, #1
        // Up to the first block boundary: whole 16-byte stores, the last of which may reach into the block.
        neg     x8, x3
        and     x8, x8, x7              // x8 = bytes before the boundary
        sub     x2, x2, x8
        add     x9, x3, x8
1:      cmp     x3, x9
        b.hs    2f
        stp     xzr, xzr, [x3], #16
        b       1b
2:      mov     x3, x9
        subs    x2, x2, x6
3:      dc      zva, x3
        add     x3, x3, x6
        subs    x2, x2, x6
        b.hs    3b
        add     x2, x2, x6
4:      subs    x2, x2, #64
        b.lo    6f
5:      stp     x4, x4, [x3]
        stp     x4, x4, [x3, #16]
        stp     x4, x4, [x3, #32]
        stp     x4, x4, [x3, #48]
        add     x3, x3, #64
        subs    x2, x2, #64
        b.hs    5b
6:      tbz     x2, #5, 7f
        stp     x4, x4, [x3], #16
        stp     x4, x4, [x3], #16
7:      tbz     x2, #4, 8f
        stp     x4, x4, [x3], #16
8:      tbz     x2, #3, 9f
        str     x4, [x3], #8
9:      tbz     x2, #2, 10f
        str     w4, [x3], #4
10:     tbz     x2, #1, 11f
        strh    w4, [x3], #2
11:     tbz     x2, #0, 12f
        strb    w4, [x3]
12:     ret
        .size memset, . - memset

FUNCTION memcmp
        subs    x2, x2, #8
        b.lo    2f
1:      ldr     x3, [x0], #8
        ldr     x4, [x1], #8
        cmp     x3, x4
        b.ne    4f
        subs    x2, x2, #8
        b.hs    1b
2:      adds    x2, x2, #8
        b.eq    5f
3:      ldrb    w3, [x0], #1
        ldrb    w4, [x1], #1
        subs    w3, w3, w4
        b.ne    6f
        subs    x2, x2, #1
        b.ne    3b
5:      mov     w0, #0
        ret
6:      mov     w0, w3
        ret
4:      rev     x3, x3                  // the first byte in memory decides
        rev     x4, x4
        cmp     x3, x4
        cset    w0, hi
        csinv   w0, w0, wzr, hi
        ret
        .size memcmp, . - memcmp
