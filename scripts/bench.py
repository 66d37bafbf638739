"""Measures Atoll in guest instructions, compares it with the same guest on no hypervisor, and checks the goals.

QEMU runs with -icount shift=0: one instruction of any exception level is one nanosecond of the guest's clock, so two
runs give the same numbers on any machine. Prints a table and writes it as JSON. Exit status 1 if a goal is missed.
"""
import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import launch
import prepare
from images import cpio
from schemas import InputError

PEERS = json.loads((launch.ROOT / "scripts/peers.json").read_text())
LIMIT_SECONDS = 600          # of one machine; only a hang takes that long
FLAT_GUEST = launch.TARGET / "guests/bench.bin"
FLAT_MIB = 64                # its RAM
GUEST_ENTRY = 0x4008_0000    # its first instruction: 512 KiB into RAM
KERNEL_BULK = r"memset$|memcpy$|.*ClearToPointOfCoherency"
SUPERVISOR_BULK = r"memset$|memcpy$|atoll::TaskLoader::Fill\("
# "Trace 0: 0x7f... [flags/PC/...] symbol" of QEMU's -d exec.
TRACED = re.compile(rb"\[[0-9a-f]+/([0-9a-f]+)/")
DISK_MIB = 64
TICK_NANOSECONDS = 16        # of QEMU's system counter, 62.5 MHz
EXECUTABLE, DIRECTORY, REGULAR = 0o100755, 0o040755, 0o100644
BENCH_LINE = re.compile(r"BENCH (\w+) (\d+)")
RUN_INIT = re.compile(r"^\[ *(\d+)\.(\d{6})\] Run /init", re.MULTILINE)

ROWS = {  # name: (what it is, unit, goal)
    "uart_status_read": ("UART register read, answered by its service", "instructions", 300),
    "rtc_data_read": ("RTC register read, answered by its service", "instructions", 300),
    "virtio_magic_read": ("virtio-mmio register read", "instructions", 300),
    "gicd_typer_read": ("GICD_TYPER read, answered by vgic", "instructions", 300),
    "hvc_psci_version": ("hvc PSCI_VERSION, answered by vmm", "instructions", 250),
    "null_ipc": ("EL0 to EL0: null call and reply", "instructions", 210),
    "call_and_reply_256_bytes": ("  with 256 bytes each way", "instructions", None),
    "call_and_reply_4096_bytes": ("  with 4096 bytes each way", "instructions", None),
    "signal_round_trip": ("EL0 to EL0: a signal each way", "instructions", None),
    "id_register_read": ("trapped ID register read", "instructions", None),
    "sgi_to_self": ("SGI to self: sent, taken, ended", "instructions", 700),
    "timer_lateness": ("virtual timer: due to handler", "instructions", 600),
    "wfi_wake": ("WFI, woken by the virtual timer", "instructions", 1100),
    "first_touch_4k": ("first touch of RAM, per 4 KiB", "instructions", None),
    "linux_run_init": ("Linux: its clock's start to `Run /init`", "instructions", 810_000_000),
    "memory_disk_read_p50": ("virtio-blk 4 KiB read, disk in memory, p50", "instructions", 24_000),
    "memory_disk_write_p50": ("virtio-blk 4 KiB write, disk in memory, p50", "instructions", None),
    "null_disk_read_p50": ("virtio-blk 4 KiB read, null disk, p50", "instructions", None),
    "null_disk_write_p50": ("virtio-blk 4 KiB write, null disk, p50", "instructions", None),
    "power_on_to_guest": ("power-on to the guest's first instruction, 64 MiB", "instructions", None),
    "clearing_and_copying": ("  of these, clearing RAM and copying images", "instructions", None),
    "kernel_entry": ("  the rest", "instructions", 5_000_000),
    "kernel_text": ("the kernel's text", "bytes", 65536),
}


@dataclasses.dataclass
class Table:
    """Values by row, of Atoll and without a hypervisor."""
    atoll: dict[str, float] = dataclasses.field(default_factory=dict)
    bare: dict[str, float] = dataclasses.field(default_factory=dict)

    def verdict(self, row: str) -> str:
        goal = ROWS[row][2]
        if row not in self.atoll:
            return "missing"
        return "" if goal is None else "ok" if self.atoll[row] <= goal else "MISSED"

    def as_json(self) -> dict:
        return {row: {"what": what, "unit": unit, "goal": goal, "atoll": self.atoll.get(row), "bare": self.bare.get(row),
                      "peers": dict(zip(PEERS["systems"], PEERS["rows"].get(row, []))), "verdict": self.verdict(row)}
                for row, (what, unit, goal) in ROWS.items()}

    def print(self) -> None:
        def number(value) -> str:
            if value is None:
                return "-"
            return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value:.1f}" if value % 1 else f"{value:.0f}"

        heads = ["operation", "goal", "Atoll", "", "bare", *PEERS["systems"]]
        lines = [[what.rstrip(), number(goal), number(self.atoll.get(row)), self.verdict(row), number(self.bare.get(row)),
                  *map(number, PEERS["rows"].get(row, [None] * len(PEERS["systems"])))]
                 for row, (what, _, goal) in ROWS.items()]
        widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
        for line in [heads, *lines]:
            print(line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:])), sep="  ")


def boot(command: list[str]) -> str:
    """What a machine prints until it ends."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=LIMIT_SECONDS)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        sys.exit(f"{tail}\nbench: the machine ended with status {done.returncode}; its last lines are above")
    return done.stdout.replace("\r", "")


def on_atoll(**options) -> str:
    with launch.Machine(launch.Options(icount=True, **options)) as machine:
        machine.prepare()
        return boot(machine.command(["-serial", "stdio"]))


def on_bare(kernel: str, memory: int, *more: str) -> str:
    return boot(["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-smp", "1", "-m", str(memory),
                 "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
                 "-global", "virtio-mmio.force-legacy=false", *launch.ICOUNT, "-kernel", kernel, *more])


def bench_lines(output: str, divisor: float) -> dict[str, float]:
    return {name: int(value) / divisor for name, value in BENCH_LINE.findall(output)}


def flat_system(folder: pathlib.Path) -> str:
    path = folder / "flat.textproto"
    path.write_text(f'vm {{ name: "bench" memory_mib: {FLAT_MIB} kernel: "{FLAT_GUEST}" disk {{ zero_mib: 1 }} }}\n')
    return str(path)


def measure_flat(table: Table, folder: pathlib.Path) -> None:
    """The bare-metal guest."""
    for values, output in ((table.atoll, on_atoll(config=flat_system(folder))),
                           (table.bare, on_bare(str(FLAT_GUEST), FLAT_MIB))):
        values |= {row: value for row, value in bench_lines(output, 100).items() if row in ROWS}


def code_of(elf: pathlib.Path, pattern: str) -> list[range]:
    """Where the functions are whose demangled names match."""
    listing = subprocess.run(["llvm-nm-19", "--demangle", "--print-size", str(elf)], check=True, capture_output=True,
                             text=True).stdout
    rows = [line.split(" ", 3) for line in listing.splitlines()]
    found = [range(int(row[0], 16), int(row[0], 16) + int(row[1], 16)) for row in rows
             if len(row) == 4 and row[2] in "tTwW" and re.match(pattern, row[3])]
    if not found:
        sys.exit(f"bench: {elf} has no function that matches {pattern}: what copies and clears has another name now")
    return found


def measure_start(table: Table, folder: pathlib.Path) -> None:
    """Each instruction up to the guest's first, by what it is for. QEMU logs them one by one."""
    bulk = code_of(launch.TARGET / "kernel/kernel.elf", KERNEL_BULK)
    # The supervisor loads all services before it starts the first, so these addresses are its own.
    bulk += code_of(launch.TARGET / "services/supervisor.elf", SUPERVISOR_BULK)
    counts = collections.Counter()
    log = folder / "trace"
    os.mkfifo(log)
    with launch.Machine(launch.Options(icount=True, config=flat_system(folder))) as machine:
        machine.prepare()
        command = machine.command(["-serial", "null", "-singlestep", "-d", "exec,nochain", "-D", str(log)])
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process, log.open("rb") as lines:
            for line in lines:
                if found := TRACED.search(line):
                    address = int(found[1], 16)
                    if address == GUEST_ENTRY:
                        break
                    counts[address] += 1
            else:
                sys.exit("bench: the traced machine ended before its guest began")
            process.kill()
    table.atoll["power_on_to_guest"] = counts.total()
    table.atoll["clearing_and_copying"] = sum(n for address, n in counts.items() if any(address in c for c in bulk))
    table.atoll["kernel_entry"] = table.atoll["power_on_to_guest"] - table.atoll["clearing_and_copying"]


def measure_linux(table: Table, folder: pathlib.Path) -> None:
    """Debian's kernel: its boot, and its disk with a program that reads and writes blocks."""
    launch.make_images()
    images = launch.demo_files()
    program = folder / "blkbench"
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-static", str(launch.ROOT / "guests/linux/blkbench.c"), "-o",
                    str(program)], check=True)
    script = b"blkbench=/batch/blkbench\n$blkbench null_disk /dev/vda && $blkbench memory_disk /dev/vdb\n"
    initramfs = folder / "initramfs.cpio"
    initramfs.write_bytes(pathlib.Path(images["initramfs"]).read_bytes() + cpio([
        ("batch", DIRECTORY, b""), ("batch/script", REGULAR, script), ("batch/marker", REGULAR, b"bench\n"),
        ("batch/blkbench", EXECUTABLE, program.read_bytes())]))
    system = folder / "linux.textproto"
    system.write_text(f'vm {{ name: "linux" kernel: "{images["linux"]}" initrd: "{initramfs}" '
                      f'command_line: "console=ttyAMA0" disk {{ null_mib: {DISK_MIB} }} disk {{ zero_mib: {DISK_MIB} }} }}\n')
    disks = []
    for index in range(2):  # QEMU gives the first device of the command line the highest slot
        disks += ["-drive", f"if=none,id=d{index},driver=null-co,size={DISK_MIB}M,read-zeroes=on",
                  "-device", f"virtio-blk-device,drive=d{index}"]
    for values, output in ((table.atoll, on_atoll(config=str(system))),
                           (table.bare, on_bare(images["linux"], 512, "-initrd", str(initramfs), "-append",
                                                "console=ttyAMA0", *disks))):
        found = RUN_INIT.search(output)
        ticks = bench_lines(output, 1)
        if not found or len(ticks) != 4:
            sys.exit(f"{output[-3000:]}\nbench: the Linux guest did not come to its end; its last lines are above")
        values["linux_run_init"] = (int(found[1]) * 1_000_000 + int(found[2])) * 1000
        values |= {row: value * TICK_NANOSECONDS for row, value in ticks.items()}
    for row in ("memory_disk_read_p50", "memory_disk_write_p50"):
        del table.bare[row]  # its disks are both null


def measure_ipc(table: Table) -> None:
    image = launch.TARGET / "kernel/bench_ipc.img"
    if image.exists():
        output = boot(launch.qemu("neoverse-n1", launch.MACHINE_MIN_MIB, True) + ["-kernel", str(image), "-serial", "stdio"])
        table.atoll |= {row: value for row, value in bench_lines(output, 100).items() if row in ROWS}


def measure_size(table: Table) -> None:
    listing = subprocess.run(["llvm-size-19", "-A", str(launch.TARGET / "kernel/kernel.elf")], check=True,
                             capture_output=True, text=True).stdout
    table.atoll["kernel_text"] = int(re.search(r"^\.text +(\d+)", listing, re.MULTILINE)[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, default=launch.BUILD / "bench.json",
                        help="default %(default)s")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    arguments = parser.parse_args()
    if not arguments.no_build:
        prepare.build(prepare.TARGET)
    table = Table()
    try:
        with tempfile.TemporaryDirectory(prefix="atoll-bench-") as name:
            folder = pathlib.Path(name)
            measure_flat(table, folder)
            measure_start(table, folder)
            measure_ipc(table)
            measure_linux(table, folder)
    except InputError as error:
        launch.say(str(error))
        return 2
    except subprocess.TimeoutExpired as error:
        sys.exit(f"bench: a machine did not end within {error.timeout:g} seconds: {' '.join(error.cmd)}")
    measure_size(table)
    table.print()
    arguments.json.write_text(json.dumps(table.as_json(), indent=1) + "\n")
    return 1 if any(table.verdict(row) in ("MISSED", "missing") for row in ROWS) else 0


if __name__ == "__main__":
    sys.exit(main())
