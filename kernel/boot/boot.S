// The image's header and first instructions.
//
// Entered as the arm64 Linux boot protocol says (Documentation/arm64/booting.rst): x0 = physical
// address of the device tree, MMU off, D-cache on or off, the loaded image cleaned to the point of
// coherency.
#include "kernel/boot/stack_layout.h"

#define CURRENTEL_EL2 (2 << 2)

  .section .image_header, "ax"
  .globl image_header
image_header:
  b     boot_start
  .word 0
  .quad 0                     // text_offset: at a 2 MiB boundary
  .quad image_bytes           // with .bss and stacks
  .quad 0xa                   // little-endian, 4 KiB pages, anywhere in memory
  .quad 0, 0, 0
  .ascii "ARM\x64"
  .word 0

  .section .boot.text, "ax"
// x19 = device tree. x20 = physical address of the image.
boot_start:
  msr   daifset, #0xf
  mov   x19, x0
  adrp  x20, image_header
  adrp  x1, power_off_vectors
  add   x1, x1, :lo12:power_off_vectors
  mrs   x0, CurrentEL
  cmp   x0, #CURRENTEL_EL2
  b.eq  1f
  msr   vbar_el1, x1
  b     2f
1:
  msr   vbar_el2, x1
2:
  isb
  // What is written from here on goes past the caches: lines that the loader left there would later
  // hide it (clean ones) or overwrite it (dirty ones).
  bl    invalidate_unloaded
  adrp  x0, bss_start
  adrp  x1, bss_end
3:
  stp   xzr, xzr, [x0], #16
  cmp   x0, x1
  b.lo  3b

  adrp  x1, kernel_stacks
  add   x1, x1, #ATOLL_STACK_TOP
  mov   sp, x1
  mov   x29, xzr
  mov   x30, xzr
  mov   x0, x19
  bl    boot_check_machine
  bl    boot_build_tables
  bl    invalidate_unloaded     // lines fetched by speculation since then
  bl    boot_enable_translation

  // From the identity map to the kernel's own addresses.
  ldr   x8, =boot_virtual
  br    x8
boot_virtual:
  hint  #36                     // BTI j
  adrp  x1, kernel_stacks
  add   x1, x1, #ATOLL_STACK_TOP
  mov   sp, x1
  adrp  x1, boot_vectors
  add   x1, x1, :lo12:boot_vectors
  msr   vbar_el2, x1
  isb
  mov   x0, x19
  mov   x1, x20
  mov   x29, xzr
  mov   x30, xzr
  b     boot_main
  .ltorg

// Another CPU, started by PSCI CPU_ON: EL2, MMU off, x0 = its index.
  .globl boot_secondary
boot_secondary:
  msr   daifset, #0xf
  mov   x19, x0
  adrp  x1, power_off_vectors
  add   x1, x1, :lo12:power_off_vectors
  msr   vbar_el2, x1
  isb
  bl    own_stack
  // Its stack is written past the caches now and read through them soon.
  mov   x1, #ATOLL_STACK_BYTES
  sub   x0, sp, x1
  mov   x1, sp
  bl    invalidate_range
  mov   x29, xzr
  mov   x30, xzr
  bl    boot_enable_translation   // the tables are complete and walked through the caches
  ldr   x8, =secondary_virtual
  br    x8
secondary_virtual:
  hint  #36                     // BTI j
  bl    own_stack
  adrp  x1, boot_vectors
  add   x1, x1, :lo12:boot_vectors
  msr   vbar_el2, x1
  isb
  mov   x0, x19
  mov   x29, xzr
  mov   x30, xzr
  b     boot_secondary_main
  .ltorg

// SP = the top of the stack of CPU x19. Uses x1-x3.
own_stack:
  adrp  x1, kernel_stacks
  mov   x2, #ATOLL_STACK_TOP
  add   x3, x19, #1
  madd  x1, x3, x2, x1
  mov   sp, x1
  ret

// Invalidates [bss_start, image_end), or [x0, x1), by address to the point of coherency. Uses x0-x3.
invalidate_unloaded:
  adrp  x0, bss_start
  adrp  x1, image_end
invalidate_range:
  mrs   x2, ctr_el0
  ubfx  x2, x2, #16, #4         // CTR_EL0.DminLine: log2 of words
  mov   x3, #4
  lsl   x3, x3, x2
1:
  dc    ivac, x0
  add   x0, x0, x3
  cmp   x0, x1
  b.lo  1b
  dsb   sy
  ret

  .section .stacks, "aw", %nobits
  .balign 4096
  .globl kernel_stacks
kernel_stacks:
  .space ATOLL_MAX_CPUS * ATOLL_STACK_TOP
