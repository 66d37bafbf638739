"""Sockets between two Debian guests: streams both ways at once while everything that carries them is killed."""
import re
import sys
import tempfile
import unittest

from scripted import System, Vm, amount

MIB = amount(8, 64)
KILLS = amount(60, 400)
LIMIT = amount(300, 3600)
DEVICE = 'device { service: "virtio-vsock" }'
LEFT_CID, RIGHT_CID = 3, 4
PORT = 5000
SERVICES = ("virtio-vsock.left.0", "virtio-vsock.right.0", "vsock-switch")
# exchange ARGUMENTS OF vsock: random bytes to the peer, what it says to SHA-256.
FUNCTIONS = f"""
exchange() {{
  mkfifo /tmp/sent
  sha256sum </tmp/sent >/tmp/sum &
  dd if=/dev/urandom bs=64k count={MIB * 16} 2>/dev/null | tee /tmp/sent | {{ /batch/vsock "$@"; echo $? >/tmp/status; }} |
    {{ dd bs=1 count=1 2>/dev/null; echo flows >&2; cat; }} | sha256sum >/tmp/got
  wait
  echo "sent $(cut -d' ' -f1 /tmp/sum)"
  echo "received $(cut -d' ' -f1 /tmp/got)"
  return $(cat /tmp/status)
}}
"""


def kills() -> str:
    """A monitor's script that lets the services die in turn, in several ways."""
    lines = ['expect left "flows" within 3000s']
    for n in range(KILLS):
        verb = ("kill", "crash", "kill", "exit-task")[n // len(SERVICES) % 4]
        # "-": on a fast machine the streams may be over before.
        lines += [f"-{verb} {SERVICES[n % len(SERVICES)]}", f"wait {8 + 5 * (n % 7)}ms"]
    return "\n".join([*lines, '-expect left "received" within 3000s', ""])


class Vsock(unittest.TestCase):
    def exchange(self, **options):
        left = f"{FUNCTIONS}\nexchange listen {PORT}"
        right = f"{FUNCTIONS}\nexchange connect {LEFT_CID} {PORT}"
        vms = [Vm("left", left, DEVICE, programs=("vsock",)), Vm("right", right, DEVICE, programs=("vsock",))]
        with System(*vms, **options) as system:
            system.start()
            status = system.wait(LIMIT)
            output = system.output
            results = [system.result(vm.name) for vm in vms]
        self.assertEqual([status, *(status for status, _ in results)], [0, 0, 0], output)
        left, right = (dict(re.findall(r"(sent|received) ([0-9a-f]{64})", text)) for _, text in results)
        self.assertEqual((left["sent"], right["sent"]), (right["received"], left["received"]), output)
        self.assertNotEqual(left["sent"], right["sent"])
        return output

    def test_VSOCK_12_VSOCK_16_streams_both_ways(self):
        self.assertNotRegex(self.exchange(), r" died: |panic|Oops")

    def test_VSOCK_16_VSOCK_19_streams_go_on_while_services_die(self):
        with tempfile.NamedTemporaryFile("w", suffix=".monitor") as script:
            script.write(kills())
            script.flush()
            output = self.exchange(monitor=script.name)
        deaths = len(re.findall(r"(?:virtio-vsock\.\w+\.0|vsock-switch) died: ", output))
        self.assertGreaterEqual(deaths, KILLS // 3, output)
        print(f"{deaths} deaths while {2 * MIB} MiB flowed", file=sys.stderr)

    def test_VSOCK_19_a_vm_that_goes_ends_its_connections(self):
        # Who listens has shut its own direction down and would wait for ever if nobody told it. Debian's driver makes the
        # end of the stream of an RST.
        left = f"echo hello | /batch/vsock listen {PORT}; echo status $?"
        right = (f"mkfifo /tmp/input; sleep 1000 >/tmp/input & /batch/vsock connect {LEFT_CID} {PORT} </tmp/input >/tmp/got & "
                 "until grep -q hello /tmp/got; do usleep 100000; done; poweroff -f")
        vms = [Vm(name, script, DEVICE, programs=("vsock",)) for name, script in (("left", left), ("right", right))]
        with System(*vms) as system:
            system.start()
            status = system.wait(min(LIMIT, 120))
            output = system.output
            result = system.result("left")
        self.assertEqual((status, result[0]), (0, 0), output)
        self.assertIn("status 0", result[1])


if __name__ == "__main__":
    unittest.main()
