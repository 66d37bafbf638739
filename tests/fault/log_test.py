#!/usr/bin/python3
"""The kernel's log when the console service cannot print it: the kernel does, and every line comes once.

Usage: log_test.py --build FOLDER [NAME ...]
"""
import argparse
import os
import pathlib
import re
import struct
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
sys.dont_write_bytecode = True

import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 60
DEATHS = 5  # RESTART_DEATHS of scripts/planner.py
CODE_ADDRESS = 0x40_0000
UNDEFINED = [0x0000_0000]                                       # udf #0
WAIT_FOR_EVER = [0xd280_0048, 0xd280_0000, 0xd400_0001, 0x17ff_fffd]  # 0: mov x8, #2; mov x0, #0; svc #0; b 0
POWER_OFF = [0x5280_0100, 0x72b0_8000, 0xd400_0002]              # mov w0, #8; movk w0, #0x8400, lsl #16; hvc #0
LOG_LINE = re.compile(r"^\[(\d+\.\d{6})\] (.*)$", re.MULTILINE)
SYSTEM = 'vm { name: "guest" memory_mib: 64 kernel: "guest" }'


def words(code: list[int]) -> bytes:
    return struct.pack(f"<{len(code)}I", *code)


def elf(code: list[int]) -> bytes:
    """A program of a few instructions."""
    text = words(code)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 183, 1, CODE_ADDRESS, 64, 0, 0, 64, 56, 1,
                         0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 4096, CODE_ADDRESS, CODE_ADDRESS, len(text), len(text), 4096)
    return (header + segment).ljust(4096, b"\0") + text


class ConsoleThatFails(unittest.TestCase):
    build: pathlib.Path

    def boot(self, console: list[int]) -> tuple[int, list[str]]:
        """Exit status and log of a system whose console is this program."""
        import launch
        with tempfile.TemporaryDirectory(prefix="atoll-log-") as name:
            folder = pathlib.Path(name)
            system = folder / "system.textproto"
            system.write_text(SYSTEM)
            guest = folder / "guest"
            guest.write_bytes(words(POWER_OFF))
            (folder / "kernel").symlink_to(launch.TARGET / "kernel")
            (folder / "services").mkdir()
            for path in (launch.TARGET / "services").glob("*.elf"):
                (folder / "services" / path.name).symlink_to(path)
            (folder / "services/console.elf").unlink()
            (folder / "services/console.elf").write_bytes(elf(console))
            options = launch.Options(config=str(system), files={"guest": str(guest)}, icount=True)
            with mock.patch.object(launch, "TARGET", folder), launch.Machine(options) as machine:
                machine.prepare()
                status, text = qemu_test.run(machine.command(["-serial", "stdio"]), TIMEOUT_SECONDS)
        lines = LOG_LINE.findall(text)
        times = [float(time) for time, _ in lines]
        self.assertEqual(times, sorted(times), text)
        return status, [line for _, line in lines if not re.match(r"atoll at|memory |\d+ CPU", line)]

    def test_that_dies_at_once(self):
        status, lines = self.boot(UNDEFINED)
        death = rf"console died: fault pc {CODE_ADDRESS:#x} esr 0x2000000 far 0x[0-9a-f]+; "
        wanted = [r"started \d+ services for 1 VMs"]
        wanted += [death + "restarting as generation 1"]
        wanted += [death + rf"restarting as generation {n + 2} in {1 << n} ms" for n in range(DEATHS - 1)]
        wanted += [death + f"given up: more than {DEATHS} deaths in 1 s; restarting as generation 6 in failed mode"]
        wanted += [death + "given up in failed mode, too; cannot be restarted, given up: its image has no table of faults"]
        lines = [line for line in lines if not line.startswith("VM guest")]  # it ends meanwhile
        self.assertEqual(len(lines), len(wanted), lines)
        for line, pattern in zip(lines, wanted):
            self.assertRegex(line, f"^{pattern}$")
        self.assertEqual(status, 1)

    def test_that_never_prints(self):
        status, lines = self.boot(WAIT_FOR_EVER)
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[1], "VM guest is off")
        self.assertRegex(lines[2], r"^VM guest: \d+ bytes given back, \d+ are free$")
        self.assertEqual(status, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Boots with consoles that fail.")
    parser.add_argument("--build", required=True, help="native build folder")
    options, rest = parser.parse_known_args()
    os.environ["ATOLL_BUILD"] = os.path.abspath(options.build)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
