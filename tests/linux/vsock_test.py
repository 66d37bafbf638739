"""Sockets between two Debian guests and this computer: streams both ways at once while everything that carries them is
killed."""
import hashlib
import os
import pathlib
import re
import signal
import socket
import struct
import sys
import tempfile
import threading
import unittest

from scripted import System, Vm, amount

import launch

MIB = amount(6, 64)
HOST_MIB = amount(3, 32)
KILLS = amount(80, 500)
LIMIT = amount(300, 3600)
DEVICE = 'device { service: "virtio-vsock" }'
LEFT_CID, RIGHT_CID, HOST_CID = 3, 4, 2
PORT, HOST_PORT, GUEST_PORT = 5000, 6000, 7000
SERVICES = ("virtio-vsock.left.0", "virtio-vsock.right.0", "vsock-switch", "vsock-driver")
PIECE = 1 << 16
# A service's first instructions, and those of one that dies at once but in its first instance.
START = struct.pack("<II", 0xAA1F03FD, 0xAA1F03FE)       # mov x29, xzr; mov x30, xzr
FIRST_ONLY = struct.pack("<II", 0x34000041, 0x00000000)  # cbz w1, 1f; udf #0; 1:
# exchange NAME MIB ARGUMENTS OF vsock: random bytes to the peer, what it says to SHA-256.
FUNCTIONS = """
exchange() {
  name=$1 mib=$2
  shift 2
  mkfifo /tmp/$name.sent
  sha256sum </tmp/$name.sent >/tmp/$name.sum &
  summer=$!
  dd if=/dev/urandom bs=64k count=$((mib * 16)) 2>/dev/null | tee /tmp/$name.sent |
    { vsock "$@"; echo $? >/tmp/$name.status; } |
    { dd bs=1 count=1 2>/dev/null; echo "$name flows" >&2; cat; } | sha256sum >/tmp/$name.got
  wait $summer
  echo "$name sent $(cut -d' ' -f1 /tmp/$name.sum)"
  echo "$name received $(cut -d' ' -f1 /tmp/$name.got)"
  return $(cat /tmp/$name.status)
}
"""
RESULT = re.compile(r"(\w+ (?:sent|received)) ([0-9a-f]{64})")


def kills() -> str:
    """A monitor's script that lets the services die in turn, in several ways."""
    lines = ['expect left "host flows" within 3000s']
    for n in range(KILLS):
        verb = ("kill", "crash", "kill", "exit-task")[n // len(SERVICES) % 4]
        # "-": on a fast machine the streams may be over before.
        lines += [f"-{verb} {SERVICES[n % len(SERVICES)]}", f"wait {8 + 5 * (n % 7)}ms"]
    return "\n".join([*lines, '-expect left "peer received" within 3000s', ""])


class Program(threading.Thread):
    """A program of this computer: random bytes to a guest, what that says to SHA-256. `connect`: what gives its socket."""

    def __init__(self, connect):
        super().__init__(daemon=True)
        self.connect, self.sent, self.received = connect, hashlib.sha256(), hashlib.sha256()
        self.start()

    def run(self):
        with self.connect() as sock:
            sender = threading.Thread(target=self.send, args=(sock,), daemon=True)
            sender.start()
            while data := sock.recv(PIECE):
                self.received.update(data)
            sender.join()

    def send(self, sock: socket.socket) -> None:
        for _ in range((HOST_MIB << 20) // PIECE):
            data = os.urandom(PIECE)
            self.sent.update(data)
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def sums(self) -> tuple:
        self.join(10)
        return self.sent.hexdigest(), self.received.hexdigest()


class Sockets:
    """--vsock PATH as programs see it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/vm"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def listen(self, port: int):
        """What gives the socket of the next guest that connects to this port."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"{self.path}_{port}")
        listener.listen(1)
        listener.settimeout(LIMIT)

        def accept():
            with listener:
                return listener.accept()[0]

        return accept

    def ask(self, cid: int, port: int) -> socket.socket:
        """A connection to a guest, as soon as it listens."""
        for _ in range(LIMIT * 5):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.path)
                sock.sendall(b"CONNECT %d %d\n" % (cid, port))
                if re.fullmatch(rb"OK \d+\n", sock.recv(20)):
                    return sock
            except OSError:
                pass
            sock.close()
            threading.Event().wait(0.2)
        raise AssertionError(f"CID {cid} port {port} did not listen")


class Vsock(unittest.TestCase):
    def exchange(self, **options):
        """Between the guests, and of each of them with this computer, all at once; the output."""
        left = (f"{FUNCTIONS}\nexchange peer {MIB} listen {PORT} & peer=$!; exchange host {HOST_MIB} connect {HOST_CID} {HOST_PORT}\n"
                "status=$?; wait $peer && exit $status")
        right = (f"{FUNCTIONS}\nexchange host {HOST_MIB} listen {GUEST_PORT} & host=$!; exchange peer {MIB} connect {LEFT_CID} {PORT}\n"
                 "status=$?; wait $host && exit $status")
        vms = [Vm("left", left, DEVICE), Vm("right", right, DEVICE)]
        with Sockets() as sockets, System(*vms, vsock=sockets.path, **options) as system:
            programs = [Program(sockets.listen(HOST_PORT)), Program(lambda: sockets.ask(RIGHT_CID, GUEST_PORT))]
            system.start()
            status = system.wait(LIMIT)
            output = system.output
            results = [system.result(vm.name) for vm in vms]
            hosts = [program.sums() for program in programs]
        self.assertEqual([status, *(status for status, _ in results)], [0, 0, 0], output)
        left, right = (dict(RESULT.findall(text)) for _, text in results)
        self.assertEqual((left["peer sent"], right["peer sent"]), (right["peer received"], left["peer received"]), output)
        self.assertEqual(hosts, [(guest["host received"], guest["host sent"]) for guest in (left, right)], output)
        self.assertEqual(len({*left.values(), *right.values()}), 6)
        return output

    def test_VSOCK_12_VSOCK_16_VSOCK_19_streams_to_the_host(self):
        """What a guest sees of ports where nobody is, and of a host's program that dies."""
        left = (f"vsock try {HOST_CID} 9; echo hello | vsock connect {HOST_CID} {HOST_PORT}\n"
                f"vsock connect {HOST_CID} {HOST_PORT + 1} </dev/null\n"
                f"echo ended; echo again | vsock connect {HOST_CID} {HOST_PORT + 2}; vsock listen {GUEST_PORT} /bin/sh")
        with Sockets() as sockets:
            first, second, third = (sockets.listen(HOST_PORT + n) for n in range(3))
            with System(Vm("left", left), vsock=sockets.path) as system:
                system.start()
                with first() as sock:
                    self.assertEqual(sock.recv(100), b"hello\n")
                with second():
                    os.kill(system.machine.sockets.process.pid, signal.SIGKILL)
                    with third() as sock:
                        self.assertEqual(sock.recv(100), b"again\n")
                with sockets.ask(LEFT_CID, GUEST_PORT) as sock:  # a shell
                    sock.sendall(b"echo $((6 * 7)); exit\n")
                    self.assertEqual(sock.recv(100), b"42\n")
                status = system.wait(LIMIT)
                output = system.output
                result = system.result("left")
        self.assertEqual((status, result[0]), (0, 0), output)
        self.assertIn("vsock: try: Connection reset by peer", result[1])
        self.assertIn("ended", result[1])
        self.assertNotRegex(output, r" died: |panic|Oops")

    def test_VSOCK_16_VSOCK_19_streams_go_on_while_services_die(self):
        with tempfile.NamedTemporaryFile("w", suffix=".monitor") as script:
            script.write(kills())
            script.flush()
            output = self.exchange(monitor=script.name)
        deaths = [len(re.findall(rf"{re.escape(name)} died: ", output)) for name in SERVICES]
        self.assertGreaterEqual(min(deaths), KILLS // 3 // len(SERVICES), output)
        print(f"{sum(deaths)} deaths while {2 * MIB + 4 * HOST_MIB} MiB flowed", file=sys.stderr)

    def test_VSOCK_19_a_driver_that_is_given_up_even_in_failed_mode(self):
        """Only its first instance lives: connections end, nobody can connect, and who asks is told at once."""
        left = (f"vsock connect {HOST_CID} {HOST_PORT} </dev/null; echo ended; vsock try {HOST_CID} {HOST_PORT + 1}; echo over")
        with tempfile.TemporaryDirectory() as name, Sockets() as sockets:
            elfs, script = pathlib.Path(name, "services"), pathlib.Path(name, "script")
            elfs.mkdir()
            for elf in (launch.TARGET / "services").glob("*.elf"):
                (elfs / elf.name).symlink_to(elf)
            driver = elfs / "vsock-driver.elf"
            code = driver.read_bytes()
            driver.unlink()
            driver.write_bytes(code.replace(START, FIRST_ONLY, 1))
            script.write_text('expect left "hello" within 900s\nkill vsock-driver\nexpect left "over" within 60s\n')
            first = sockets.listen(HOST_PORT)
            with System(Vm("left", left), vsock=sockets.path, elfs=elfs, monitor=str(script)) as system:
                system.start()
                with first() as sock:
                    sock.sendall(b"hello\n")
                    status = system.wait(min(LIMIT, 120))
                output = system.output
                result = system.result("left")
        self.assertEqual((status, result[0]), (1, 0), output)  # 1: a service of the system was given up
        self.assertRegex(output, "vsock-driver died: .*given up in failed mode, too.* which refuses all calls")
        self.assertRegex(result[1], r"(?s)ended\nvsock: try: Connection reset by peer\nover")

    def test_VSOCK_19_a_vm_that_goes_ends_its_connections(self):
        # Who listens has shut its own direction down and would wait for ever if nobody told it. Debian's driver makes the
        # end of the stream of an RST.
        left = f"echo hello | vsock listen {PORT}; echo status $?"
        right = (f"mkfifo /tmp/input; sleep 1000 >/tmp/input & vsock connect {LEFT_CID} {PORT} </tmp/input >/tmp/got & "
                 "until grep -q hello /tmp/got; do usleep 100000; done; poweroff -f")
        vms = [Vm(name, script, DEVICE) for name, script in (("left", left), ("right", right))]
        with System(*vms) as system:
            system.start()
            status = system.wait(min(LIMIT, 120))
            output = system.output
            result = system.result("left")
        self.assertEqual((status, result[0]), (0, 0), output)
        self.assertIn("status 0", result[1])


if __name__ == "__main__":
    unittest.main()
