#!/usr/bin/python3
"""A VM whose device is hostile, beside one that checks every answer that it gets.

Usage: hostile_test.py --build FOLDER [--timeout SECONDS] [--cpus N --no-icount]
Each TEST() of hostile.cc prints PASS, only the crasher died, and the neighbour, which goes on until after that, has lost
nothing.
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

import campaign_output  # noqa: E402
import run_guest_test as guest_test  # noqa: E402

SOURCE = ROOT / "tests/fault/hostile.cc"
NEIGHBOUR = "neighbour"
WORK = re.search(r"work=(\S+)", (ROOT / "tests/fault/hostile.textproto").read_text())[1].split(",")
DEATH = re.compile(r"^\[\d+\.\d{6}\] (\S+) died: .*$", re.MULTILINE)
CRASHER = "crasher.guest.1"


def judge(status: int, text: str) -> list[str]:
    problems = [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    wanted = guest_test.TESTS.findall(SOURCE.read_text(encoding="utf-8"))
    problems += [p for p in guest_test.judge(wanted, text) if not DEATH.match(p)]
    problems += [f"{name} died" for name in DEATH.findall(text) if name != CRASHER]
    # Panics among the faults are the crasher's, and asked for.
    output = campaign_output.parse(text, "guest")
    output.log = [line for line in output.log if "panic: as requested" not in line]
    output.broken = []  # the first guest is no oracle
    problems += campaign_output.problems(output, {NEIGHBOUR: WORK}, 0)
    if text.find("DONE") > text.find(f"{NEIGHBOUR}.{WORK[0]} ok"):
        problems.append("the neighbour ended first")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="A hostile service, and who must not notice.")
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=150)
    parser.add_argument("--cpus", type=int, default=1, help="of the machine")
    parser.add_argument("--no-icount", dest="icount", action="store_false")
    arguments = parser.parse_args()
    os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    folder = launch.TARGET / "tests/fault"
    options = launch.Options(config=str(ROOT / "tests/fault/hostile.textproto"),
                             files={"guest": str(folder / "hostile.bin"),
                                    "oracle": str(launch.TARGET / "guests/oracle.bin")},
                             icount=arguments.icount, machine_cpus=arguments.cpus, services=[(ROOT / "tests/fault", folder)])
    begin = time.monotonic()
    try:
        with launch.Machine(options) as machine:
            machine.prepare()
            status, text = guest_test.run_machine(machine, arguments.timeout)
    except InputError as error:
        sys.exit(f"hostile: {error}")
    problems = judge(status, text)
    print(f"hostile: {len(DEATH.findall(text))} deaths, {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
