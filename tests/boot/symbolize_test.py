#!/usr/bin/python3
"""scripts/symbolize.py: which addresses of a console's output are whose, and what it does not take."""
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SERVICES = pathlib.Path(os.environ["ATOLL_BUILD"]) / "target/services"


def address(service: str, symbol: str) -> int:
    output = subprocess.run(["llvm-nm-19", "-C", str(SERVICES / f"{service}.elf")], check=True, capture_output=True, text=True)
    return next(int(line.split()[0], 16) for line in output.stdout.splitlines() if line.endswith(symbol))


def symbolize(what: str, text: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-B", str(ROOT / "scripts/symbolize.py"), what], input=text, capture_output=True,
                          text=True)


class Symbolize(unittest.TestCase):
    def setUp(self):
        self.main = {name: address(name, "atoll::ServiceMain(atoll::StartInfo const&)") for name in ("pl031", "vswitch")}

    def added(self, what: str, text: str) -> list[str]:
        """The lines that were put behind others."""
        done = symbolize(what, text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [line.strip() for line in done.stdout.splitlines() if line.startswith("       ")]

    def test_every_form_of_a_death(self):
        pc, back = f"{self.main['pl031']:#x}", f"{self.main['pl031'] + 8:#x}"
        for line in (f"[1.000000] pl031.vm0 died: fault pc {pc} esr 0x0 far 0x0; restarting as generation 1",
                     f"#7 1.000000000 pl031.vm0 generation 0: killed pc {pc}; detected +1, started +2 ns; restarted",
                     f"monitor: #7 1.000000000 pl031.vm0 generation 0: killed pc {pc}; detected +1 ns; restarted",
                     f"[1.000000] pl031.vm0 died: exit pc 0x0 esr 0x0 far 0x0; restarting as generation 1; from {back}"):
            self.assertTrue(any(name.startswith("ServiceMain ") for name in self.added("pl031", line)), line)

    def test_a_record_is_of_the_service_that_it_begins_with(self):
        back = f"{self.main['vswitch'] + 8:#x}"
        record = ("#1 1.000000000 vswitch generation 0: killed pc 0x0; detected +1 ns; restarted\n  x28 0x0 x29 0x0 x30 "
                  f"{back}\n  sp 0x0 pstate 0x0\n  backtrace {back} {back}\n")
        self.assertEqual(sum(name.startswith("ServiceMain ") for name in self.added("all", record)), 3)
        self.assertEqual(self.added("pl031", record), [])
        self.assertEqual(self.added("all", f"atoll> help\n  backtrace {back}\n"), [])

    def test_what_it_does_not_know(self):
        for what, status in (("nothing", 2), (str(SERVICES / "pl031.elf"), 1)):
            self.assertEqual(symbolize(what, "").returncode, status)


if __name__ == "__main__":
    unittest.main()
