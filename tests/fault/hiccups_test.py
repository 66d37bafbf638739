#!/usr/bin/python3
"""The machine itself stands still for some milliseconds again and again, as on a host that has more to do. A service that
works meanwhile has not hung; one that hangs is found all the same.

Usage: hiccups_test.py --build FOLDER [--timeout SECONDS]
"""
import os
import re
import signal
import subprocess
import sys
import time

import fault_machine

SYSTEM = """vm { name: "guest" memory_mib: 16 kernel: "guest"
  device { service: "virtio-rng" } device { service: "crasher" } }"""
RUNS, STOPS = 0.0005, 0.002  # seconds
HANG_MS = 10_000  # until a hang is found at most, on a host that has other things to do, too


def hiccup(process: subprocess.Popen) -> None:
    while process.poll() is None:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(STOPS)
        os.kill(process.pid, signal.SIGCONT)
        end = time.perf_counter() + RUNS
        while time.perf_counter() < end:  # who sleeps may be woken late
            pass


def judge(status: int, text: str) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    if "ANSWERS 40 of generation 0" not in text:
        problems.append("a service that works died, or did not answer")
    hang = re.search(r"HANG of generation 1 took milliseconds (\d+)", text)
    if hang is None or int(hang[1]) > HANG_MS:
        problems.append("a hang was not found in time")
    if not re.search(r"crasher\.guest\.1 died: deadline ", text):
        problems.append("no deadline was passed")
    return problems + [f"{name} died" for name in fault_machine.DEATH.findall(text)[1:]]


def main() -> int:
    arguments = fault_machine.arguments_parser("A machine that stands still again and again.").parse_args()
    arguments.icount = False
    begin = time.monotonic()
    status, text = fault_machine.run(arguments, SYSTEM, {"guest": "tests/fault/hiccups.bin"}, beside=hiccup)
    return fault_machine.conclude(begin, text, judge(status, text))


if __name__ == "__main__":
    sys.exit(main())
