#!/usr/bin/python3
"""Random bytes on a CPU that has a generator of its own (FEAT_RNG) and on one that has none, while their service dies.

Usage: random_test.py --build FOLDER --cpu MODEL
"""
import re
import time

import fault_machine

DEATHS = 5
SYSTEM = ('vm { name: "guest" memory_mib: 16 kernel: "guest" command_line: "name=guest work=rng ms=300" '
          'device { service: "virtio-rng" } }')
TASK = "virtio-rng.guest.0"
WITH_GENERATOR = "max"
SCRIPT = f"wait 20ms\nstats {TASK}\n" + f"kill {TASK}\nwait 10ms\n" * DEATHS + f"stats {TASK}\n"


def judge(cpu: str, status: int, text: str) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}"]
    if not re.search(r"^oracle: guest\.rng ok [1-9]", text, re.MULTILINE):
        problems.append("the guest saw something wrong, or nothing")
    if len(fault_machine.DEATH.findall(text)) != DEATHS:
        problems.append(f"the service did not die {DEATHS} times")
    counted = re.findall(r"cpu_words +(\d+)", text)
    if len(counted) != 2 or any((int(count) > 0) != (cpu == WITH_GENERATOR) for count in counted):
        problems.append(f"words of the CPU's generator: {counted}")
    return problems


def main() -> int:
    arguments = fault_machine.arguments_parser("Draws random bytes on a CPU.").parse_args()
    begin = time.monotonic()
    status, text = fault_machine.run(arguments, SYSTEM, {"guest": "guests/oracle.bin"}, SCRIPT)
    return fault_machine.conclude(begin, text, judge(arguments.cpu, status, text))


if __name__ == "__main__":
    raise SystemExit(main())
