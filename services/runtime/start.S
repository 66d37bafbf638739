// First instructions of a service. The kernel has set SP to the top of the stack.
// In: x0 = bytes of configuration in the config page, x1 = generation of the instance and flags (ipc/abi.h).
        .section .text.start, "ax", %progbits
        .global _start
        .type _start, %function
_start:
        mov     x29, xzr                // ends the frame chain for backtraces
        mov     x30, xzr
        bl      atoll_start_service     // (config bytes, generation and flags), does not return
        brk     #0
        .size _start, . - _start
