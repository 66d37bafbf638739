#!/usr/bin/python3
"""Two VMs: one resets, turns itself off and crashes 12 times, the other looks how late it wakes.

Usage: vm_life_test.py --build FOLDER [--timeout SECONDS] [--cpus N --no-icount]
After each end the same number of bytes comes back and the same number is free; the disk keeps what was written; the
other VM is never late by more than a millisecond.
"""
import argparse
import os
import pathlib
import re
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/guest")]
sys.dont_write_bytecode = True

import run_guest_test as guest_test  # noqa: E402

LIVES = int(re.search(r"kLives = (\d+)", (ROOT / "tests/fault/mortal.cc").read_text())[1])
LEAST_LIVES = 3
MOST_LATE = 1000  # microseconds, with deterministic time


def judge(status: int, text: str, deterministic: bool) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    lives = re.findall(r"LIFE (\d+) is new", text)
    ends = re.findall(r"VM mortal (resets|is off|crashed)", text)
    given_back = re.findall(r"VM mortal: (\d+) bytes given back, (\d+) are free", text)
    starts = re.findall(r"VM mortal starts afresh: start (\d+)", text)
    # How many there are in real time is the host's business; the last may be under way.
    count = LIVES if deterministic else len(lives) - 1
    if count < LEAST_LIVES or lives != [str(n) for n in range(count + 1)]:
        problems.append(f"lives are {lives}")
    if ends[:count] != [("resets", "is off", "crashed")[n % 3] for n in range(count)]:
        problems.append(f"ends are {ends}")
    if len(given_back) < count or len(set(given_back)) != 1:
        problems.append(f"memory given back, and free then: {given_back}")
    if starts[:count] != [str(n) for n in range(2, count + 2)]:
        problems.append(f"starts are {starts}")
    problems += re.findall(r".*(?:remembers|FAIL|missing|is lost|cannot be started|panic).*", text)
    problems += [f"{name} died" for name in re.findall(r"\] (\S+) died:", text) if name != "crasher.mortal.1"]
    late = re.search(r"LATE microseconds: most (\d+) mean (\d+)", text)
    if late is None:
        problems.append("the neighbour did not come to its end")
    elif deterministic and int(late[1]) > MOST_LATE:
        problems.append(f"the neighbour was late by {late[1]} microseconds")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Ends a VM again and again beside another.")
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=150)
    parser.add_argument("--cpus", type=int, default=1, help="of the machine")
    parser.add_argument("--no-icount", dest="icount", action="store_false")
    arguments = parser.parse_args()
    os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    folder = launch.TARGET / "tests/fault"
    options = launch.Options(config=str(ROOT / "tests/fault/two_vms.textproto"),
                             files={name: str(folder / f"{name}.bin") for name in ("steady", "mortal")},
                             icount=arguments.icount, machine_cpus=arguments.cpus, services=[(ROOT / "tests/fault", folder)])
    begin = time.monotonic()
    try:
        with launch.Machine(options) as machine:
            machine.prepare()
            status, text = guest_test.run_machine(machine, arguments.timeout)
    except InputError as error:
        sys.exit(f"vm_life: {error}")
    problems = judge(status, text, arguments.icount)
    print(f"vm_life: {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
