"""scripts/debug: stops where it is told, in kernel and services, and knows the names there."""
import os
import pathlib
import subprocess
import tempfile
import unittest

from machine import LIMIT_SECONDS, ROOT

import launch

COMMANDS = """
tbreak *&atoll::BindIrq
continue
backtrace
atoll break pl011.guest atoll::Pl011::Access
continue
atoll where
atoll tasks
"""


class Debug(unittest.TestCase):
    def test_backtraces_of_kernel_and_service(self):
        with tempfile.NamedTemporaryFile("w", suffix=".gdb") as file:
            file.write(COMMANDS)
            file.flush()
            done = subprocess.run([str(ROOT / "scripts/debug"), "--no-build", "--kernel",
                                   str(launch.TARGET / "guests/bench.bin"), "--memory", "64", "--commands", file.name],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for line in (r"#\d+ .*HandleTaskCall", r"(?m)^pl011.guest\n  #0 atoll::Pl011::Access",
                     r"#\d+ atoll::ServiceMain\(.* at .*services/pl011/main.cc", r"(?m)^\* pl011.guest +pl011 "):
            self.assertRegex(done.stdout, line)

    def test_bad_options(self):
        done = subprocess.run([str(ROOT / "scripts/debug"), "--no-build", "--commands", "/nowhere"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--commands /nowhere: there is no such file", done.stderr)


if __name__ == "__main__":
    unittest.main()
