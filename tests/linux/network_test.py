"""Networks between two guests and with the host: pings, TCP in both directions, --forward; and beside a VM that crashes."""
import hashlib
import os
import pathlib
import re
import socket
import time
import unittest

from machine import ROOT
from scripted import ADDRESSES, System, Vm, amount, free_port

import launch
import machine_devices

FUNCTIONS = (ROOT / "tests/linux/network.sh").read_text()
LEFT, RIGHT = ADDRESSES[:2]
PINGS = amount(200, 10_000)
MIB = amount(8, 256)
CRASHES = amount(3, 50)
LIMIT = amount(300, 7200)
NETWORK = "network { }"
CHUNK = 1 << 16
CRASHER = launch.TARGET / "tests/fault/give_up_calls.bin"


def sums(output: str) -> dict[tuple[str, int], str]:
    """(verb, port): SHA-256 of the lines that the functions of network.sh print. Guests that speak at the same time break
    each other's lines: the console ends a line where another's begins."""
    found = re.findall(r"(sent|received|taken) (\d{4}) ([0-9a-f]{64})", output.replace("\n", ""))
    return {(verb, int(port)): digest for verb, port, digest in found}


class Host:
    """This computer's end of forwarded connections."""

    @staticmethod
    def download(port: int) -> str:
        """SHA-256 of what a guest sends. Until the guest listens, connections end at once and empty."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                with socket.create_connection((machine_devices.LOOPBACK, port), timeout=LIMIT) as connection:
                    digest, count = hashlib.sha256(), 0
                    while chunk := connection.recv(CHUNK):
                        digest.update(chunk)
                        count += len(chunk)
                    if count:
                        return digest.hexdigest()
            except ConnectionError:
                pass
            time.sleep(0.5)
        raise AssertionError(f"nothing came from port {port}")

    @staticmethod
    def upload(port: int, mib: int) -> str:
        """SHA-256 of random bytes that a listening guest was sent."""
        digest = hashlib.sha256()
        with socket.create_connection((machine_devices.LOOPBACK, port), timeout=LIMIT) as connection:
            for _ in range(mib << 4):
                chunk = os.urandom(CHUNK)
                digest.update(chunk)
                connection.sendall(chunk)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(CHUNK):
                pass
        return digest.hexdigest()


class Network(unittest.TestCase):
    def check(self, system, status=0):
        self.assertEqual(status, 0, system.output)
        for vm in system.vms:
            self.assertEqual(system.result(vm.name)[0], 0, system.output)
        self.assertNotRegex(system.output, r" died: |panic|Oops")

    def transfer(self, left: str, right: str, fields: str = "", **options):
        """Runs two VMs with these scripts; what one sends is what the other receives."""
        vms = [Vm("left", FUNCTIONS + left, NETWORK + fields), Vm("right", FUNCTIONS + right, NETWORK + fields)]
        with System(*vms, **options) as system:
            system.start()
            self.check(system, system.wait(LIMIT))
            left, right = (sums(system.result(vm.name)[1]) for vm in vms)
        self.assertEqual(left["sent", 5001], right["received", 5001])
        self.assertEqual(right["sent", 5002], left["received", 5002])

    def test_pings_then_tcp_in_both_directions(self):
        self.transfer(f"send 5001 {MIB}; receive {RIGHT} 5002; meet_here",
                      f"ping_all {LEFT} {PINGS}; pings=$?; receive {LEFT} 5001; send 5002 {MIB}; meet_at {LEFT}; exit $pings")

    def test_several_vcpus_and_cpus_and_both_directions_at_once(self):
        script = f"send %d {MIB} >/tmp/send & receive %s %d; wait; cat /tmp/send; "
        self.transfer(script % (5001, RIGHT, 5002) + "meet_here", script % (5002, LEFT, 5001) + f"meet_at {LEFT}",
                      " vcpus: 2", machine_cpus=2)

    def test_host_in_both_directions(self):
        down, up = free_port(), free_port()
        forwards = [machine_devices.Forward(down, LEFT, 7000), machine_devices.Forward(up, LEFT, 7001)]
        # The second listens before the first is read to its end.
        script = f"take 7001 >/tmp/taken & send 7000 {MIB}; wait; cat /tmp/taken"
        with System(Vm("left", FUNCTIONS + script, NETWORK), forwards=forwards) as system:
            system.start()
            downloaded = Host.download(down)
            uploaded = Host.upload(up, MIB)
            self.check(system, system.wait(LIMIT))
            output = sums(system.result("left")[1])
        self.assertEqual(output["sent", 7000], downloaded)
        self.assertEqual(output["taken", 7001], uploaded)

    def test_one_vm_crashes_in_a_loop_while_others_transfer(self):
        crashing = (f'vm {{ name: "crashing" memory_mib: 64 kernel: "{CRASHER}" disk {{ zero_mib: 1 }} device {{ service: "crasher" }} '
                    "when_crashed: START_AGAIN }\n")
        rounds = """
            n=0
            while [ $n -lt %d ]; do n=$((n + 1)); %s; done
            """
        count = amount(6, 120)
        left = rounds % (count, f"send $((6000 + n)) {amount(1, 8)}") + "meet_here"
        right = rounds % (count, f"receive {LEFT} $((6000 + n))") + f"meet_at {LEFT}"
        vms = [Vm("left", FUNCTIONS + left, NETWORK), Vm("right", FUNCTIONS + right, NETWORK)]
        services = [(ROOT / "tests/fault", launch.TARGET / "tests/fault")]
        with System(*vms, more=crashing, services=services) as system:
            system.start()
            self.assertTrue(system.wait_for(r"VM left is off", LIMIT), system.output)
            self.assertTrue(system.wait_for(r"VM right is off", LIMIT), system.output)
            self.assertTrue(system.wait_for(rf"(?s)(VM crashing: .*?){{{CRASHES}}}", LIMIT), system.output)
            system.type(b"\x01x")
            self.assertNotEqual(system.wait(LIMIT), launch.TIMEOUT_STATUS)
            results = [system.result(vm.name) for vm in vms]
            output = system.output
        self.assertEqual([status for status, _ in results], [0, 0], output)
        sent, received = (sums(text) for _, text in results)
        self.assertEqual(len(sent), count)
        for (_, port), digest in sent.items():
            self.assertEqual(received["received", port], digest)
        self.assertNotRegex(output, r"(virtio|vswitch|driver|vmm\.(left|right))\S* died")
        # Of what the crashing VM had, each time all came back.
        given = re.findall(r"VM crashing: (\d+) bytes given back, (\d+) are free", output.split("VM left is off")[0])
        self.assertEqual(len(set(given)), 1, given)


if __name__ == "__main__":
    unittest.main()
