#!/usr/bin/python3
"""A VM whose device is hostile, beside one that checks every answer that it gets.

Usage: hostile_test.py --build FOLDER [--timeout SECONDS] [--cpus N --no-icount]
Each TEST() of hostile.cc prints PASS, only the crasher died, and the neighbour, which goes on until after that, has lost
nothing.
"""
import re
import sys
import time

import fault_machine
import campaign_output
import run_guest_test as guest_test

SOURCE = fault_machine.ROOT / "tests/fault/hostile.cc"
SYSTEM = (fault_machine.ROOT / "tests/fault/hostile.textproto").read_text(encoding="utf-8")
NEIGHBOUR = "neighbour"
WORK = re.search(r"work=(\S+)", SYSTEM)[1].split(",")
CRASHER = "crasher.guest.1"


def judge(status: int, text: str) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    wanted = guest_test.TESTS.findall(SOURCE.read_text(encoding="utf-8"))
    problems += [p for p in guest_test.judge(wanted, text) if not fault_machine.DEATH.match(p)]
    problems += [f"{name} died" for name in fault_machine.DEATH.findall(text) if name != CRASHER]
    # Panics among the faults are the crasher's, and asked for.
    output = campaign_output.parse(text, "guest")
    output.log = [line for line in output.log if "panic: as requested" not in line]
    output.broken = []  # the first guest is no oracle
    problems += campaign_output.problems(output, {NEIGHBOUR: WORK}, 0)
    if text.find("DONE") > text.find(f"{NEIGHBOUR}.{WORK[0]} ok"):
        problems.append("the neighbour ended first")
    return problems


def main() -> int:
    arguments = fault_machine.arguments_parser("A hostile service, and who must not notice.").parse_args()
    begin = time.monotonic()
    status, text = fault_machine.run(arguments, SYSTEM, {"guest": "tests/fault/hostile.bin", "oracle": "guests/oracle.bin"})
    return fault_machine.conclude(begin, text, judge(status, text))


if __name__ == "__main__":
    sys.exit(main())
