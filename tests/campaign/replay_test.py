#!/usr/bin/python3
"""Two runs of one seed are the same machine: each fault at the same instruction, each byte of the output. Another seed is
another one, and a machine that loses something is reported as such.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COUNT = "12"
LIMIT_SECONDS = 100


def run(folder: pathlib.Path, name: str, *options: str) -> tuple[int, str, str, str]:
    """Exit status, output, report and console of a campaign."""
    report, console = folder / f"{name}.report", folder / f"{name}.console"
    done = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/fault-campaign.py"), "--no-build", "--count", COUNT,
                           "--report", str(report), "--console", str(console), *options], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT_SECONDS)
    return done.returncode, done.stdout + done.stderr, report.read_text(), console.read_text()


class Replay(unittest.TestCase):
    def test_of_a_seed_is_the_same_run(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            first, second = (run(folder, name, "--replay", "9") for name in ("first", "second"))
            other = run(folder, "other", "--replay", "10")
        self.assertEqual(first[0], 0, first[1])
        self.assertEqual(first[2:], second[2:])
        self.assertNotEqual(first[2], other[2])
        self.assertEqual(len(first[2].splitlines()), 1 + int(COUNT))


if __name__ == "__main__":
    os.environ.setdefault("ATOLL_BUILD", str(ROOT / "build"))
    unittest.main()
