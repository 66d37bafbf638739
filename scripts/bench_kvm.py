"""Linux with KVM and QEMU, both Debian's for arm64, as a host inside of QEMU: what Atoll is compared with.

The packages are fetched with apt and unpacked below the build folder, not installed. The host is Debian's cloud kernel
with an initramfs of busybox, QEMU and its libraries, which starts one machine after the other.
"""
import dataclasses
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import launch
from bench_machines import boot
from images import cpio

FOLDER = launch.BUILD / "peers"
QEMU_PACKAGE = "qemu-system-arm"
QEMU_PROGRAM = "usr/bin/qemu-system-aarch64"
LIBRARY_FOLDERS = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib")
HOST_MIB = 3072
LIMIT_SECONDS = 5400         # of all guests, one after the other, on a busy host
DISK_FILE, DISK_MIB = "/tmp/disk", 64
BRIDGE_MODULES = ["llc", "stp", "bridge", "tun", "tap", "vhost_iotlb", "vhost", "vhost_net"]
EXECUTABLE, DIRECTORY, REGULAR = 0o100755, 0o040755, 0o100644
BEGIN, END = "KVM-JOB-BEGIN", "KVM-JOB-END"

INIT_HEAD = f"""#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
dmesg -n 1
dd if=/dev/zero of={DISK_FILE} bs=1M count={DISK_MIB} 2>/dev/null
"""
# A bridge with a tap device for each of two machines; vhost-net moves the frames.
NETWORK = """for module in %s; do insmod /modules/$module.ko; done
mkdir -p /dev/net; [ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
[ -c /dev/vhost-net ] || mknod /dev/vhost-net c 10 238
brctl addbr br0; ifconfig br0 up
for tap in tap0 tap1; do tunctl -t $tap >/dev/null; brctl addif br0 $tap; ifconfig $tap up; done
""" % " ".join(BRIDGE_MODULES)


@dataclasses.dataclass
class Job:
    """A guest of KVM."""
    name: str
    kernel: pathlib.Path
    memory_mib: int
    devices: list[str]
    vcpus: int = 1
    initrd: pathlib.Path | None = None
    append: str = ""

    def files(self) -> list[pathlib.Path]:
        return [self.kernel] + ([self.initrd] if self.initrd else [])

    def command(self, *more: str) -> str:
        linux = ["-initrd", f"/files/{self.initrd.name}", "-append", "console=ttyAMA0" + self.append] if self.initrd else []
        return shlex.join(["qemu-system-aarch64", "-M", "virt,gic-version=3", "-accel", "kvm", "-cpu", "host", "-smp",
                           str(self.vcpus), "-m", str(self.memory_mib), "-nodefaults", "-display", "none", "-no-reboot",
                           "-global", "virtio-mmio.force-legacy=false", "-kernel", f"/files/{self.kernel.name}", *linux,
                           *self.devices, *more, "-serial", "stdio"])


def tap(index: int) -> list[str]:
    return ["-netdev", f"tap,id=n,ifname=tap{index},script=no,downscript=no,vhost=on",
            "-device", f"virtio-net-pci,netdev=n,romfile=,mac=52:54:00:00:00:{index + 1:02x}"]


class KvmHost:
    """Collects what is to run under KVM, then runs all of it on one host."""

    def __init__(self):
        self.jobs = []

    def add(self, job: Job, take) -> None:
        """`take` is called with the guest's output."""
        self.jobs.append((job.files(), job.command() + " </dev/null 2>&1", take))

    def add_network(self, jobs: list[Job], take) -> None:
        """Two machines at once, the first in the background and silent."""
        first, second = jobs
        command = (f"{NETWORK}{first.command(*tap(0))} </dev/null >/tmp/first 2>&1 &\n"
                   f"{second.command(*tap(1))} </dev/null 2>&1; wait; tail -n 5 /tmp/first")
        self.jobs.append((first.files() + second.files(), command, take))

    def run(self, folder: pathlib.Path) -> None:
        lines, files = [INIT_HEAD], {}
        for index, (needed, command, _) in enumerate(self.jobs):
            files |= {file.name: file for file in needed}
            lines.append(f"echo {BEGIN} {index}\n{command}\necho {END} {index}\n")
        lines.append("poweroff -f\n")
        image = folder / "host.cpio"
        image.write_bytes(host_image("".join(lines), list(files.values())))
        output = boot(["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3", "-cpu", "neoverse-n1", "-smp",
                       "1", "-m", str(HOST_MIB), "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
                       "-no-reboot", *launch.ICOUNT, "-kernel", launch.demo_files()["linux"], "-initrd", str(image),
                       "-append", "console=ttyAMA0"], LIMIT_SECONDS)
        for index, (_, _, take) in enumerate(self.jobs):
            found = re.search(rf"^{BEGIN} {index}$(.*?)^{END} {index}$", output, re.MULTILINE | re.DOTALL)
            if not found:
                sys.exit(f"{output[-3000:]}\nbench: the host with KVM did not come to its end; its last lines are above")
            take(found[1])


def packages() -> pathlib.Path:
    """The unpacked packages of QEMU for arm64 and all that it depends on."""
    root, archives = FOLDER / "root", FOLDER / "archives"
    if (FOLDER / "complete").exists():
        return root
    launch.make_images()  # adds the architecture arm64 to dpkg, which apt needs to know its lists
    launch.say("fetching Debian's QEMU for arm64")
    shutil.rmtree(FOLDER, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    installed = FOLDER / "status"
    installed.touch()  # a machine on which nothing is installed: so apt names everything that is needed
    settings = {"Dir::State::status": installed, "Dir::Cache::archives": archives, "APT::Architecture": "arm64",
                "APT::Architectures": "arm64", "APT::Architectures::": "arm64", "APT::Sandbox::User": "root",
                "Debug::NoLocking": "1"}
    fetched = subprocess.run(["apt-get", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
                              "--no-install-recommends", "-y", "--download-only", "install", QEMU_PACKAGE],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if fetched.returncode != 0:
        sys.exit(f"{fetched.stdout[-2000:]}\nbench: apt cannot fetch {QEMU_PACKAGE} for arm64; its last lines are above")
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
    (FOLDER / "complete").touch()
    return root


def libraries(root: pathlib.Path, program: pathlib.Path) -> dict[str, pathlib.Path]:
    """The shared libraries that a program needs, by name."""
    found, todo = {}, [program]
    while todo:
        listing = subprocess.run(["aarch64-linux-gnu-readelf", "-d", str(todo.pop())], check=True, capture_output=True,
                                 text=True).stdout
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", listing):
            if name not in found:
                found[name] = next(root / folder / name for folder in LIBRARY_FOLDERS
                                   if (root / folder / name).exists()).resolve()
                todo.append(found[name])
    return found


def host_image(init: str, files: list[pathlib.Path]) -> bytes:
    root = packages()
    program = root / QEMU_PROGRAM
    modules = launch.IMAGES / "packages/kernel/lib/modules"
    busybox = launch.IMAGES / "packages/busybox/bin/busybox"
    entries = [(name, DIRECTORY, b"") for name in
               ("bin", "sbin", "dev", "lib", "proc", "sys", "tmp", "usr", "usr/bin", "files", "modules")]
    entries += [("init", EXECUTABLE, init.encode()), ("bin/busybox", EXECUTABLE, busybox.read_bytes()),
                (QEMU_PROGRAM, EXECUTABLE, program.read_bytes())]
    entries += [(f"lib/{name}", EXECUTABLE, file.read_bytes()) for name, file in libraries(root, program).items()]
    entries += [(f"files/{file.name}", REGULAR, file.read_bytes()) for file in files]
    entries += [(f"modules/{name}.ko", REGULAR, next(modules.rglob(f"{name}.ko")).read_bytes()) for name in BRIDGE_MODULES]
    return cpio(entries)
