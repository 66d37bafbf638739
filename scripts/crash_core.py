"""The dead instance of a crash file as a core file: its registers, and all of its memory, variables and stack among it."""
import pathlib
import struct

from crash_file import PAGE, BadCrash, CrashFile

# ELF-64; the note is Linux' elf_prstatus for AArch64, which gdb reads whatever the program ran on.
HEADER, SEGMENT, NOTE = struct.Struct("<16s2HI3QI6H"), struct.Struct("<2I6Q"), struct.Struct("<3I8s")
CORE, AARCH64, LOAD, NOTES, READ_WRITE = 4, 183, 1, 4, 6
PRSTATUS, REGISTERS = 1, 34     # x0 .. x30, sp, pc, pstate
STATUS = struct.Struct(f"<12sh2x16s16s64s{REGISTERS}Q8x")
SIGSEGV, SIGABRT = 11, 6


def write(path: pathlib.Path, crash: CrashFile, regions: list) -> None:
    """What is zero is a hole in the file."""
    registers = crash.header["registers"]
    if len(registers) != REGISTERS or any(type(r) is not int or not 0 <= r < 1 << 64 for r in registers):
        raise BadCrash('has no "registers" that are those of an AArch64')
    memory = [(r.name, r.address, r.bytes) for r in regions] + [("others", address, size) for address, size in crash.others()]
    number = SIGSEGV if crash.header["cause"] == "fault" else SIGABRT
    status = STATUS.pack(struct.pack("<3i", number, 0, 0), number, bytes(16), struct.pack("<4i", 1, 0, 0, 0), bytes(64), *registers)
    note = NOTE.pack(5, len(status), PRSTATUS, b"CORE") + status
    notes_at = HEADER.size + SEGMENT.size * (1 + len(memory))
    at = -(-(notes_at + len(note)) // PAGE) * PAGE
    with path.open("wb") as file:
        file.write(HEADER.pack(b"\x7fELF\2\1\1", CORE, AARCH64, 1, 0, HEADER.size, 0, 0, HEADER.size, SEGMENT.size, 1 + len(memory), 0, 0, 0))
        file.write(SEGMENT.pack(NOTES, 0, notes_at, 0, 0, len(note), 0, 0))
        places = []
        for _, address, size in memory:
            file.write(SEGMENT.pack(LOAD, READ_WRITE, at, address, 0, size, size, PAGE))
            places.append(at)
            at += -(-size // PAGE) * PAGE
        file.write(note)
        for index, (name, _, size) in enumerate(memory):
            for offset, data in crash.pages(index, name, size):
                file.seek(places[index] + offset)
                file.write(data[:size - offset])
        file.truncate(at)
