"""From a description to a boot archive and the QEMU command that starts it: what run, debug, bench and tests share."""
import dataclasses
import os
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile

import host_sockets
import machine_devices
from schemas import ROOT, InputError, Schemas

sys.path.insert(0, str(ROOT / "guests/linux"))
from images import cpio  # noqa: E402

BUILD = pathlib.Path(os.environ.get("ATOLL_BUILD", ROOT / "build"))
IMAGES = BUILD / "guests"
TARGET = BUILD / "target"
DEMO = ROOT / "guests/demo.textproto"
# Descriptions whose files are the demo's images, and the disk that the machine has if no other is given. These disks
# are made once and keep what guests write to them.
OWN_DISKS = {DEMO: IMAGES / "data.ext4", ROOT / "guests/two-vms.textproto": IMAGES / "two-vms.img"}
MACHINE_OVERHEAD_MIB = 160   # kernel, services, page tables, and room around the archive
MACHINE_MIN_MIB, MACHINE_STEP_MIB = 512, 64
# Without -icount an emulated machine's clock is the host's, which goes on while the host does something else: deadlines,
# heartbeats and times to answer are so many times as long (docs/restart.md, "On an emulated machine").
EMULATION_PATIENCE = 5
# One instruction is one nanosecond, and nothing of the host shows: two runs are equal to the instruction.
ICOUNT = ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2024-01-01,clock=vm"]
BATCH_MODE = 0o100644
SCRIPT_NAME, SCRIPT_MAX, SCRIPT_LINE_MAX = "monitor", 1 << 20, 240  # services/supervisor/monitor.h, monitor_command.h
IMAGE_MAGIC_AT = 56          # of "ARM\x64" (Linux, Documentation/arch/arm64/booting.rst)
# How the tools name what --option gave in the description that stands for it.
OPTION_OF = [(r"vm guest\.vcpus: ", "--vcpus "), (r"vm guest\.memory_mib: ", "--memory "),
             (r"vm guest\.command_line: ", "--append: "), (r"vm guest\.kernel: ", "--kernel: "),
             (r"vm guest\.initrd: ", "--initrd: "), (r"vm guest\.disk\[\d+\]\.file: ", "--memory-disk: "),
             (r"vm guest\.disk: ", "--memory-disk: "), (r"vm guest\.device\[\d+\]\.service: ", "--device: "),
             (r"vm guest\.device\[\d+\]\.config", "--device: configuration")]
TIMEOUT_STATUS = 124


def say(text: str) -> None:
    print(f"atoll: {text}", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Options:
    """What scripts/run's options say; paths are as given by the user."""
    config: str | None = None
    kernel: str | None = None
    initrd: str | None = None
    append: str | None = None
    disks: list[str] = dataclasses.field(default_factory=list)  # copied into memory
    machine_disk: machine_devices.Disk | None = None
    devices: list[str] = dataclasses.field(default_factory=list)  # NAME or NAME:CONFIG
    net: bool = False
    forwards: list[machine_devices.Forward] = dataclasses.field(default_factory=list)
    vsock: str | None = None  # path of a unix socket
    machine_cpus: int = 1
    vcpus: int | None = None
    memory: int | None = None
    cpu: str = "neoverse-n1"
    icount: bool = False
    batch: str | None = None
    monitor: str | None = None  # a script for it
    added: list[str] = dataclasses.field(default_factory=list)  # further files of the boot archive
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    observed: bool = False  # by a gdb, which takes time (observe.py)
    extra_qemu: list[str] = dataclasses.field(default_factory=list)
    elfs: pathlib.Path | None = None  # a folder of the services' ELF files, instead of what was built last
    # Further services: (folder of NAME/manifest.textproto, folder of NAME.elf).
    services: list[tuple[pathlib.Path, pathlib.Path]] = dataclasses.field(default_factory=list)

    def describe_nothing(self) -> bool:
        return not self.disks and not self.devices and all(getattr(self, name) is None for name in
                                      ("config", "kernel", "initrd", "append", "vcpus", "memory", "batch"))


def existing(path: str, option: str) -> pathlib.Path:
    found = pathlib.Path(path)
    if not found.is_file():
        raise InputError(f"{option} {path}: there is no such file")
    if not os.access(found, os.R_OK):
        raise InputError(f"{option} {path}: you may not read this file")
    return found


def make_images() -> None:
    made = subprocess.run(["/usr/bin/python3", str(ROOT / "guests/linux/images.py"), str(IMAGES)],
                          stderr=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise InputError(f"the demo's images cannot be made: {made.stderr.strip()}")


def own_disk(description: pathlib.Path) -> machine_devices.Disk:
    path = OWN_DISKS[description]
    say(f"the machine's disk is {os.path.relpath(path)}: what guests write there stays (--disk for another)")
    return machine_devices.Disk(str(path))


def demo_files() -> dict[str, str]:
    return {"linux": str(IMAGES / "vmlinuz"), "initramfs": str(IMAGES / "initramfs.cpio"),
            "disk": str(IMAGES / "disk.ext4")}  # never written


def check_kernel(path: pathlib.Path) -> None:
    """Refuses a file that cannot be a kernel because a part of it is missing or it is packed."""
    with path.open("rb") as file:
        head = file.read(4096)
    size = path.stat().st_size
    if size < 4:
        raise InputError(f"--kernel {path}: has {size} bytes, which is less than one instruction")
    if head[:2] == b"\x1f\x8b":
        raise InputError(f"--kernel {path}: is compressed; unpack it first (gunzip)")
    if head[:4] == b"\x7fELF":
        raise InputError(f"--kernel {path}: is an ELF file; an arm64 Image or a flat binary is needed (objcopy -O binary)")
    if head[IMAGE_MAGIC_AT:IMAGE_MAGIC_AT + 4] != b"ARM\x64" or head[:2] != b"MZ":
        return  # a flat binary, or an Image that is no PE file: nothing says how long it has to be
    end = pe_end(head)
    if end > size:
        raise InputError(f"--kernel {path}: is truncated: its header says {end} bytes, it has {size}")


def pe_end(head: bytes) -> int:
    """Where the last section of a PE/COFF file (as Linux's Image is for EFI) ends in the file; 0 if it is none."""
    pe = int.from_bytes(head[60:64], "little")
    if head[pe:pe + 4] != b"PE\0\0":
        return 0
    sections, optional = (int.from_bytes(head[pe + at:pe + at + 2], "little") for at in (6, 20))
    table = pe + 24 + optional
    ends = (sum(int.from_bytes(head[at + field:at + field + 4], "little") for field in (16, 20))  # size, position
            for at in range(table, table + 40 * sections, 40))
    return max(ends, default=0)


def check_script(path: pathlib.Path) -> None:
    """Refuses a file that cannot be a script of the monitor. What its lines say is the monitor's to judge."""
    text = path.read_bytes()
    if not 0 < len(text) <= SCRIPT_MAX:
        raise InputError(f"--monitor {path}: has {len(text)} bytes; there must be 1..{SCRIPT_MAX}")
    for number, line in enumerate(text.split(b"\n"), start=1):
        line = line.removesuffix(b"\r")
        if len(line) > SCRIPT_LINE_MAX:
            raise InputError(f"--monitor {path}: line {number} has {len(line)} characters; at most {SCRIPT_LINE_MAX}")
        if any(not 0x20 <= byte <= 0x7e for byte in line):
            raise InputError(f"--monitor {path}: line {number} has a character that is not printable ASCII")


def quote(text: str) -> str:
    """A string of the protobuf text format."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else "".join(f"\\x{b:02x}" for b in c.encode())
                         for c in text) + '"'


def shorthand(options: Options, folder: pathlib.Path) -> tuple[str, dict[str, str]]:
    """The one-VM description that the options stand for, and its files."""
    files = {}

    def name(path: str, option: str) -> str:
        key = f"file{len(files)}"
        files[key] = str(existing(path, option).resolve())
        return key

    is_demo = options.kernel is None
    if is_demo:
        make_images()
        images = demo_files()
        if options.batch is None:
            options.net = True
            if not options.disks and options.machine_disk is None:
                options.machine_disk = own_disk(DEMO)
    kernel = options.kernel if options.kernel is not None else images["linux"]
    check_kernel(existing(kernel, "--kernel"))
    initrd = options.initrd if options.initrd is not None else (images["initramfs"] if is_demo else None)
    # A script begins with a fresh disk, whatever scripts before it did.
    disks = options.disks or ([images["disk"]] if is_demo and options.machine_disk is None else [])
    append = options.append if options.append is not None else ("console=ttyAMA0" if is_demo else "")
    lines = ["vm {", '  name: "guest"', f"  memory_mib: {512 if options.memory is None else options.memory}",
             f"  vcpus: {1 if options.vcpus is None else options.vcpus}",
             f"  kernel: {quote(name(kernel, '--kernel'))}"]
    if initrd is not None:
        lines.append(f"  initrd: {quote(name(initrd, '--initrd'))}")
    if append:
        lines.append(f"  command_line: {quote(append)}")
    if options.machine_disk is not None:
        lines.append(f"  disk {{ physical {{ }} {'read_only: true ' if options.machine_disk.read_only else ''}}}")
    for disk in disks:
        lines.append(f"  disk {{ file: {quote(name(disk, '--memory-disk'))} }}")
    for device in options.devices:
        name, _, config = device.partition(":")
        lines.append(f"  device {{ service: {quote(name)} config: {quote(config)} }}")
    return "\n".join(lines + ["}", ""]), files


class Machine:
    """A boot archive and the QEMU command that starts it. Use as a context: it removes its files."""

    def __init__(self, options: Options):
        self.options = options
        self.marker = f"atoll-batch-{secrets.token_hex(8)}"
        if options.describe_nothing():
            options.config = str(DEMO)
        self.observed = lambda memory_mib: []  # QEMU's options for whoever looks on (observe.py)
        self._folder = tempfile.TemporaryDirectory(prefix="atoll-run-")
        self.folder = pathlib.Path(self._folder.name)
        self.sockets = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.sockets is not None:
            self.sockets.stop()
        self._folder.cleanup()

    def _description(self) -> tuple[pathlib.Path, dict[str, str]]:
        options = self.options
        if options.config is not None:
            path = existing(options.config, "--config")
            files = dict(options.files)
            if path.resolve() in OWN_DISKS:
                make_images()
                files = demo_files() | files
                if options.machine_disk is None:
                    options.machine_disk = own_disk(path.resolve())
            return path, files
        text, files = shorthand(options, self.folder)
        path = self.folder / "system.textproto"
        path.write_text(text)
        if options.batch is not None:
            script = existing(options.batch, "--batch").read_bytes()
            key = next(k for k, v in files.items() if v.endswith("initramfs.cpio"))
            initrd = self.folder / "initramfs.cpio"
            batch = cpio([("batch", 0o040755, b""), ("batch/script", BATCH_MODE, script),
                          ("batch/marker", BATCH_MODE, self.marker.encode() + b"\n")])
            initrd.write_bytes(pathlib.Path(files[key]).read_bytes() + batch)
            files[key] = str(initrd)
        return path, files

    def prepare(self) -> None:
        """Writes plan and archive. InputError or the tools' own sentence if the input is bad."""
        system, files = self._description()
        if self.options.machine_disk is not None:
            self.options.machine_disk.check()
        plan, listing, self.archive = self.folder / "plan.pb", self.folder / "files.txt", self.folder / "boot.cpio"
        tools = ROOT / "scripts"
        services = [(ROOT / "services", self.options.elfs or TARGET / "services"), *self.options.services]
        self._tool([str(tools / "describe.py"), "--system", str(system), "--out", str(plan), "--list", str(listing),
                    *(a for manifests, elfs in services for a in ("--manifests", str(manifests), "--elfs", str(elfs))),
                    *(["--seed", "1"] if self.options.icount else []),
                    *([] if self.options.icount and not self.options.observed else ["--patience", str(EMULATION_PATIENCE)]), *(["--net"] if self.options.net else []),
                    *(["--vsock"] if self.options.vsock is not None else []),
                    *(a for k, v in files.items() for a in ("--file", f"{k}={v}"))])
        self._tool([str(tools / "archive.py"), "--out", str(self.archive), "--list", str(listing), *self._added()])
        description = Schemas("system").message("System")()
        from google.protobuf import text_format
        text_format.Parse(system.read_text(), description)
        self.memory_mib = sum(vm.memory_mib if vm.HasField("memory_mib") else 512 for vm in description.vm)
        self.memory_mib += sum(d.zero_mib for vm in description.vm for d in vm.disk)
        self.has_network = self.options.net or any(vm.network for vm in description.vm)
        physical = any(d.HasField("physical") for vm in description.vm for d in vm.disk)
        if physical and self.options.machine_disk is None:
            say("this machine has no disk (--disk): the guests' physical disks fail")
        if self.options.forwards and not self.has_network:
            raise InputError("--forward: no VM has a network; --net gives it one")
        if self.options.vsock is not None:
            self.sockets = host_sockets.HostSockets(self.options.vsock, self.folder, say)
            self.sockets.start()

    def _added(self) -> list[str]:
        """archive.py's options for what is in the archive beside what the plan needs."""
        options = []
        if self.options.monitor is not None:
            check_script(existing(self.options.monitor, "--monitor"))
            options += ["--add", f"{SCRIPT_NAME}={self.options.monitor}"]
        for path in self.options.added:
            options += ["--add", f"{existing(path, '--add').name}={path}"]
        return options

    def _tool(self, command: list[str]) -> None:
        result = subprocess.run(["/usr/bin/python3", *command], stderr=subprocess.PIPE, text=True)
        if result.returncode == 0:
            return
        message = result.stderr.strip().removeprefix("error: ")
        own = str(self.folder / "system.textproto") + ": "
        if own in message:  # a file that the user has never seen: name the option instead
            message = message.replace(own, "")
            for field, option in OPTION_OF:
                message = re.sub("^" + field, option, message)
        raise InputError(message)

    def command(self, console: list[str]) -> list[str]:
        archive_mib = self.archive.stat().st_size >> 20
        # QEMU puts the archive at 128 MiB or at half of a smaller RAM; a guest's RAM must fit beside it.
        memory = max(MACHINE_MIN_MIB, self.memory_mib + archive_mib + MACHINE_OVERHEAD_MIB)
        memory = (memory + MACHINE_STEP_MIB - 1) // MACHINE_STEP_MIB * MACHINE_STEP_MIB
        options = self.options
        devices = options.machine_disk.qemu() if options.machine_disk is not None else []
        if self.has_network:
            devices += machine_devices.user_network(options.forwards)
        if self.sockets is not None:
            devices += self.sockets.qemu()
        return qemu(options.cpu, memory, options.icount, options.machine_cpus) + [
            *console, *devices, "-kernel", str(TARGET / "kernel/atoll.img"), "-initrd", str(self.archive), *options.extra_qemu,
            *self.observed(memory)]


def qemu(cpu: str, memory_mib: int, icount: bool, cpus: int = 1) -> list[str]:
    """QEMU with the machine that Atoll runs on; what it boots and its console are the caller's."""
    if cpu == "max":
        cpu += ",pauth-impdef=on"  # QEMU's own cipher for pointer authentication; else that costs most of the time
    return ["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3", "-cpu", cpu, "-smp", str(cpus),
            "-m", str(memory_mib), "-nic", "none", "-display", "none", "-monitor", "none", "-no-reboot",
            "-semihosting-config", "enable=on,target=native", "-global", "virtio-mmio.force-legacy=false",
            *(ICOUNT if icount else [])]
