#!/usr/bin/python3
"""Two VMs: one resets, turns itself off and crashes 12 times, the other looks how late it wakes.

Usage: vm_life_test.py --build FOLDER [--timeout SECONDS] [--cpus N --no-icount] [--supervisor N]
After each end the same number of bytes comes back and the same number is free; the disk keeps what was written; the
other VM is never late by more than a millisecond. With --supervisor the monitor's script makes the supervisor die N times meanwhile,
and nothing of this changes but that.
"""
import argparse
import os
import pathlib
import re
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/guest")]
sys.dont_write_bytecode = True

import run_guest_test as guest_test  # noqa: E402

LIVES = int(re.search(r"kLives = (\d+)", (ROOT / "tests/fault/mortal.cc").read_text())[1])
LEAST_LIVES = 3
MOST_LATE = 1000  # microseconds, with deterministic time
MOST_LATE_OF_SUPERVISOR = 1000  # more: it is rebuilt, and then goes on with a piece of its work


def script(deaths: int) -> str:
    """Not more than eight a second, or the kernel gives up; at other moments of the VM's life each time."""
    lines = []
    for n in range(deaths):
        lines += [f"wait {130_000 + n * 7919 % 60_000}us", ("kill", "crash", "overflow")[n % 3] + " supervisor"]
    return "\n".join(lines) + "\n"


def judge(status: int, text: str, deterministic: bool, supervisor: int) -> list[str]:
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
    problems += [f"{name} died" for name in re.findall(r"\] (\S+) died:", text) 
                 if name not in ("crasher.mortal.1", "supervisor")]
    deaths = re.findall(r"supervisor died: .* generation (\d+) goes on", text)
    if deaths != [str(n + 1) for n in range(len(deaths))] or (len(deaths) < supervisor and deterministic):
        problems.append(f"the supervisor went on as {deaths}, not {supervisor} times")
    late = re.search(r"LATE microseconds: most (\d+) mean (\d+)", text)
    if late is None:
        problems.append("the neighbour did not come to its end")
    elif deterministic and int(late[1]) > MOST_LATE + (MOST_LATE_OF_SUPERVISOR if supervisor else 0):
        problems.append(f"the neighbour was late by {late[1]} microseconds")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Ends a VM again and again beside another.")
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=150)
    parser.add_argument("--cpus", type=int, default=1, help="of the machine")
    parser.add_argument("--no-icount", dest="icount", action="store_false")
    parser.add_argument("--supervisor", type=int, default=0, metavar="N", help="deaths of the supervisor")
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
        with tempfile.TemporaryDirectory() as scratch, launch.Machine(options) as machine:
            if arguments.supervisor:
                options.monitor = f"{scratch}/script"
                pathlib.Path(options.monitor).write_text(script(arguments.supervisor), encoding="utf-8")
            machine.prepare()
            status, text = guest_test.run_machine(machine, arguments.timeout)
    except InputError as error:
        sys.exit(f"vm_life: {error}")
    problems = judge(status, text, arguments.icount, arguments.supervisor)
    print(f"vm_life: {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
