"""From a description to a running QEMU: what run, debug, bench and the test suites share."""
import dataclasses
import os
import pathlib
import secrets
import shlex
import subprocess
import sys
import tempfile

from schemas import ROOT, InputError, Schemas

sys.path.insert(0, str(ROOT / "guests/linux"))
from images import cpio  # noqa: E402

BUILD = pathlib.Path(os.environ.get("ATOLL_BUILD", ROOT / "build"))
IMAGES = BUILD / "guests"
TARGET = BUILD / "target"
DEMO = ROOT / "guests/demo.textproto"
MACHINE_OVERHEAD_MIB = 160   # kernel, services, page tables, and room around the archive
BATCH_MODE = 0o100644
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
    disks: list[str] = dataclasses.field(default_factory=list)
    vcpus: int | None = None
    memory: int | None = None
    cpu: str = "neoverse-n1"
    icount: bool = False
    batch: str | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    extra_qemu: list[str] = dataclasses.field(default_factory=list)


def existing(path: str, option: str) -> pathlib.Path:
    found = pathlib.Path(path)
    if not found.is_file():
        raise InputError(f"{option} {path}: there is no such file")
    return found


def make_images() -> None:
    subprocess.run([str(ROOT / "guests/linux/images.py"), str(IMAGES)], check=True)


def demo_files() -> dict[str, str]:
    return {"linux": str(IMAGES / "vmlinuz"), "initramfs": str(IMAGES / "initramfs.cpio"),
            "disk": str(IMAGES / "disk.ext4")}


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
    kernel = options.kernel or images["linux"]
    initrd = options.initrd or (images["initramfs"] if is_demo else None)
    disks = options.disks or ([images["disk"]] if is_demo else [])
    append = options.append if options.append is not None else ("console=ttyAMA0" if is_demo else "")
    lines = ["vm {", '  name: "guest"', f"  memory_mib: {512 if options.memory is None else options.memory}",
             f"  vcpus: {1 if options.vcpus is None else options.vcpus}",
             f"  kernel: {quote(name(kernel, '--kernel'))}"]
    if initrd:
        lines.append(f"  initrd: {quote(name(initrd, '--initrd'))}")
    if append:
        lines.append(f"  command_line: {quote(append)}")
    for disk in disks:
        lines.append(f"  disk {{ file: {quote(name(disk, '--disk'))} }}")
    return "\n".join(lines + ["}", ""]), files


class Machine:
    """A boot archive and the QEMU command that starts it. Use as a context: it removes its files."""

    def __init__(self, options: Options):
        self.options = options
        self.marker = f"atoll-batch-{secrets.token_hex(8)}"
        self._folder = tempfile.TemporaryDirectory(prefix="atoll-run-")
        self.folder = pathlib.Path(self._folder.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def _description(self) -> tuple[pathlib.Path, dict[str, str]]:
        options = self.options
        if options.config is not None:
            path = existing(options.config, "--config")
            files = dict(options.files)
            if path.resolve() == DEMO.resolve():
                make_images()
                files = demo_files() | files
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
        plan, listing, self.archive = self.folder / "plan.pb", self.folder / "files.txt", self.folder / "boot.cpio"
        tools = ROOT / "scripts"
        self._tool([str(tools / "describe.py"), "--system", str(system), "--manifests", str(ROOT / "services"),
                    "--out", str(plan), "--elfs", str(TARGET / "services"), "--list", str(listing),
                    *(["--seed", "1"] if self.options.icount else []),
                    *(a for k, v in files.items() for a in ("--file", f"{k}={v}"))])
        self._tool([str(tools / "archive.py"), "--out", str(self.archive), "--list", str(listing)])
        description = Schemas("system").message("System")()
        from google.protobuf import text_format
        text_format.Parse(system.read_text(), description)
        self.memory_mib = sum(vm.memory_mib if vm.HasField("memory_mib") else 512 for vm in description.vm)
        self.memory_mib += sum(d.zero_mib for vm in description.vm for d in vm.disk)

    @staticmethod
    def _tool(command: list[str]) -> None:
        result = subprocess.run(["/usr/bin/python3", *command], stderr=subprocess.PIPE, text=True)
        if result.returncode != 0:
            raise InputError(result.stderr.strip())

    def command(self, console: list[str]) -> list[str]:
        options = self.options
        cpu = options.cpu + (",pauth-impdef=on" if options.cpu == "max" else "")
        archive_mib = self.archive.stat().st_size >> 20
        # QEMU puts the archive at 128 MiB or at half of a smaller RAM; a guest's RAM must fit beside it.
        memory = max(512, self.memory_mib + archive_mib + MACHINE_OVERHEAD_MIB)
        memory = (memory + 63) // 64 * 64
        command = ["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3", "-cpu", cpu, "-smp", "1",
                   "-m", str(memory), "-nic", "none", "-display", "none", "-monitor", "none", *console,
                   "-semihosting-config", "enable=on,target=native", "-global", "virtio-mmio.force-legacy=false",
                   "-kernel", str(TARGET / "kernel/atoll.img"), "-initrd", str(self.archive), "-no-reboot"]
        if options.icount:
            command += ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2024-01-01,clock=vm"]
        return command + options.extra_qemu


class BatchFilter:
    """Passes on what the batch script printed and finds its status."""

    def __init__(self, marker: str):
        self.begin, self.end = f"{marker} begin", f"{marker} "
        self.started = False
        self.status: int | None = None

    def feed(self, line: str) -> str | None:
        line = line.rstrip("\r\n")
        if not self.started:
            self.started = line == self.begin
            return None
        if self.status is None and self.end in line:
            before, _, after = line.rpartition(self.end)
            if after.isdigit():
                self.status = int(after)
                return before or None
        return line if self.status is None else None


def run_batch(machine: Machine, timeout: float | None) -> int:
    """Runs the machine, prints the script's output; its status, or 124, or 1 if the guest ended otherwise."""
    found = BatchFilter(machine.marker)
    command = machine.command(["-serial", "stdio"])
    tail: list[str] = []
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    import threading
    expired = threading.Event()

    def expire():
        expired.set()
        process.kill()

    timer = threading.Timer(timeout, expire) if timeout else None
    if timer:
        timer.start()
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            tail = (tail + [line.rstrip("\r\n")])[-30:]
            out = found.feed(line)
            if out is not None:
                print(out, flush=True)
        status = process.wait()
    finally:
        if timer:
            timer.cancel()
        if process.poll() is None:
            process.kill()
    if expired.is_set():
        say(f"the guest did not finish within {timeout:g} seconds (--timeout)")
        return TIMEOUT_STATUS
    if found.status is None:
        say("the guest ended before the script did; its last lines were:")
        for line in tail:
            print(f"  {line}", file=sys.stderr)
        return status or 1
    if status != 0:
        say(f"the script ended with {found.status}, but the machine with status {status}: not every VM powered off")
        return status
    return found.status


def run_interactive(machine: Machine, timeout: float | None) -> int:
    command = machine.command(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
    try:
        status = subprocess.run(command, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        say(f"the machine did not power off within {timeout:g} seconds (--timeout)")
        return TIMEOUT_STATUS
    if status != 0:
        say(f"the machine ended with status {status}: a VM crashed or the hypervisor stopped; its last lines say why")
    return status


def show(command: list[str]) -> str:
    return " ".join(shlex.quote(part) for part in command)
