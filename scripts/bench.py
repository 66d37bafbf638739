"""Measures Atoll in guest instructions, compares it with the same guest on no hypervisor, and checks the goals.

QEMU runs with -icount shift=0: one instruction of any exception level is one nanosecond of the guest's clock, so two
runs give the same numbers on any machine. Prints a table and writes it as JSON. Exit status 1 if a goal is missed.
"""
import argparse
import dataclasses
import json
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
FLAT_MIB = (64, 128)         # guest RAM of the runs that tell what clearing costs
PADDING_BYTES = 8 << 20      # of the run that tells what copying costs
MIB = 1 << 20
DISK_MIB = 64
TICK_NANOSECONDS = 16        # of QEMU's system counter, 62.5 MHz
EXECUTABLE, DIRECTORY, REGULAR = 0o100755, 0o040755, 0o100644
BENCH_LINE = re.compile(r"BENCH (\w+) (\d+)")
RUN_INIT = re.compile(r"^\[ *(\d+)\.(\d{6})\] Run /init", re.MULTILINE)

ROWS = {  # name: (what it is, unit, goal)
    "uart_status_read": ("UART register read, answered by its service", "instructions", 300),
    "rtc_data_read": ("RTC register read", "instructions", 300),
    "virtio_magic_read": ("virtio-mmio register read", "instructions", 300),
    "gicd_typer_read": ("GICD_TYPER read, answered by vgic", "instructions", 300),
    "hvc_psci_version": ("hvc PSCI_VERSION, answered by vmm", "instructions", 250),
    "null_ipc": ("EL0 to EL0: null call and reply", "instructions", 210),
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
    "kernel_entry": ("power-on to the guest, without copies and clearing", "instructions", 5_000_000),
    "clear_ram_mib": ("  clearing 1 MiB of a guest's RAM", "instructions", None),
    "copy_image_mib": ("  copying 1 MiB of a guest's image", "instructions", None),
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


def flat_system(folder: pathlib.Path, kernel: pathlib.Path, mib: int) -> str:
    path = folder / "flat.textproto"
    path.write_text(f'vm {{ name: "bench" memory_mib: {mib} kernel: "{kernel}" disk {{ zero_mib: 1 }} }}\n')
    return str(path)


def measure_flat(table: Table, folder: pathlib.Path) -> None:
    """The bare-metal guest; and what start-up costs, from runs that differ in one size only."""
    kernel = launch.TARGET / "guests/bench.bin"
    padded = folder / "padded.bin"
    padded.write_bytes(kernel.read_bytes() + bytes(PADDING_BYTES))
    small, large = (bench_lines(on_atoll(config=flat_system(folder, kernel, mib)), 100) for mib in FLAT_MIB)
    copied = bench_lines(on_atoll(config=flat_system(folder, padded, FLAT_MIB[0])), 100)
    bare = bench_lines(on_bare(str(kernel), FLAT_MIB[0]), 100)
    begin = "power_on_to_guest"
    clear = (large[begin] - small[begin]) / (FLAT_MIB[1] - FLAT_MIB[0])
    copy = (copied[begin] - small[begin]) * MIB / PADDING_BYTES
    # The same guest code on no hypervisor: what QEMU's boot stub and the guest's own first instructions take.
    beyond = small[begin] - bare[begin] - clear * FLAT_MIB[0] - copy * kernel.stat().st_size / MIB
    table.atoll |= {row: small[row] for row in small if row in ROWS}
    table.bare |= {row: bare[row] for row in bare if row in ROWS}
    table.atoll |= {"kernel_entry": beyond, "clear_ram_mib": clear, "copy_image_mib": copy}


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
