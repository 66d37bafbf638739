// The table of faults (faults.h) and those of them that need no stack. Behind _start, in the same section.
        .section .text.start.faults, "ax", %progbits

// Goes to a function of faults.cc with a fresh stack and a seed, which nothing but time decides.
        .macro on_fresh_stack function
        mov     x9, #0x10000000         // abi::kStackTop
        mov     sp, x9
        mov     x29, xzr
        mov     x30, xzr
        mrs     x0, cntpct_el0
        b       \function
        .endm

        .balign 64
        .global atoll_fault_table
atoll_fault_table:
        .quad   0x31544c5541465441      // FaultTable::kMagic
        .quad   (.Lend_of_table - .Lentries) / 4
.Lentries:
        b       .                       // kHang
        b       .Lcrash
        b       .Lexit
        b       .Lpanic
        b       .Lstack_overflow
        b       .Llog_flood
        b       .Lsignal_flood
        b       .Lline_flood
        b       .Lgarbage
        b       .Lanswer_twice
        b       .Lnever_answer
        b       .Lscribble
        b       .Lcall_everything
        b       .Lrefuse                // no fault: kRefuse
.Lend_of_table:

.Lcrash:
        mov     x0, #0
        str     xzr, [x0]
.Lstack_overflow:
        mov     x9, #0x10000000         // SP may be anywhere: overflow the stack that there is
        mov     sp, x9
1:      stp     x29, x30, [sp, #-32]!
        mov     x29, sp
        bl      1b
.Lexit:         on_fresh_stack atoll_fault_exit
.Lpanic:        on_fresh_stack atoll_fault_panic
.Llog_flood:    on_fresh_stack atoll_fault_log_flood
.Lsignal_flood: on_fresh_stack atoll_fault_signal_flood
.Lline_flood:   on_fresh_stack atoll_fault_line_flood
.Lgarbage:      on_fresh_stack atoll_fault_garbage
.Lanswer_twice: on_fresh_stack atoll_fault_answer_twice
.Lnever_answer: on_fresh_stack atoll_fault_never_answer
.Lscribble:     on_fresh_stack atoll_fault_scribble
.Lcall_everything: on_fresh_stack atoll_fault_call_everything
.Lrefuse:       on_fresh_stack atoll_refuse
