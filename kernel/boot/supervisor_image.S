// The root task's ELF file, part of the kernel image. The build gives its path.
  .section .supervisor_image, "a"
  .balign 4096
  .globl supervisor_image_start, supervisor_image_end
supervisor_image_start:
#ifdef ATOLL_SUPERVISOR_ELF
  .incbin ATOLL_SUPERVISOR_ELF
#endif
supervisor_image_end:
