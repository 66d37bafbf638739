#!/usr/bin/python3
"""Makes the demo guest's images from Debian's arm64 packages: kernel, initramfs, disk.

usage: images.py OUTPUT_DIR [--disk-mib N]

Writes OUTPUT_DIR/vmlinuz, initramfs.cpio and disk.ext4, each only if it is missing or older than what it is
made of; and data.ext4 and two-vms.img (two file systems, one behind the other), which guests write to and which are
only made if they are missing. The packages are downloaded with apt (architecture arm64 is added to dpkg if need be), not installed.
"""
import argparse
import fcntl
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
KERNEL_PACKAGE, BUSYBOX_PACKAGE = "linux-image-cloud-arm64:arm64", "busybox-static:arm64"
# One line for each device. Which are loaded is for init to say.
MODULES = ["virtio_ring", "virtio", "virtio_mmio", "virtio_blk",
           "failover", "net_failover", "virtio_net",
           "virtio-rng",
           "virtio_console",
           "watchdog", "sp805_wdt",
           "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"]
FILES = {"init": "init", "etc/inittab": "inittab", "etc/udhcpc.script": "udhcpc.script"}  # in the initramfs: here
EXECUTABLE = ("init", "etc/udhcpc.script")
PROGRAM = "vsock"  # vsock.c, in /bin
DATA_MIB = 1024
TWO_VMS_MIB = 256  # of each file system, as guests/two-vms.textproto has it


def fail(sentence: str) -> None:
    print(f"images.py: {sentence}", file=sys.stderr)
    sys.exit(1)


def run(*command: str, **options) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != 0:
        fail(f"`{' '.join(command)}` failed with status {result.returncode}:\n{result.stdout}")
    return result.stdout


def as_root(*command: str) -> str:
    return run(*(command if os.geteuid() == 0 else ("sudo",) + command))


def fetch(directory: pathlib.Path) -> bool:
    """Downloads the two packages; False if apt does not know them or not where they are."""
    depends = subprocess.run(["apt-cache", "depends", KERNEL_PACKAGE], capture_output=True, text=True).stdout
    found = re.search(r"Depends: (linux-image-[^ \n]+)", depends)  # the package of the current version
    if not found:
        return False
    names = [found[1] if found[1].endswith(":arm64") else found[1] + ":arm64", BUSYBOX_PACKAGE]
    return subprocess.run(["apt-get", "download", "-qq", *names], cwd=directory, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def download(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The extracted kernel and busybox packages."""
    kernel, busybox = directory / "kernel", directory / "busybox"
    if (directory / "complete").exists():
        return kernel, busybox
    print("images: downloading Debian's arm64 kernel and busybox", file=sys.stderr, flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if "arm64" not in run("dpkg", "--print-foreign-architectures").split() and \
            run("dpkg", "--print-architecture").strip() != "arm64":
        as_root("dpkg", "--add-architecture", "arm64")
        as_root("apt-get", "update")
    if not fetch(directory):
        as_root("apt-get", "update")  # its lists may be missing, or older than the archive
        if not fetch(directory):
            fail(f"apt cannot download {KERNEL_PACKAGE} and {BUSYBOX_PACKAGE}: check the network, and that /etc/apt "
                 "names an archive of Debian 12 with arm64 in it")
    run("dpkg", "-x", str(next(directory.glob("linux-image-*.deb"))), str(kernel))
    run("dpkg", "-x", str(next(directory.glob("busybox-static_*.deb"))), str(busybox))
    (directory / "complete").touch()
    return kernel, busybox


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A newc archive of (name, mode, data)."""
    out = bytearray()
    for index, (name, mode, data) in enumerate(entries + [("TRAILER!!!", 0, b"")]):
        encoded = name.encode() + b"\0"
        fields = [index + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        out += b"070701" + "".join(f"{f:08x}" for f in fields).encode() + encoded
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def compiled(name: str, folder: pathlib.Path) -> bytes:
    run("aarch64-linux-gnu-gcc", "-Os", "-s", "-static", "-pthread", str(HERE / f"{name}.c"), "-o", str(folder / name))
    return (folder / name).read_bytes()


def make_initramfs(kernel: pathlib.Path, busybox: pathlib.Path, program: bytes) -> bytes:
    directory, executable, regular = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    entries = [(name, directory, b"") for name in ("bin", "sbin", "dev", "etc", "lib", "lib/modules")]
    entries.append(("bin/busybox", executable, (busybox / "bin/busybox").read_bytes()))
    entries.append((f"bin/{PROGRAM}", executable, program))
    for name, source in FILES.items():
        entries.append((name, executable if name in EXECUTABLE else regular, (HERE / source).read_bytes()))
    for module in MODULES:
        found = list((kernel / "lib/modules").rglob(f"{module}.ko"))
        if len(found) != 1:
            fail(f"the kernel package holds {len(found)} files {module}.ko, expected one")
        entries.append((f"lib/modules/{module}.ko", regular, found[0].read_bytes()))
    return cpio(entries)


def write(path: pathlib.Path, data: bytes) -> None:
    """All or nothing: what is there is complete."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.rename(path)


def make_disk(path: pathlib.Path, mib: int, file_systems: int = 1) -> None:
    """A sparse image of ext4 file systems of `mib` MiB each."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.truncate((mib << 20) * file_systems)
    for index in range(file_systems):
        run("/sbin/mkfs.ext4", "-q", "-F", "-L", "atoll", "-E", f"offset={(mib << 20) * index}", str(temporary), f"{mib}M")
    temporary.rename(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--disk-mib", type=int, default=128)
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    lock = open(output / "lock", "w")  # held until the program ends: several may be started at once
    fcntl.flock(lock, fcntl.LOCK_EX)
    kernel, busybox = download(output / "packages")
    sources = max(os.stat(HERE / name).st_mtime for name in (*FILES.values(), f"{PROGRAM}.c", "images.py"))

    vmlinuz = output / "vmlinuz"
    if not vmlinuz.exists():
        write(vmlinuz, next((kernel / "boot").glob("vmlinuz-*")).read_bytes())
    initramfs = output / "initramfs.cpio"
    if not initramfs.exists() or initramfs.stat().st_mtime < sources:
        write(initramfs, make_initramfs(kernel, busybox, compiled(PROGRAM, output)))
    disk = output / "disk.ext4"
    if not disk.exists() or disk.stat().st_size != arguments.disk_mib << 20:
        make_disk(disk, arguments.disk_mib)
    if not (output / "data.ext4").exists():
        make_disk(output / "data.ext4", DATA_MIB)
    if not (output / "two-vms.img").exists():
        make_disk(output / "two-vms.img", TWO_VMS_MIB, 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
