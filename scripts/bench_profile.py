"""Where the instructions outside the guests go, by function, between two marks of a guest."""
import bisect
import collections
import pathlib
import subprocess

import launch

SHOWN = 20  # functions of each span
KERNEL_ELF = launch.TARGET / "kernel/kernel.elf"


class Program:
    """Functions of an ELF file by address."""

    def __init__(self, elf: pathlib.Path):
        listing = subprocess.run(["llvm-nm-19", "--demangle", "--defined-only", str(elf)], check=True, capture_output=True,
                                 text=True).stdout
        rows = sorted((int(row[0], 16), row[2]) for row in (line.split(" ", 2) for line in listing.splitlines())
                      if row[1] in "tTwW")
        self.addresses, self.names = [address for address, _ in rows], [name for _, name in rows]

    def function(self, address: int) -> str:
        return self.names[max(0, bisect.bisect_right(self.addresses, address) - 1)]


def show(counts: list[dict[int, int]], service: str, kernel_from: int) -> None:
    """counts: of each span, by address. All services lie at the same addresses: name the one that works most."""
    kernel, other = Program(KERNEL_ELF), Program(launch.TARGET / f"services/{service}.elf")
    for index, span in enumerate(counts):
        functions = collections.Counter()
        for address, count in span.items():
            where, program = ("kernel", kernel) if address >= kernel_from else (service, other)
            functions[where, program.function(address)] += count
        print(f"span {index}: {functions.total()} instructions outside the guests")
        for (where, name), count in functions.most_common(SHOWN):
            print(f"{count:12}  {where:12}  {name[:100]}")
