"""scripts/host-run: devices in a process of this computer, with good and bad guests."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WATCHDOG = """
write WDOGLOAD 24000000      # a second
write WDOGCONTROL 1
pass 250ms
expect WDOGVALUE 18000000
restart                      # the service is killed, and goes on
expect WDOGVALUE 18000000
pass 750ms
line 1
expect WDOGRIS/1 1
write 0x00c 1
line 0
read 0xfe0/1
read WDOGPERIPHID1
"""


def host_run(name: str, script: str):
    with tempfile.NamedTemporaryFile("w", suffix=".guest") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["/usr/bin/python3", "-B", str(ROOT / "scripts/host-run.py"), name, file.name, "--no-build"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        return done.returncode, done.stdout.replace(file.name, "SCRIPT"), done.stderr


class HostRun(unittest.TestCase):
    def test_a_guest_and_a_death(self):
        self.assertEqual(host_run("sp805", WATCHDOG), (0, "0x5\n0x18\n", ""))
        self.assertEqual(host_run("pl061", "write GPIOIEV 8\nwrite GPIOIE 8\nsignal 2\nline 1\nread 0x3fc\n")[:2], (0, "0x8\n"))

    def test_what_is_not_met_is_said(self):
        self.assertEqual(host_run("sp805", "\nexpect WDOGLOAD 5\nread WDOGLOAD")[:2],
                         (1, "SCRIPT: line 2: it is 0xffffffff, not 0x5\n"))

    def test_bad_lines(self):
        for line, problem in (("jump", '"jump" is no command'), ("write WDOGLOAD", "something is missing at its end"),
                              ("write WDOG 1", '"WDOG" is no number'), ("read 0/3", "a width is 1, 2, 4 or 8"),
                              ("write 0 1 2", 'too much: "2"'), ("pass 10", '"10" is no time, as 10ms is'),
                              ("pass ms", '"ms" is no time'), ("expect 0 99999999999999999999", "is no number"),
                              ("driver", "this device has no queues"), ("send 0 xy", "is no number")):
            status, output, _ = host_run("sp805", line)
            self.assertEqual(status, 1, line)
            self.assertIn("SCRIPT: line 1: ", output)
            self.assertIn(problem, output)

    def test_services_that_are_not_all_in_a_device_file(self):
        for name in ("pl011", "floppy", "../services/sp805"):
            status, _, error = host_run(name, "")
            self.assertNotEqual(status, 0)
            self.assertRegex(error, f'"{re.escape(name)}" is no service that is all in its device.h; .*pl061, .*sp805')

    def test_every_device_starts_and_is_started_again(self):
        programs = sorted(path for path in pathlib.Path(os.environ["ATOLL_BUILD"]).glob("tests/host/host_*") if path.is_file())
        self.assertGreaterEqual(len(programs), 2)
        for program in programs:
            name = program.name.removeprefix("host_")
            script = "driver\nrestart\nread 0x70\nread 0x000/8\n" if name.startswith("virtio") else "restart\nread 0\n"
            self.assertEqual(host_run(name, script)[::2], (0, ""), name)


if __name__ == "__main__":
    unittest.main()
