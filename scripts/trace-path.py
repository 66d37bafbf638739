"""Where the instructions of one way through the hypervisor go: from the guest's instruction that leaves it to the
guest's next one, by function. QEMU runs the guest of guests/bench/trace.cc one instruction at a time and logs each.

docs/mmio-path.md explains what is seen.
"""
import argparse
import bisect
import collections
import itertools
import os
import pathlib
import re
import subprocess
import sys
import threading

import launch
import prepare
from schemas import InputError

GUEST_ELF = launch.TARGET / "guests/trace.guest.elf"
GUEST_IMAGE = launch.TARGET / "guests/trace.bin"
KERNEL_ELF = launch.TARGET / "kernel/kernel.elf"
DESCRIPTION = launch.ROOT / "guests/bare.textproto"
# Path -> the service that it leads through; "" for none.
PATHS = {"uart_status_read": "pl011", "rtc_data_read": "pl031", "gicd_typer_read": "vgic",
         "virtio_magic_read": "virtio-blk", "psci_version": "vmm", "other_device_read": "pl011",
         "doorbell": "virtio-blk", "sgi_to_self": "", "id_register_read": ""}
LABEL = "trace_"
TIMEOUT_SECONDS = 300
READ_BYTES = 1 << 20
# "Trace 0: 0x7f... [flags/PC/...] symbol" of QEMU's -d exec.
TRACED = re.compile(rb"\[[0-9a-f]+/([0-9a-f]+)/")


def short(name: str) -> str:
    """A demangled name without return type, parameters and our namespace."""
    return name.replace("(anonymous namespace)::", "").split("(")[0].replace("atoll::", "").removeprefix("void ")


class Symbols:
    """Functions and labels of an ELF file by address."""

    def __init__(self, elf: pathlib.Path, owner: str):
        listing = subprocess.run(["llvm-nm-19", "--demangle", "--defined-only", str(elf)], check=True,
                                 capture_output=True, text=True).stdout
        rows = (line.split(" ", 2) for line in listing.splitlines())
        found = sorted((int(address, 16), short(name)) for address, kind, name in rows if kind in "tTwWB")
        self.elf, self.owner = elf, owner
        self.addresses, self.names = [a for a, _ in found], [n for _, n in found]

    def find(self, address: int) -> tuple[int, str] | None:
        at = bisect.bisect_right(self.addresses, address) - 1
        if at < 0:
            return None
        at = bisect.bisect_left(self.addresses, self.addresses[at])  # of several names the first: C++ before assembly
        return self.addresses[at], self.names[at]

    def address(self, name: str) -> int:
        return self.addresses[self.names.index(name)]


class Paths:
    """The last time that each path was taken: the addresses from its label to the guest's next instruction."""

    def __init__(self, guest: Symbols):
        self.labels = {guest.address(LABEL + name): name for name in PATHS}
        self.guest = range(guest.addresses[0], guest.address("guest_end"))
        self.found: dict[str, list[int]] = {}
        self._name, self._steps = "", []

    def feed(self, address: int) -> None:
        if self._name and address in self.guest:
            self.found[self._name] = self._steps
            self._name = ""
        if not self._name and address in self.labels:
            self._name, self._steps = self.labels[address], []
        if self._name:
            self._steps.append(address)


def read_log(path: pathlib.Path, paths: Paths) -> None:
    rest = b""
    with path.open("rb") as log:
        while chunk := log.read(READ_BYTES):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            for match in TRACED.finditer(lines + newline):
                paths.feed(int(match[1], 16))


def trace(cpu: str, paths: Paths) -> None:
    """Runs the guest to its end; its paths are then in `paths`."""
    options = launch.Options(config=str(DESCRIPTION), files={"bare": str(GUEST_IMAGE)}, cpu=cpu, icount=True)
    with launch.Machine(options) as machine:
        machine.prepare()
        log = machine.folder / "trace"
        os.mkfifo(log)
        options.extra_qemu = ["-singlestep", "-d", "exec,nochain", "-D", str(log)]
        reader = threading.Thread(target=read_log, args=(log, paths))
        reader.start()
        done = subprocess.run(machine.command(["-serial", "null"]), stdin=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS)
        reader.join()
    if done.returncode != 0:
        sys.exit(f"atoll: the traced machine ended with status {done.returncode}; try `scripts/run --config "
                 f"{DESCRIPTION.relative_to(launch.ROOT)} --file bare={GUEST_IMAGE}` to see why")


def owner_of(address: int, tables: list[Symbols]) -> Symbols | None:
    """The program whose function begins nearest below."""
    found = [(place[0], at) for at, table in enumerate(tables) if (place := table.find(address))]
    return tables[max(found)[1]] if found else None


def source_lines(elf: pathlib.Path, addresses: list[int]) -> dict[int, str]:
    """"file:line" of each instruction."""
    def shown(place: str) -> str:
        path = pathlib.Path(place.rsplit(":", 1)[0]).resolve()
        return str(path.relative_to(launch.ROOT)) if path.is_relative_to(launch.ROOT) else path.name

    wanted = sorted(set(addresses))
    output = subprocess.run(["llvm-symbolizer-19", f"--obj={elf}"] + [hex(a) for a in wanted],
                            check=True, capture_output=True, text=True).stdout
    blocks = output.strip().split("\n\n")  # of each address: function and place, the innermost inlined one first
    return {address: shown(block.splitlines()[1]) for address, block in zip(wanted, blocks)}


def show(name: str, steps: list[int], tables: list[Symbols], with_lines: bool) -> None:
    print(f"{name}: {len(steps)} instructions")

    def place(address: int) -> tuple[int, str]:
        table = owner_of(address, tables)
        return (tables.index(table), table.find(address)[1]) if table else (-1, "?")

    for (at, function), group in itertools.groupby(steps, key=place):
        addresses = list(group)
        print(f"{len(addresses):6}  {tables[at].owner if at >= 0 else '?':10}  {function}")
        if with_lines and at >= 0:
            sources = source_lines(tables[at].elf, addresses)
            for line, count in collections.Counter(sources[address] for address in addresses).items():
                print(f"{count:22}  {line}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/trace-path", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="*", metavar="PATH", help=f"one of {', '.join(PATHS)}; default: {next(iter(PATHS))}")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--lines", action="store_true", help="show each source line's share")
    parser.add_argument("--cpu", default="neoverse-n1", metavar="MODEL")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    arguments = parser.parse_args()
    wanted = list(PATHS) if arguments.all else arguments.path or [next(iter(PATHS))]
    for name in wanted:
        if name not in PATHS:
            parser.error(f"{name}: must be one of {', '.join(PATHS)}")
    if not arguments.no_build:
        launch.say("building")
        prepare.build(prepare.TARGET)
    guest, kernel = Symbols(GUEST_ELF, "guest"), Symbols(KERNEL_ELF, "kernel")
    paths = Paths(guest)
    try:
        trace(arguments.cpu, paths)
    except InputError as error:
        launch.say(str(error))
        return 2
    for name in wanted:
        service = PATHS[name]
        tables = [guest, kernel]
        if service:
            tables.append(Symbols(launch.TARGET / f"services/{service}.elf", service))
        show(name, paths.found[name], tables, arguments.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
