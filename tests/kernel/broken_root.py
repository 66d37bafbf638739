#!/usr/bin/python3
"""Writes what is no root task. Usage: broken_root.py none|bad|dying OUTPUT

none: nothing at all. bad: an ELF file whose one segment is said to begin 1 TiB into the file. dying: one whose first
instruction is undefined.
"""
import pathlib
import struct
import sys

HEADER_BYTES = 64
SEGMENT_BYTES = 56
PAGE = 4096


def elf(offset: int) -> bytes:
    identification = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", identification, 2, 183, 1, 0x400000, HEADER_BYTES, 0, 0, HEADER_BYTES,
                         SEGMENT_BYTES, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, offset, 0x400000, 0x400000, PAGE, PAGE, PAGE)
    return header + segment


def main() -> None:
    kind, output = sys.argv[1:3]
    files = {"none": b"", "bad": elf(1 << 40), "dying": elf(PAGE).ljust(2 * PAGE, b"\0")}
    pathlib.Path(output).write_bytes(files[kind])


if __name__ == "__main__":
    main()
