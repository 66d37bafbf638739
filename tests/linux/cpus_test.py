"""Debian on 4 vCPUs over 1, 2 and 4 CPUs: all online, off and on, under load; and two such guests at once."""
import unittest

from machine import ROOT, run_batch
from scripted import LONG, System, Vm, amount

VCPUS = 4
SCRIPT = (f"cpus={VCPUS} rounds={amount(6, 100)} seconds={amount(4, 120)}\n"
          + (ROOT / "tests/linux/cpus.sh").read_text())
LIMIT = amount(400, 3600)


class Cpus(unittest.TestCase):
    def one(self, machine_cpus: int):
        done = run_batch(SCRIPT, "--vcpus", str(VCPUS), "--machine-cpus", str(machine_cpus), limit=LIMIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @unittest.skipUnless(LONG, "batch_test has several vCPUs on one CPU")
    def test_over_one_cpu(self):
        self.one(1)

    def test_over_two_cpus(self):
        self.one(2)

    def test_over_four_cpus(self):
        self.one(4)

    def test_two_guests_over_two_cpus(self):
        vms = [Vm(name, SCRIPT, f"vcpus: {VCPUS}") for name in ("left", "right")]
        with System(*vms, machine_cpus=2) as system:
            system.start()
            status = system.wait(2 * LIMIT)
            for vm in vms:
                self.assertEqual(system.result(vm.name)[0], 0, system.output)
            self.assertEqual(status, 0, system.output)


if __name__ == "__main__":
    unittest.main()
