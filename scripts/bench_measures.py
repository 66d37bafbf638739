"""The measurements of scripts/bench, each a function that gives some rows of the table.

With a KvmHost the same guest's work is added to it, too; its numbers come when the host runs.
"""
import collections
import os
import pathlib
import re
import subprocess
import sys

import launch
from bench_kvm import DISK_FILE, Job, KvmHost
from bench_machines import Marks, bench_lines, boot, counted, on_atoll, on_bare
from bench_rows import ROWS, Table
from images import cpio

GUESTS = launch.TARGET / "guests"
FLAT_MIB, SHARE_MIB, LINUX_MIB, DISK_MIB = 64, 16, 512, 64
GUEST_ENTRY = 0x4008_0000    # a flat guest's first instruction: 512 KiB into RAM
KERNEL_BULK = r"memset$|memcpy$|.*ClearToPointOfCoherency"
SUPERVISOR_BULK = r"memset$|memcpy$|atoll::TaskLoader::Fill\("
# "Trace 0: 0x7f... [flags/PC/...] symbol" of QEMU's -d exec.
TRACED = re.compile(rb"\[[0-9a-f]+/([0-9a-f]+)/")
EXECUTABLE, DIRECTORY, REGULAR = 0o100755, 0o040755, 0o100644
RUN_INIT = re.compile(r"^\[ *(\d+)\.(\d{6})\] Run /init", re.MULTILINE)
MIB, MEGABYTE = 1 << 20, 1_000_000
HUNDREDTHS = 100
PROGRAM_BASE = 0x4000_0000   # where no service is: see bench_machines.SERVICES
DEEP_REQUESTS = 4096         # of each deep measurement: kDeepOperations of blkbench.c
DEEP_READ, DEEP_WRITE = 2, 3  # which of blkbench's spans these are
SPANS_OF_DISK = 6
POLLING_REQUESTS = 4096      # kBatches * kDepth of guests/bench/blk.cc
SHARE_OPERATIONS = 60_000    # of each VM: 3 * kRounds of guests/bench/share.cc
SHARE_VMS = (1, 2, 4, 8)
STREAM_BYTES = 32 * MIB      # kStreamBytes of netbench.c
IDLE_SECONDS = 10
NANOSECONDS = 1_000_000_000
# Modules that the initramfs does not load by itself, in the order of what they need. One may be built in, or be loaded.
NET_MODULES = ["failover", "net_failover", "virtio_net"]
PCI_MODULES = ["virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"]


def system(folder: pathlib.Path, name: str, *vms: str) -> str:
    """A description of VMs, as a file."""
    path = folder / f"{name}.textproto"
    path.write_text("".join(f"vm {{ {vm} }}\n" for vm in vms))
    return str(path)


def null_disk(name: str, size_mib: int) -> list[str]:
    return ["-drive", f"if=none,id={name},driver=null-co,size={size_mib}M",
            "-device", f"virtio-blk-device,drive={name}"]


def keep(values: dict[str, float], found: dict[str, float]) -> None:
    values |= {row: value for row, value in found.items() if row in ROWS}


def flat_lines(output: str) -> dict[str, float]:
    return bench_lines(output, HUNDREDTHS)


def flat_vm(image: str, name: str = "bench", more: str = "", memory: int = FLAT_MIB) -> str:
    return f'name: "{name}" memory_mib: {memory} kernel: "{GUESTS / image}" {more}'


def measure_flat(table: Table, folder: pathlib.Path, kvm: KvmHost | None) -> None:
    """One operation after the other."""
    keep(table.atoll, flat_lines(on_atoll(config=system(folder, "flat", flat_vm("bench.bin", more="disk { zero_mib: 1 }")))))
    keep(table.bare, flat_lines(on_bare(str(GUESTS / "bench.bin"), FLAT_MIB)))
    if kvm is not None:
        kvm.add(Job("flat", GUESTS / "bench.bin", FLAT_MIB, ["-drive", "if=none,id=d,driver=null-co,size=1M", "-device",
                                                            "virtio-blk-device,drive=d"]),
                lambda output: keep(table.kvm, flat_lines(output)))


def measure_ipi(table: Table, folder: pathlib.Path, kvm: KvmHost | None) -> None:
    """Two vCPUs on one CPU."""
    keep(table.atoll, flat_lines(on_atoll(config=system(folder, "ipi", flat_vm("bench_ipi.bin", more="vcpus: 2")))))
    keep(table.bare, flat_lines(on_bare(str(GUESTS / "bench_ipi.bin"), FLAT_MIB, cpus=2)))
    table.bare.pop("ipi_spinning", None)  # each vCPU has a CPU there, and QEMU's turns are what it would measure
    if kvm is not None:
        kvm.add(Job("ipi", GUESTS / "bench_ipi.bin", FLAT_MIB, [], vcpus=2),
                lambda output: keep(table.kvm, flat_lines(output)))


def measure_polling(table: Table, folder: pathlib.Path, kvm: KvmHost | None) -> None:
    """A bare-metal guest's disk, without interrupts. QEMU's own device answers while the guest polls: of no use here."""
    output, marks = counted(on_atoll, config=system(folder, "polling", flat_vm(
        "bench_blk.bin", more=f"disk {{ zero_mib: {DISK_MIB} }}")))
    keep(table.atoll, flat_lines(output))
    for row, span in zip(("polling_read_exits", "polling_write_exits"), marks.spans()):
        table.atoll[row] = span.exits / POLLING_REQUESTS
    if kvm is not None:
        kvm.add(Job("polling", GUESTS / "bench_blk.bin", FLAT_MIB, memory_disk()),
                lambda output: keep(table.kvm, flat_lines(output)))


def measure_share(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """Several VMs at once: what each operation of each costs."""
    for count in SHARE_VMS:
        _, marks = counted(on_atoll, config=system(folder, "share", *(
            flat_vm("bench_share.bin", f"vm{i}", memory=SHARE_MIB) for i in range(count))))
        table.atoll[f"share_{count}"] = marks.whole().total / (count * SHARE_OPERATIONS)
    one, *others = (table.atoll[f"share_{count}"] for count in SHARE_VMS)
    table.atoll["share_growth"] = max(0.0, max(others) / one - 1) * 100


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


def measure_start(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """Each instruction up to the guest's first, by what it is for. QEMU logs them one by one."""
    bulk = code_of(launch.TARGET / "kernel/kernel.elf", KERNEL_BULK)
    # The supervisor loads all services before it starts the first, so these addresses are its own.
    bulk += code_of(launch.TARGET / "services/supervisor.elf", SUPERVISOR_BULK)
    counts = collections.Counter()
    log = folder / "trace"
    os.mkfifo(log)
    config = system(folder, "start", flat_vm("bench.bin", more="disk { zero_mib: 1 }"))
    with launch.Machine(launch.Options(icount=True, config=config)) as machine:
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


def initramfs(folder: pathlib.Path, name: str, script: str, program: str) -> pathlib.Path:
    """The demo's, with a batch script, a program of guests/linux, and the modules that the script may load."""
    launch.make_images()
    binary = folder / program
    subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-static", f"-Wl,-Ttext-segment={PROGRAM_BASE:#x}",
                    str(launch.ROOT / f"guests/linux/{program}.c"), "-o", str(binary)], check=True)
    modules = launch.IMAGES / "packages/kernel/lib/modules"
    entries = [("batch", DIRECTORY, b""), ("batch/script", REGULAR, script.encode()), ("batch/marker", REGULAR, b"bench\n"),
               (f"batch/{program}", EXECUTABLE, binary.read_bytes())]
    entries += [(f"batch/{module}.ko", REGULAR, next(modules.rglob(f"{module}.ko")).read_bytes())
                for module in NET_MODULES + PCI_MODULES]
    made = folder / f"{name}.cpio"
    made.write_bytes(pathlib.Path(launch.demo_files()["initramfs"]).read_bytes() + cpio(entries))
    return made


def linux_vm(initrd: pathlib.Path, name: str = "linux", more: str = "", append: str = "") -> str:
    return (f'name: "{name}" kernel: "{launch.demo_files()["linux"]}" initrd: "{initrd}" memory_mib: {LINUX_MIB} '
            f'command_line: "console=ttyAMA0{append}" {more}')


def bare_linux(initrd: pathlib.Path, *more: str, **options) -> str:
    return on_bare(launch.demo_files()["linux"], LINUX_MIB, "-initrd", str(initrd), "-append", "console=ttyAMA0", *more,
                   *options.get("extra_qemu", []))


def linux_values(output: str) -> dict[str, float]:
    found, values = RUN_INIT.search(output), bench_lines(output)
    if not found or len(values) != 2 * SPANS_OF_DISK:
        sys.exit(f"{output[-3000:]}\nbench: the Linux guest did not come to its end; its last lines are above")
    values = {row: MIB / MEGABYTE / (value / NANOSECONDS) if row.endswith("_1m") else value for row, value in values.items()}
    return values | {"linux_run_init": (int(found[1]) * MEGABYTE + int(found[2])) * 1000}


def memory_disk() -> list[str]:
    """In the KVM host: a file on tmpfs."""
    return ["-drive", f"if=none,id=memory,format=raw,file={DISK_FILE}", "-device", "virtio-blk-device,drive=memory"]


def disks_initramfs(folder: pathlib.Path) -> pathlib.Path:
    return initramfs(folder, "disks", "b=/batch/blkbench\n$b null_disk /dev/vda && $b memory_disk /dev/vdb\n", "blkbench")


def disks_system(folder: pathlib.Path, initrd: pathlib.Path) -> str:
    return system(folder, "linux", linux_vm(initrd, more=f"disk {{ null_mib: {DISK_MIB} }} disk {{ zero_mib: {DISK_MIB} }}"))


def measure_linux(table: Table, folder: pathlib.Path, kvm: KvmHost | None) -> None:
    """Debian's kernel: its boot, and its disks with a program that reads and writes blocks."""
    initrd = disks_initramfs(folder)
    output, marks = counted(on_atoll, config=disks_system(folder, initrd))
    keep(table.atoll, linux_values(output))
    spans = marks.spans()[SPANS_OF_DISK:]
    for row, index in (("read_32_exits", DEEP_READ), ("write_32_exits", DEEP_WRITE)):
        table.atoll[row] = spans[index].exits / DEEP_REQUESTS
    # QEMU gives the first device of the command line the highest slot, which Linux finds last.
    found = linux_values(bare_linux(initrd, *null_disk("d0", DISK_MIB), *null_disk("d1", DISK_MIB)))
    keep(table.bare, {row: value for row, value in found.items() if "memory" not in row})  # both disks are null
    if kvm is not None:
        kvm.add(Job("linux", pathlib.Path(launch.demo_files()["linux"]), LINUX_MIB, [*memory_disk(), *null_disk("d0", DISK_MIB)],
                    initrd=initrd), lambda output: keep(table.kvm, linux_values(output)))


def measure_journal(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """The same disks by a service that writes nothing for a successor and could not be restarted."""
    elfs = folder / "unjournalled"
    elfs.mkdir()
    for elf in (launch.TARGET / "services").glob("*.elf"):
        (elfs / elf.name).symlink_to(elf)
    (elfs / "virtio-blk.elf").unlink()
    (elfs / "virtio-blk.elf").symlink_to(launch.TARGET / "services/virtio-blk.unjournalled.elf")
    config = disks_system(folder, disks_initramfs(folder))
    without = linux_values(on_atoll(config=config, elfs=elfs))
    journalled = table.atoll if "memory_disk_read_p50" in table.atoll else linux_values(on_atoll(config=config))
    for disk in ("memory", "null"):
        for way in ("read", "write"):
            row = f"{disk}_disk_{way}_p50"
            table.atoll[f"{disk}_journal_{way}"] = (journalled[row] / without[row] - 1) * 100


def measure_idle(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """What runs while a guest has nothing to do: its own ticks, and what they cause."""
    initrd = initramfs(folder, "idle", f"/batch/idlebench {IDLE_SECONDS}\n", "idlebench")

    def busy(marks: Marks) -> float:
        return marks.spans()[0].total / (IDLE_SECONDS * NANOSECONDS) * 100

    table.atoll["idle_linux"] = busy(counted(on_atoll, config=system(folder, "idle", linux_vm(initrd)))[1])
    table.bare["idle_linux"] = busy(counted(bare_linux, initrd)[1])


NET_SCRIPT = f"""for module in {' '.join(PCI_MODULES + NET_MODULES)}; do insmod /batch/$module.ko 2>/dev/null; done
if grep -q netbench=client /proc/cmdline; then
  ifconfig eth0 10.0.0.1 up && /batch/netbench client 10.0.0.2
else
  ifconfig eth0 10.0.0.2 up && /batch/netbench server
fi
"""


# Without a hypervisor: one kernel, whose two network stacks know nothing of each other, and a QEMU device for each. The
# second stack has a process that waits for the server's interface.
BARE_NET_SCRIPT = f"""for module in {' '.join(NET_MODULES)}; do insmod /batch/$module.ko 2>/dev/null; done
unshare -n sh -c ': >/apart; until ifconfig eth1 10.0.0.2 up 2>/dev/null; do usleep 10000; done; exec /batch/netbench server' &
until [ -e /apart ]; do usleep 10000; done
ip link set eth1 netns $!
ifconfig eth0 10.0.0.1 up && /batch/netbench client 10.0.0.2
wait
"""
BARE_NET = [word for end in ("a", "b") for word in (
    "-netdev", f"hubport,id={end},hubid=0", "-device", f"virtio-net-device,netdev={end},mac=02:00:00:00:00:0{end}")]


def measure_net(table: Table, folder: pathlib.Path, kvm: KvmHost | None) -> None:
    """Two Linux guests on one CPU."""
    initrd = initramfs(folder, "net", NET_SCRIPT, "netbench")

    def values(output: str) -> dict[str, float]:
        found = bench_lines(output)
        if "net_stream" not in found or "net_round_trip" not in found:
            sys.exit(f"{output[-3000:]}\nbench: the guests with a network did not come to their end; the last lines are above")
        return found | {"net_stream": STREAM_BYTES / MEGABYTE / (found["net_stream"] / NANOSECONDS)}

    output, marks = counted(on_atoll, config=system(
        folder, "net", linux_vm(initrd, "client", "network { }", " netbench=client"), linux_vm(initrd, "server", "network { }")))
    keep(table.atoll, values(output))
    table.atoll["net_outside"] = marks.spans()[0].outside / STREAM_BYTES
    keep(table.bare, values(bare_linux(initramfs(folder, "bare-net", BARE_NET_SCRIPT, "netbench"), *BARE_NET)))
    if kvm is not None:
        kvm.add_network([Job("server", pathlib.Path(launch.demo_files()["linux"]), LINUX_MIB, [], initrd=initrd),
                         Job("client", pathlib.Path(launch.demo_files()["linux"]), LINUX_MIB, [], initrd=initrd,
                             append=" netbench=client")], lambda output: keep(table.kvm, values(output)))


def measure_ipc(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """Two tasks, no guest."""
    image = launch.TARGET / "kernel/bench_ipc.img"
    if image.exists():
        output = boot(launch.qemu("neoverse-n1", launch.MACHINE_MIN_MIB, True) + ["-kernel", str(image), "-serial", "stdio"])
        keep(table.atoll, flat_lines(output))


def measure_size(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    listing = subprocess.run(["llvm-size-19", "-A", str(launch.TARGET / "kernel/kernel.elf")], check=True,
                             capture_output=True, text=True).stdout
    table.atoll["kernel_text"] = int(re.search(r"^\.text +(\d+)", listing, re.MULTILINE)[1])


MEASURES = {"flat": measure_flat, "start": measure_start, "ipc": measure_ipc, "ipi": measure_ipi, "polling": measure_polling,
            "share": measure_share, "idle": measure_idle, "linux": measure_linux, "journal": measure_journal, "net": measure_net, "size": measure_size}
