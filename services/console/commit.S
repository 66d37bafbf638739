// The commits of uart.h: what is between the labels is the task's commit window (SetCommitWindow), in which it is not
// killed but first stepped to its end. So of a commit that was begun, all is done. Being stepped from the first
// function's end is harmless: its return leaves the window.
        .text
        .balign 4
        .global atoll_commit_window
        .global atoll_commit_window_end
        .global atoll_read_into
        .global atoll_commit
        .type   atoll_read_into, %function
        .type   atoll_commit, %function

// In: x0 = what to read, w1 = mark, x2 = where to store mark | what was read.
atoll_commit_window:
atoll_read_into:
        ldr     w3, [x0]
        orr     w3, w3, w1
        str     w3, [x2]
        ret
        .size atoll_read_into, . - atoll_read_into

// In: four times an address and what to store there. Releases, in this order: what was written before is seen by whoever
// sees one of them.
atoll_commit:
        stlr    w1, [x0]
        stlr    w3, [x2]
        stlr    w5, [x4]
        stlr    w7, [x6]
atoll_commit_window_end:
        ret
        .size atoll_commit, . - atoll_commit
