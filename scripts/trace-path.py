"""Where the instructions of one way through the hypervisor go: from the instruction that enters the kernel to the
one behind it, by function. QEMU executes one instruction at a time and logs each.

The guest of guests/bench/trace.cc takes the ways of guests, tests/kernel/bench_ipc.cc the one between tasks. Each is
taken a few times, and the shortest counts. docs/mmio-path.md explains what is seen.
"""
import argparse
import bisect
import collections
import dataclasses
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

KERNEL = launch.TARGET / "kernel"
GUESTS = launch.TARGET / "guests"
SERVICES = launch.TARGET / "services"
DESCRIPTION = launch.ROOT / "guests/bare.textproto"
IPC_PROGRAM = "bench_ipc"
# Path of a guest -> the service that it leads through; "" for none.
GUEST_PATHS = {"uart_status_read": "pl011", "rtc_data_read": "pl031", "gicd_typer_read": "vgic",
               "virtio_magic_read": "virtio-blk", "psci_version": "vmm", "other_device_read": "pl011",
               "doorbell": "virtio-blk", "sgi_to_self": "", "id_register_read": ""}
TASK_PATHS = {"null_ipc": "test::Caller"}  # the function whose svc is the call
ALL_PATHS = [*GUEST_PATHS, *TASK_PATHS]
LABEL = "trace_"             # of a guest path's first instruction
INSTRUCTION_BYTES = 4
TIMES = 4                    # as often each path is taken: REPEATS of trace.cc, and no fewer in bench_ipc.cc
TIMEOUT_SECONDS = 300
READ_BYTES = 1 << 20
# "Trace 0: 0x7f... [flags/PC/...] symbol" of QEMU's -d exec.
TRACED = re.compile(rb"\[[0-9a-f]+/([0-9a-f]+)/")


def short(name: str) -> str:
    """A demangled name without return type, parameters and our namespace."""
    return name.replace("(anonymous namespace)::", "").split("(")[0].replace("atoll::", "").removeprefix("void ")


class Program:
    """An ELF file: its functions and labels by address."""

    def __init__(self, name: str, elf: pathlib.Path):
        listing = subprocess.run(["llvm-nm-19", "--demangle", "--defined-only", str(elf)], check=True,
                                 capture_output=True, text=True).stdout
        rows = (line.split(" ", 2) for line in listing.splitlines())
        found = sorted((int(address, 16), short(name)) for address, kind, name in rows if kind in "tTwW")
        self.name, self.elf = name, elf
        self.addresses, self.names = [a for a, _ in found], [n for _, n in found]

    def find(self, address: int) -> tuple[int, str]:
        """Start and name of what begins nearest at or below; (-1, "") if nothing does."""
        at = bisect.bisect_right(self.addresses, address) - 1
        if at < 0:
            return -1, ""
        at = bisect.bisect_left(self.addresses, self.addresses[at])  # of several names the first: C++ before assembly
        return self.addresses[at], self.names[at]

    def address(self, name: str) -> int:
        return self.addresses[self.names.index(name)]

    def supervisor_call_of(self, name: str) -> int:
        """The address of the one svc in a function."""
        start = self.address(name)
        end = self.addresses[bisect.bisect_right(self.addresses, start)]
        listing = subprocess.run(["llvm-objdump-19", "-d", f"--start-address={start:#x}", f"--stop-address={end:#x}",
                                  str(self.elf)], check=True, capture_output=True, text=True).stdout
        [line] = [line for line in listing.splitlines() if "\tsvc\t" in line]
        return int(line.split(":")[0], 16)

    def source_lines(self, addresses: list[int]) -> dict[int, str]:
        """"file:line" of each instruction."""
        def shown(place: str) -> str:
            file = pathlib.Path(place.rsplit(":", 1)[0]).resolve()
            return str(file.relative_to(launch.ROOT)) if file.is_relative_to(launch.ROOT) else file.name

        wanted = sorted(set(addresses))
        output = subprocess.run(["llvm-symbolizer-19", f"--obj={self.elf}"] + [hex(a) for a in wanted], check=True,
                                capture_output=True, text=True).stdout
        blocks = output.strip().split("\n\n")  # of each address: function and place, the innermost inlined one first
        return {address: shown(block.splitlines()[1]) for address, block in zip(wanted, blocks)}


@dataclasses.dataclass
class Recorder:
    """Finds paths in a stream of addresses: name by the address of the first instruction."""
    starts: dict[int, str]
    taken: dict[str, list[list[int]]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    start: int = 0
    steps: list[int] | None = None

    def feed(self, address: int) -> None:
        if self.steps is not None and address == self.start + INSTRUCTION_BYTES:
            self.taken[self.starts[self.start]].append(self.steps)
            self.steps = None
        if address in self.starts:
            self.start, self.steps = address, []
        if self.steps is not None:
            self.steps.append(address)

    def is_done(self) -> bool:
        return all(len(self.taken[path]) >= TIMES for path in self.starts.values())


def trace(command: list[str], starts: dict[int, str]) -> dict[str, list[int]]:
    """Runs a machine until it has taken all paths: the addresses of each."""
    recorder, rest = Recorder(starts), b""
    reader, writer = os.pipe()
    with subprocess.Popen(command + ["-serial", "null", "-singlestep", "-d", "exec,nochain", "-D", f"/dev/fd/{writer}"],
                          stdin=subprocess.DEVNULL, pass_fds=[writer]) as machine, os.fdopen(reader, "rb") as log:
        os.close(writer)
        deadline = threading.Timer(TIMEOUT_SECONDS, machine.kill)
        deadline.start()
        while not recorder.is_done() and (chunk := log.read(READ_BYTES)):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            for match in TRACED.finditer(lines + newline):
                recorder.feed(int(match[1], 16))
        deadline.cancel()
        machine.kill()
    if not recorder.is_done():
        missing = [path for path in starts.values() if len(recorder.taken[path]) < TIMES]
        sys.exit(f"atoll: the traced machine ended, or was ended after {TIMEOUT_SECONDS} seconds, without having taken "
                 f"{', '.join(missing)} {TIMES} times")
    return {path: min(taken, key=len) for path, taken in recorder.taken.items()}


def trace_guest(cpu: str, paths: list[str]):
    guest = Program("guest", GUESTS / "trace.guest.elf")
    kernel = Program("kernel", KERNEL / "kernel.elf")
    options = launch.Options(config=str(DESCRIPTION), files={"bare": str(GUESTS / "trace.bin")}, cpu=cpu, icount=True)
    with launch.Machine(options) as machine:
        machine.prepare()
        taken = trace(machine.command([]), {guest.address(LABEL + path): path for path in GUEST_PATHS})
    for path in paths:
        service = GUEST_PATHS[path]
        yield path, taken[path], [guest, kernel] + ([Program(service, SERVICES / f"{service}.elf")] if service else [])


def trace_tasks(cpu: str, paths: list[str]):
    tasks = Program("task", launch.TARGET / f"tests/kernel/{IPC_PROGRAM}.elf")
    kernel = Program("kernel", KERNEL / f"{IPC_PROGRAM}.kernel.elf")
    command = launch.qemu(cpu, launch.MACHINE_MIN_MIB, True) + ["-kernel", str(KERNEL / f"{IPC_PROGRAM}.img")]
    taken = trace(command, {tasks.supervisor_call_of(TASK_PATHS[path]): path for path in paths})
    for path in paths:
        yield path, taken[path], [tasks, kernel]


def show(path: str, steps: list[int], programs: list[Program], with_lines: bool) -> None:
    print(f"{path}: {len(steps)} instructions")

    def place(address: int) -> tuple[int, str]:
        """Index of the program whose function begins nearest below, and that function."""
        start, index = max((program.find(address)[0], index) for index, program in enumerate(programs))
        return index, programs[index].find(start)[1]

    for (index, function), group in itertools.groupby(steps, key=place):
        addresses = list(group)
        print(f"{len(addresses):6}  {programs[index].name:10}  {function}")
        if with_lines:
            lines = programs[index].source_lines(addresses)
            for line, count in collections.Counter(lines[address] for address in addresses).items():
                print(f"{count:22}  {line}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/trace-path", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="*", metavar="PATH", help=f"of {', '.join(ALL_PATHS)}; default: {ALL_PATHS[0]}")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--lines", action="store_true", help="show each source line's share")
    parser.add_argument("--cpu", default="neoverse-n1", metavar="MODEL")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    arguments = parser.parse_args()
    wanted = ALL_PATHS if arguments.all else arguments.path or ALL_PATHS[:1]
    for path in wanted:
        if path not in ALL_PATHS:
            parser.error(f"{path}: must be one of {', '.join(ALL_PATHS)}")
    if not arguments.no_build:
        launch.say("building")
        prepare.build(prepare.TARGET)
    try:
        for tracer, of_tracer in ((trace_guest, GUEST_PATHS), (trace_tasks, TASK_PATHS)):
            paths = [path for path in wanted if path in of_tracer]
            for path, steps, programs in tracer(arguments.cpu, paths) if paths else ():
                show(path, steps, programs, arguments.lines)
    except InputError as error:
        launch.say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
