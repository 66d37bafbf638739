#!/usr/bin/python3
"""Kills the two services of a chain of calls: one, the other, both, one that is being restarted. Nothing is lost or done
twice.

QEMU takes so long for calls between services that in real time most kills hit one.

Usage: chain_test.py --build FOLDER [--timeout SECONDS] [--seed N] [--cpus N] [--no-icount]
"""
import random
import re
import sys
import time

import fault_machine

RELAY, KEEPER = "relay.guest.0", "keeper"
LEAST_ROUNDS = 50
STEPS = 25
# A device whose service calls another one for each access.
SYSTEM = 'vm { name: "guest" memory_mib: 16 kernel: "guest" device { service: "relay" } }'


def script(seed: int) -> str:
    """Monitor's commands: what dies together has no wait in between. A service that is not there cannot be killed."""
    chance = random.Random(seed)
    groups = [[RELAY], [KEEPER], [RELAY, KEEPER], [KEEPER, RELAY], [RELAY, RELAY], [KEEPER, KEEPER], [KEEPER, RELAY, KEEPER, RELAY]]
    lines = ["wait 5ms"]
    for _ in range(STEPS):
        lines += [f"-kill {name}" for name in chance.choice(groups)] + [f"wait {chance.randrange(3000, 5000)}us"]
    return "\n".join(lines) + "\n"


def judge(status: int, text: str) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    found = re.search(r"CHAIN (\d+)", text)
    if found is None or int(found[1]) < LEAST_ROUNDS:
        problems.append(f"the guest made {found[1] if found else 'no'} rounds")
    problems += re.findall(r".*(?:LOST|panic|given up|unexpected).*", text)
    deaths = fault_machine.DEATH.findall(text)
    for name in (RELAY, KEEPER):
        if deaths.count(name) < STEPS // 4:
            problems.append(f"{name} died {deaths.count(name)} times")
    return problems + [f"{name} died" for name in set(deaths) - {RELAY, KEEPER}]


def main() -> int:
    parser = fault_machine.arguments_parser("Kills the services of a chain of calls.")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begin = time.monotonic()
    status, text = fault_machine.run(arguments, SYSTEM, {"guest": "tests/fault/chain.bin"}, script(arguments.seed))
    return fault_machine.conclude(begin, text, judge(status, text))


if __name__ == "__main__":
    sys.exit(main())
