#!/usr/bin/python3
"""Adds function and line to the addresses of a kernel panic report.

Usage: symbolize.py KERNEL_ELF [REPORT]     (REPORT: a file with the console's output; default standard input)
"""
import argparse
import re
import subprocess
import sys

# As kernel/log/panic.cc prints an address of the kernel's text.
ADDRESS = re.compile(r"image\+0x([0-9a-f]+)")


def image_base(elf: str) -> int:
    """The virtual address of `image_start` (kernel/kernel.ld)."""
    symbols = subprocess.run(["llvm-nm-19", elf], check=True, capture_output=True, text=True).stdout
    for line in symbols.splitlines():
        fields = line.split()
        if fields[-1] == "image_start":
            return int(fields[0], 16)
    sys.exit(f"{elf}: no symbol image_start; this is not the kernel's ELF file")


def describe(elf: str, offsets: list[int]) -> dict[int, list[str]]:
    """For each offset into the image "function file:line", the innermost inlined one first."""
    if not offsets:
        return {}
    base = image_base(elf)
    output = subprocess.run(
        ["llvm-symbolizer-19", "--obj=" + elf, "--functions=short", "--relativenames"] +
        [hex(base + offset) for offset in offsets],
        check=True, capture_output=True, text=True).stdout
    result = {}
    for offset, block in zip(offsets, output.strip().split("\n\n")):
        lines = block.splitlines()
        result[offset] = [f"{name} {place.rsplit(':', 1)[0]}" for name, place in zip(lines[::2], lines[1::2])]
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Adds function and line to the addresses of a kernel panic report.")
    parser.add_argument("elf", help="kernel.elf of the same build as the image that panicked")
    parser.add_argument("report", nargs="?", type=argparse.FileType("r", errors="replace"), default=sys.stdin)
    arguments = parser.parse_args()
    text = arguments.report.read().splitlines()
    offsets = sorted({int(match, 16) for line in text for match in ADDRESS.findall(line)})
    names = describe(arguments.elf, offsets)
    for line in text:
        print(line)
        for match in ADDRESS.findall(line):
            for name in names[int(match, 16)]:
                print("       " + name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
