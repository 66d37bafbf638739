"""The devices of the machine that QEMU makes: what scripts/run's options give it."""
import dataclasses
import json
import os
import pathlib
import re

from schemas import InputError

SECTOR_BYTES = 512
# Slots of virtio-mmio, 0x200 bytes apart: these are in different pages, which can be given to different drivers.
DISK_BUS, NETWORK_BUS, SERIAL_BUS = "virtio-mmio-bus.0", "virtio-mmio-bus.8", "virtio-mmio-bus.16"
LOOPBACK = "127.0.0.1"
FIRST_GUEST = "10.0.2.15"    # what QEMU's user network gives to the first guest that asks
PORT_MAX = 65535
FORWARD = re.compile(r"(\d{1,5}):(?:(\d{1,3}(?:\.\d{1,3}){3}):)?(\d{1,5})\Z")


@dataclasses.dataclass
class Disk:
    """A raw image file as the machine's disk."""
    path: str
    read_only: bool = False

    @staticmethod
    def parse(text: str) -> "Disk":
        """FILE or FILE,ro."""
        path, comma, option = text.rpartition(",")
        return Disk(path, True) if comma and option == "ro" else Disk(text)

    def check(self) -> None:
        path = pathlib.Path(self.path)
        if not path.is_file():
            raise InputError(f"--disk {self.path}: there is no such file")
        if not os.access(path, os.R_OK if self.read_only else os.R_OK | os.W_OK):
            raise InputError(f"--disk {self.path}: you may not {'read' if self.read_only else 'write'} this file"
                             + ("" if self.read_only else "; with ,ro it is only read"))
        size = path.stat().st_size
        if size == 0 or size % SECTOR_BYTES:
            raise InputError(f"--disk {self.path}: has {size} bytes, which are no whole sectors of {SECTOR_BYTES}")

    def qemu(self) -> list[str]:
        """A flush of the guest becomes one of the host's file system, a discard a hole in the file. QEMU locks it."""
        node = {"driver": "raw", "node-name": "disk", "read-only": self.read_only, "discard": "unmap",
                "cache": {"direct": False, "no-flush": False},
                "file": {"driver": "file", "filename": str(pathlib.Path(self.path).resolve()), "locking": "on"}}
        return ["-blockdev", json.dumps(node), "-device", f"virtio-blk-device,drive=disk,bus={DISK_BUS}"]


@dataclasses.dataclass
class Forward:
    """Connections to a TCP port of this computer's loopback go to a port of a guest."""
    host: int
    address: str
    guest: int

    @staticmethod
    def parse(text: str) -> "Forward":
        """HOST:GUEST or HOST:ADDRESS:GUEST."""
        found = FORWARD.match(text)
        if not found:
            raise ValueError("is not HOST:GUEST or HOST:ADDRESS:GUEST, two port numbers and an IPv4 address")
        forward = Forward(int(found[1]), found[2] or FIRST_GUEST, int(found[3]))
        if not all(0 < port <= PORT_MAX for port in (forward.host, forward.guest)):
            raise ValueError(f"has a port that is not in 1..{PORT_MAX}")
        if any(int(part) > 255 for part in forward.address.split(".")):
            raise ValueError(f"{forward.address} is not an IPv4 address")
        return forward


def user_network(forwards: list[Forward]) -> list[str]:
    """QEMU's user network: guests reach out through this computer, in come only the forwarded connections."""
    rules = "".join(f",hostfwd=tcp:{LOOPBACK}:{f.host}-{f.address}:{f.guest}" for f in forwards)
    return ["-netdev", f"user,id=net,ipv6=off{rules}", "-device", f"virtio-net-device,netdev=net,bus={NETWORK_BUS}"]


def serial_line(path: pathlib.Path) -> list[str]:
    """Port 1 of a virtio console device; a program of this computer connects to `path` when it likes."""
    return ["-chardev", f"socket,id=line,path={path},server=on,wait=off", "-device",
            f"virtio-serial-device,max_ports=2,bus={SERIAL_BUS}", "-device", "virtserialport,chardev=line,nr=1"]
