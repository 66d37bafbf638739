#!/usr/bin/python3
"""Writes the boot archive: a newc cpio with the plan, the services' ELF files and the guests' files.

Usage: archive.py --out FILE [--list FILE] [--add NAME=PATH ...]
  --list  a file of lines NAME=PATH, as describe.py --list writes it

Each file's data begins on a page (its name is padded with NULs) and fills whole pages (zeros at the end), so
that a page can be given to a service without a byte of another file on it.
"""
import argparse
import pathlib
import struct

from schemas import InputError, run_tool

PAGE = 4096
HEADER_BYTES = 110           # newc: "070701" and 13 fields of 8 hexadecimal digits
NAME_MAX = 95                # proto/plan.options
FILE_MAX = 0xffff_ffff - PAGE
MODE_FILE = 0o100444
TRAILER = "TRAILER!!!"
ELF_AARCH64 = 183            # e_machine
ELF_EXECUTABLE = 2           # e_type
PT_LOAD, PF_X, PF_W = 1, 1, 2


def header(name_bytes: int, file_bytes: int, inode: int) -> bytes:
    fields = (inode, MODE_FILE if inode else 0, 0, 0, 1, 0, file_bytes, 0, 0, 0, 0, name_bytes, 0)
    return b"070701" + b"".join(b"%08X" % field for field in fields)


def check_elf(name: str, path: pathlib.Path, data: bytes) -> None:
    """Refuses what the supervisor's loader would refuse, while there is still someone to read it."""
    def refuse(field, reason):
        raise InputError(f"{path}: {field}: {reason} ({name} must be an AArch64 service)")

    if len(data) < 64 or data[:4] != b"\x7fELF":
        refuse("e_ident", "is not an ELF file")
    if data[4] != 2 or data[5] != 1:
        refuse("e_ident", "is not a 64-bit little-endian ELF file")
    kind, machine, _, entry, phoff = struct.unpack_from("<HHIQQ", data, 16)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    if machine != ELF_AARCH64:
        refuse("e_machine", f"{machine} is not AArch64 ({ELF_AARCH64})")
    if kind != ELF_EXECUTABLE:
        refuse("e_type", f"{kind} is not ET_EXEC ({ELF_EXECUTABLE}): link it statically, not position independent")
    if phentsize != 56 or phoff + phnum * 56 > len(data):
        refuse("e_phoff", "the program headers end beyond the file")
    executable = False
    for index in range(phnum):
        kind, flags, offset, address, _, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", data, phoff + 56 * index)
        if kind != PT_LOAD:
            continue
        field = f"program header {index}"
        if offset + in_file > len(data):
            refuse(field, "the segment's data ends beyond the file")
        if in_file > in_memory:
            refuse(field, "has more bytes in the file than in memory")
        if flags & PF_W and flags & PF_X:
            refuse(field, "is writable and executable")
        executable |= bool(flags & PF_X) and address <= entry < address + in_memory
    if not executable:
        refuse("e_entry", f"{entry:#x} is not in an executable segment")


def parse_pair(option: str, pair: str) -> tuple:
    name, equals, path = pair.partition("=")
    if not equals or not path:
        raise InputError(f'{option}: "{pair}" is not NAME=PATH')
    if not 0 < len(name.encode()) <= NAME_MAX or "\0" in name or name == TRAILER:
        raise InputError(f'{option}: name "{name}" must have 1..{NAME_MAX} bytes')
    return name, pathlib.Path(path)


def write(out: pathlib.Path, files: list) -> None:
    """Writes [(name, path)] as an archive; nothing is left behind if one of them is refused."""
    names = [name for name, _ in files]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{out}: "{name}" is there twice')
    if "plan.pb" not in names:
        raise InputError(f'{out}: "plan.pb", the plan of describe.py, is not among its files')
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("wb") as archive:
            for inode, (name, path) in enumerate(files, start=1):
                _write_file(archive, inode, name, path)
            end = header(len(TRAILER) + 1, 0, 0) + TRAILER.encode() + b"\0"
            archive.write(end + bytes(-(archive.tell() + len(end)) % PAGE))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write_file(archive, inode: int, name: str, path: pathlib.Path) -> None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read for {name}: {error.strerror}") from error
    if not 0 < len(data) <= FILE_MAX:
        raise InputError(f"{path}: has {len(data)} bytes; there must be 1..{FILE_MAX}")
    if name.endswith(".elf"):
        check_elf(name, path, data)
    tail = -len(data) % PAGE
    position = archive.tell()
    name_bytes = len(name.encode()) + 1
    name_bytes += -(position + HEADER_BYTES + name_bytes) % PAGE
    archive.write(header(name_bytes, len(data) + tail, inode))
    archive.write(name.encode().ljust(name_bytes, b"\0"))
    archive.write(data)
    archive.write(bytes(tail))


def main(arguments) -> None:
    parser = argparse.ArgumentParser(description="Writes the boot archive.")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--list", type=pathlib.Path)
    parser.add_argument("--add", action="append", default=[], metavar="NAME=PATH")
    options = parser.parse_args(arguments)
    pairs = []
    if options.list:
        try:
            pairs = [(f"{options.list}", line) for line in options.list.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise InputError(f"{options.list}: cannot be read: {error.strerror}") from error
    pairs += [("--add", pair) for pair in options.add]
    write(options.out, [parse_pair(option, pair) for option, pair in pairs])


if __name__ == "__main__":
    run_tool(main)
