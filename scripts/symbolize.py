#!/usr/bin/python3
"""Adds function and line to the addresses in what Atoll printed: the kernel's panic report, the log's lines of services
that died, and the monitor's `crashes` and `record`.

Usage: symbolize.py ELF|SERVICE|all [REPORT]     (REPORT: a file with the console's output; default standard input)
  ELF      kernel.elf of the same build as the image that panicked
  SERVICE  as virtio-blk: the lines about its instances; its ELF file is that of the build folder (ATOLL_BUILD)
  all      the kernel and every service
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("ATOLL_BUILD", ROOT / "build")) / "target"
# As kernel/log/panic.cc prints an address of the kernel's text.
KERNEL_ADDRESS = re.compile(r"image\+0x([0-9a-f]+)")
# Whose death a line of the log or of the monitor is about; its registers and its backtrace may follow.
DEATH = re.compile(r"(?:^|\] |#\d+ \S+ |atoll> )([a-z][a-z0-9-]*)(?:\.[a-z0-9_.-]+)? (?:died: |generation \d+: )")
CONTINUES = re.compile(r"(?:monitor: )?  (?:x\d+ |sp |unanswered call|backtrace)")
CODE = re.compile(r"\bpc 0x([0-9a-f]+)|(?:\bx30|from|backtrace)((?: 0x[0-9a-f]+)+)")
CALL_BYTES = 4  # a return address is behind the call that it belongs to


def symbols(elf: pathlib.Path, addresses: list[int]) -> dict[int, list[str]]:
    """For each address "function file:line", the innermost inlined one first."""
    if not addresses:
        return {}
    output = subprocess.run(
        ["llvm-symbolizer-19", f"--obj={elf}", "--functions=short", "--relativenames"] +
        [hex(address) for address in addresses],
        check=True, capture_output=True, text=True).stdout
    result = {}
    for address, block in zip(addresses, output.strip().split("\n\n")):
        lines = block.splitlines()
        result[address] = [f"{name} {place.rsplit(':', 1)[0]}" for name, place in zip(lines[::2], lines[1::2])]
    return result


def image_base(elf: pathlib.Path) -> int | None:
    """The virtual address of `image_start` (kernel/kernel.ld); none in a service."""
    found = subprocess.run(["llvm-nm-19", str(elf)], check=True, capture_output=True, text=True).stdout
    for line in found.splitlines():
        fields = line.split()
        if fields[-1] == "image_start":
            return int(fields[0], 16)
    return None


def elf_of(name: str) -> pathlib.Path:
    return TARGET / "services" / f"{name}.elf"


class Places:
    """The addresses of each line, with the ELF file that each is of."""

    def __init__(self, kernel: pathlib.Path | None, services: set[str]):
        self.kernel, self.services = kernel, services
        self.base = image_base(kernel) if kernel else None
        self.dead = None  # the service that the last line was about

    def of(self, line: str) -> list[tuple[pathlib.Path, int]]:
        if self.kernel and (found := KERNEL_ADDRESS.findall(line)):
            return [(self.kernel, self.base + int(address, 16)) for address in found]
        if death := DEATH.search(line):
            self.dead = death[1]
        elif not CONTINUES.match(line):
            self.dead = None
        if self.dead not in self.services:
            return []
        return [(elf_of(self.dead), int(address, 16) - (0 if pc else CALL_BYTES))
                for pc, returns in CODE.findall(line) for address in (pc or returns).split()]


def make_places(parser: argparse.ArgumentParser, what: str) -> Places:
    services = {path.stem for path in (TARGET / "services").glob("*.elf")}
    if what == "all":
        return Places(TARGET / "kernel/kernel.elf", services)
    if what in services:
        return Places(None, {what})
    elf = pathlib.Path(what)
    if not elf.is_file():
        parser.error(f"{what}: neither a file nor a service that {TARGET}/services has an ELF file of")
    if image_base(elf) is None:
        sys.exit(f"{elf}: no symbol image_start; this is not the kernel's ELF file")
    return Places(elf, set())


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/symbolize.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="ELF|SERVICE|all")
    parser.add_argument("report", nargs="?", type=argparse.FileType("r", errors="replace"), default=sys.stdin)
    arguments = parser.parse_args()
    places = make_places(parser, arguments.what)
    text = arguments.report.read().splitlines()
    found = [places.of(line) for line in text]
    by_elf: dict[pathlib.Path, set[int]] = {}
    for elf, address in (place for line in found for place in line):
        by_elf.setdefault(elf, set()).add(address)
    names = {elf: symbols(elf, sorted(addresses)) for elf, addresses in by_elf.items()}
    for line, addresses in zip(text, found):
        print(line)
        for elf, address in addresses:
            for name in names[elf][address]:
                print("       " + name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
