"""The measurements of scripts/bench that are about sockets of virtio-vsock: between two guests, and with this computer."""
import contextlib
import pathlib
import socket
import struct
import sys
import threading

import launch
from bench_kvm import KvmHost
from bench_machines import bench_lines, boot, counted, on_atoll
from bench_measures import MEGABYTE, NANOSECONDS, STREAM_BYTES, initramfs, linux_vm, system
from bench_rows import Table

DEVICE = 'device { service: "virtio-vsock" }'
PORT, HOST_CID, SERVER_CID = 5000, 2, 3  # of vsockbench.c; of this computer; of the first VM with such a device
COUNTS = struct.Struct("<QQ")
PIECE = 1 << 18
WAYS = ("to", "from")


def keep(table: Table, prefix: str, output: str, marks) -> None:
    found = bench_lines(output)
    for way, span in zip(WAYS, marks.spans()):
        if f"vsock_{way}" not in found:
            sys.exit(f"{output[-3000:]}\nbench: the guest with sockets did not come to its end; the last lines are above")
        table.atoll[f"{prefix}_{way}"] = STREAM_BYTES / MEGABYTE / (found[f"vsock_{way}"] / NANOSECONDS)
        table.atoll[f"{prefix}_{way}_outside"] = span.outside / STREAM_BYTES


def measure_vsock(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """Two Linux guests on one CPU."""
    server = initramfs(folder, "server", "/batch/vsockbench serve\n", "vsockbench")
    client = initramfs(folder, "client", f"/batch/vsockbench {SERVER_CID}\n", "vsockbench")
    keep(table, "vsock", *counted(on_atoll, config=system(
        folder, "vsock", linux_vm(server, "server", DEVICE), linux_vm(client, "client", DEVICE))))


def _serve(listener: socket.socket) -> None:
    """As `vsockbench serve`."""
    with contextlib.suppress(OSError):
        while True:
            with listener.accept()[0] as sock:
                sock.settimeout(None)
                taken, sent = COUNTS.unpack(sock.recv(COUNTS.size, socket.MSG_WAITALL))
                while taken and (data := sock.recv(min(PIECE, taken))):
                    taken -= len(data)
                sock.sendall(bytes([0x5A]) * sent)


def measure_host(table: Table, folder: pathlib.Path, _: KvmHost | None) -> None:
    """A Linux guest and a program of this computer: in real time, so instructions are counted, but no two runs are the same."""
    initrd = initramfs(folder, "host", f"/batch/vsockbench {HOST_CID}\n", "vsockbench")
    path = folder / "vm"

    def run(**options) -> str:
        with launch.Machine(launch.Options(vsock=str(path), **options)) as machine:
            machine.prepare()
            return boot(machine.command(["-serial", "stdio"]))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{path}_{PORT}")
        listener.listen(1)
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        keep(table, "host", *counted(run, config=system(folder, "host", linux_vm(initrd))))


MEASURES = {"vsock": measure_vsock, "host": measure_host}
REAL_TIME = ("host",)  # measured only if they are asked for
