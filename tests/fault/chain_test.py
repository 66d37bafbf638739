#!/usr/bin/python3
"""Kills the two services of a chain of calls: one, the other, both, one that is being restarted. Nothing is lost or done
twice.

In real time: QEMU takes so long for calls between services that most kills hit one.

Usage: chain_test.py --build FOLDER [--timeout SECONDS] [--seed N] [--cpus N] [--icount]
"""
import argparse
import os
import pathlib
import random
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/guest")]
sys.dont_write_bytecode = True

import run_guest_test as guest_test  # noqa: E402

RELAY, KEEPER = "relay.guest.0", "keeper"
LEAST_ROUNDS = 50
STEPS = 25
DEATH = re.compile(r"^\[\d+\.\d{6}\] (\S+) died: .*$", re.MULTILINE)


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
    deaths = DEATH.findall(text)
    for name in (RELAY, KEEPER):
        if deaths.count(name) < STEPS // 4:
            problems.append(f"{name} died {deaths.count(name)} times")
    return problems + [f"{name} died" for name in set(deaths) - {RELAY, KEEPER}]


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills the services of a chain of calls.")
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=1, help="of the machine")
    parser.add_argument("--icount", action="store_true")
    arguments = parser.parse_args()
    os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    folder = launch.TARGET / "tests/fault"
    begin = time.monotonic()
    try:
        options = launch.Options(config=str(ROOT / "tests/fault/chain.textproto"), files={"guest": str(folder / "chain.bin")},
                                 icount=arguments.icount, machine_cpus=arguments.cpus,
                                 services=[(ROOT / "tests/fault", folder)])
        with launch.Machine(options) as machine:
            options.monitor = str(machine.folder / "script")
            pathlib.Path(options.monitor).write_text(script(arguments.seed))
            machine.prepare()
            status, text = guest_test.run_machine(machine, arguments.timeout)
    except InputError as error:
        sys.exit(f"chain: {error}")
    problems = judge(status, text)
    print(f"chain: {len(DEATH.findall(text))} deaths, {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
