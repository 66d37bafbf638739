// Offsets that assembly needs; kernel/thread.cc proves each with a static_assert.
#ifndef ATOLL_KERNEL_OFFSETS_H_
#define ATOLL_KERNEL_OFFSETS_H_

// Thread: bytes of scratch stack below the frame, and the frame's fields. What is within 504 bytes of a Thread the fast
// path stores in pairs.
#define THREAD_FRAME 128
#define FRAME_X0 0
#define FRAME_X8 64
#define FRAME_X16 128
#define FRAME_X18 144
#define FRAME_X19 152
#define FRAME_X30 240
#define FRAME_SP 248
#define FRAME_PC 256
#define FRAME_PSTATE 264
#define FRAME_TPIDR 272
#define FRAME_TPIDRRO 280

// Cpu
#define CPU_CURRENT 0
#define CPU_STACK_TOP 8
#define CPU_EMERGENCY_STACK_TOP 16

// Exception classes, ESR_ELx.EC (DDI0487, ESR_EL2)
#define EC_HVC64 0x16
#define EC_SVC64 0x15
#define EC_DATA_ABORT_LOWER 0x24

#endif  // ATOLL_KERNEL_OFFSETS_H_
