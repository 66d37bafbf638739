"""Systems of several VMs, each with a shell script of its own; and what short and long forms of tests differ in."""
import dataclasses
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from machine import LIMIT_SECONDS

import launch
import machine_devices
from images import cpio

LONG = os.environ.get("ATOLL_LONG") == "1"  # as scripts/soak sets it
# Where the test's VMs are on the machine's network.
ADDRESSES = ("10.0.2.15", "10.0.2.16", "10.0.2.17", "10.0.2.18")


def amount(short, long):
    return long if LONG else short


def free_port() -> int:
    """A TCP port of the loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((machine_devices.LOOPBACK, 0))
        return probe.getsockname()[1]


@dataclasses.dataclass
class Vm:
    """A Debian guest that runs `script` and turns itself off. `fields`: more of its description."""
    name: str
    script: str
    fields: str = ""
    memory_mib: int = 256


class System:
    """VMs with scripts on one machine. `more`: further text of the description, whose files `files` names."""

    def __init__(self, *vms: Vm, more: str = "", files: dict[str, str] | None = None, **options):
        self.vms = vms
        self.options = launch.Options(files=files or {}, **options)
        self.more = more
        self.output = ""
        self.process = None

    def __enter__(self):
        launch.make_images()
        self.options.config = os.devnull  # until it is written
        self.machine = launch.Machine(self.options)
        folder, images = self.machine.folder, launch.demo_files()
        text = self.more
        for vm, address in zip(self.vms, ADDRESSES):
            initrd = folder / f"{vm.name}.cpio"
            batch = cpio([("batch", 0o040755, b""), ("batch/script", 0o100644, vm.script.encode()),
                          ("batch/marker", 0o100644, self._marker(vm.name).encode() + b"\n")])
            initrd.write_bytes(pathlib.Path(images["initramfs"]).read_bytes() + batch)
            text += (f'vm {{ name: "{vm.name}" memory_mib: {vm.memory_mib} kernel: "{images["linux"]}" '
                     f'initrd: "{initrd}" command_line: "console=ttyAMA0 atoll.address={address}/24" {vm.fields} }}\n')
        path = folder / "system.textproto"
        path.write_text(text)
        self.options.config = str(path)
        self.machine.prepare()
        return self

    def __exit__(self, *_):
        self.kill()
        if self.process:
            self.reader.join()
            self.process.stdin.close()
            self.process.stdout.close()
        self.machine.__exit__()

    def _marker(self, name: str) -> str:
        return f"{self.machine.marker}-{name}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.machine.command(["-serial", "stdio"]), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output += line.decode(errors="replace").replace("\r", "")

    def wait(self, seconds: float = LIMIT_SECONDS) -> int:
        """Exit status of the machine; it is killed when the time is over."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            status = launch.TIMEOUT_STATUS
        self.reader.join()
        return status

    def type(self, keys: bytes) -> None:
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def kill(self) -> None:
        """As if the power went."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for(self, pattern: str, seconds: float = LIMIT_SECONDS) -> re.Match | None:
        """The first match in the output; None if the machine ends or the time is over without one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            running = self.process.poll() is None
            if found := re.search(pattern, self.output, re.MULTILINE):
                return found
            if not running:
                self.reader.join()
                return re.search(pattern, self.output, re.MULTILINE)
            time.sleep(0.05)
        return None

    def result(self, name: str) -> tuple[int | None, str]:
        """(status, output) of a VM's script; None if it did not come to its end."""
        marker, lines, status, inside = self._marker(name), [], None, False
        for line in self.output.splitlines():
            if re.match(rf"\[(?!{name}\])[a-z][a-z0-9_-]*\] ", line):
                continue  # another VM's
            line = line.removeprefix(f"[{name}] ")  # how the console heads lines of VMs that have not the focus
            if line.endswith(f"{marker} begin"):
                inside, lines = True, []
            elif inside and (found := re.search(rf"{marker} (\d+)$", line)):
                status, inside = int(found[1]), False
            elif inside:
                lines.append(line)
        return status, "\n".join(lines) + "\n"
