#!/usr/bin/python3
"""Fails if the kernel's text is larger than its budget. Usage: check_kernel_size.py KERNEL_ELF"""
import os
import subprocess
import sys

BUDGET_BYTES = 64 * 1024


def main() -> int:
    if len(sys.argv) != 2 or not os.path.isfile(sys.argv[1]):
        print(f"usage: check_kernel_size.py KERNEL_ELF, a file; got {sys.argv[1:]}")
        return 2
    elf = sys.argv[1]
    sections = subprocess.run(["llvm-size-19", "-A", elf], check=True, capture_output=True, text=True).stdout
    for line in sections.splitlines():
        fields = line.split()
        if fields and fields[0] == ".text":
            size = int(fields[1])
            print(f"{elf}: .text is {size} of {BUDGET_BYTES} bytes")
            return 0 if size <= BUDGET_BYTES else 1
    print(f"{elf}: no .text section; this is not the kernel's ELF file")
    return 1


if __name__ == "__main__":
    sys.exit(main())
