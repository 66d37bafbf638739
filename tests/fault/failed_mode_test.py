#!/usr/bin/python3
"""The clock and the UART of a VM die at every start until they are given up. The guest goes on with devices that fail.

Usage: failed_mode_test.py --build FOLDER [--timeout SECONDS] [--cpus N] [--no-icount]
"""
import re
import sys
import time

import fault_machine

SYSTEM = 'vm { name: "guest" memory_mib: 16 kernel: "guest" }'
SERVICES = ["pl031", "pl011"]
DEATHS = 6  # RESTART_DEATHS of scripts/planner.py, and the one that is too many


def judge(status: int, text: str) -> list[str]:
    problems = [] if status in (0, 1) else [f"the machine ended with status {status}"]
    deaths = fault_machine.DEATH.findall(text)
    for service in SERVICES:
        if deaths.count(f"{service}.guest") != DEATHS:
            problems.append(f"{service} died {deaths.count(f'{service}.guest')} times")
        if not re.search(rf"{service}.guest died: .*given up.*in failed mode", text):
            problems.append(f"{service} was not started in failed mode")
    if "VM guest is off" not in text:
        problems.append("the guest did not come to its end")
    return problems


def main() -> int:
    arguments = fault_machine.arguments_parser("Devices of a VM are given up.").parse_args()
    begin = time.monotonic()
    status, text = fault_machine.run(arguments, SYSTEM, {"guest": "tests/fault/failed_mode.bin"},
                                     builds={f"{name}.elf": f"tests/fault/dying-{name}.elf" for name in SERVICES})
    return fault_machine.conclude(begin, text, judge(status, text))


if __name__ == "__main__":
    sys.exit(main())
