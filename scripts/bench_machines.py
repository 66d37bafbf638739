"""The machines that scripts/bench measures on: Atoll's, and QEMU's own without a hypervisor."""
import dataclasses
import pathlib
import re
import subprocess
import sys
import tempfile

import bench_profile
import launch

LIMIT_SECONDS = 1200         # of one machine on a busy host; only a hang takes that long
BENCH_LINE = re.compile(r"BENCH (\w+) (\d+)")
COUNTER_SOURCE = launch.ROOT / "scripts/instruction_counter.c"
KERNEL_ELF = launch.TARGET / "kernel/kernel.elf"
# Of EL0 programs, all of them services while no program of a guest lies there (ipc/abi.h: from the image's base to the
# stack's end); of the kernel, all that it has (kernel/kernel.ld).
SERVICES, KERNEL = (0x40_0000, 0x1000_0000), (0xffff_ffc0_0000_0000, 0xffff_ffc1_0000_0000)
MARK_BEGIN, MARK_END = 100, 101
VECTORS_FROM_BELOW = (0x400, 0x480)  # synchronous and interrupt, AArch64 (DDI0487, D1.3.1)


@dataclasses.dataclass
class Span:
    """What was executed between two marks."""
    guests: int
    kernel: int
    services: int
    exits: int

    @property
    def outside(self) -> int:
        return self.kernel + self.services

    @property
    def total(self) -> int:
        return self.guests + self.outside


@dataclasses.dataclass
class Marks:
    """Which mark, and the counts since power-on, in the order in which they came."""
    seen: list[tuple[int, Span]]

    def spans(self) -> list[Span]:
        """From each begin to the next end."""
        result, begin = [], None
        for number, at in self.seen:
            if number == MARK_BEGIN:
                begin = at
            elif begin is not None:
                result.append(between(begin, at))
                begin = None
        return result

    def whole(self) -> Span:
        """From the first mark to the last."""
        return between(self.seen[0][1], self.seen[-1][1])


def between(begin: Span, end: Span) -> Span:
    return Span(*(getattr(end, field.name) - getattr(begin, field.name) for field in dataclasses.fields(Span)))


def boot(command: list[str], limit_seconds: int = LIMIT_SECONDS) -> str:
    """What a machine prints until it ends."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=limit_seconds)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        sys.exit(f"{tail}\nbench: the machine ended with status {done.returncode}; its last lines are above")
    return done.stdout.replace("\r", "")


def symbol(elf: pathlib.Path, name: str) -> int:
    listing = subprocess.run(["llvm-nm-19", str(elf)], check=True, capture_output=True, text=True).stdout
    return int(re.search(rf"^([0-9a-f]+) \w {name}$", listing, re.MULTILINE)[1], 16)


def counter_plugin() -> pathlib.Path:
    plugin = launch.BUILD / "instruction_counter.so"
    if not plugin.exists() or plugin.stat().st_mtime < COUNTER_SOURCE.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(COUNTER_SOURCE), "-o", str(plugin)], check=True)
    return plugin


profiled_service = None  # set: `counted` prints where the instructions go


def counted(run, *arguments, **options) -> tuple[str, Marks]:
    """`run` with a machine whose instructions are counted: its output and the marks."""
    with tempfile.NamedTemporaryFile(prefix="atoll-marks-", mode="r") as out:
        vectors = symbol(KERNEL_ELF, "ExceptionVectors")
        settings = [f"file={counter_plugin()}", f"out={out.name}",
                    *(f"{name}={low:x}-{high:x}" for name, (low, high) in (("services", SERVICES), ("kernel", KERNEL))),
                    *(f"entry={vectors + offset:x}" for offset in VECTORS_FROM_BELOW),
                    *(["profile=on"] if profiled_service else [])]
        output = run(*arguments, extra_qemu=["-plugin", ",".join(settings)], **options)
        seen, profiles = [], []
        for line in out:
            first, *rest = line.split()
            if first.startswith("@"):
                profiles[-1][int(first[1:], 16)] = int(rest[0])
                continue
            seen.append((int(first), Span(*map(int, rest))))
            if int(first) == MARK_END:
                profiles.append({})
        if profiled_service:
            bench_profile.show(profiles, profiled_service, KERNEL[0])
        return output, Marks(seen)


def on_atoll(**options) -> str:
    with launch.Machine(launch.Options(icount=True, **options)) as machine:
        machine.prepare()
        return boot(machine.command(["-serial", "stdio"]))


def on_bare(kernel: str, memory: int, *more: str, cpus: int = 1) -> str:
    return boot(["qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "neoverse-n1", "-smp", str(cpus), "-m",
                 str(memory), "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
                 "-global", "virtio-mmio.force-legacy=false", *launch.ICOUNT, "-kernel", kernel, *more])


def bench_lines(output: str, divisor: float = 1) -> dict[str, float]:
    return {name: int(value) / divisor for name, value in BENCH_LINE.findall(output)}
