#!/usr/bin/python3
"""Runs one guest of tests/fault on Atoll in QEMU and judges what guest and supervisor say.

Usage: run_fault_test.py OUTCOME BINARY SOURCE --build FOLDER [--timeout SECONDS] [--cpu MODEL] [--no-icount]
  passes     each TEST() of the source prints PASS, and the machine powers off by itself; only the crasher died
  given-up   the crasher dies until its limit, the VM crashes, and the machine ends with status 1
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

SYSTEM = ROOT / "tests/fault/system.textproto"
LIMIT = int(re.search(r"deaths: (\d+)", (ROOT / "tests/fault/crasher/manifest.textproto").read_text())[1])
CRASHER = "crasher.guest.1"
DEATH = re.compile(r"^\[\d+\.\d{6}\] (\S+) died: (.*)$", re.MULTILINE)
CAUSE = re.compile(r"(fault|exit) pc 0x[0-9a-f]+ esr 0x[0-9a-f]+ far 0x[0-9a-f]+; ")


def check_deaths(text: str) -> list[str]:
    """Each death is one line with its cause and place, and is the crasher's."""
    deaths = DEATH.findall(text)
    problems = [f"{name} died: {rest}" for name, rest in deaths if name != CRASHER]
    problems += [f"not a crash record: {rest}" for _, rest in deaths if not CAUSE.match(rest)]
    generations = [int(g) for g in re.findall(r"restarting as generation (\d+)", text)]
    if generations != list(range(1, len(generations) + 1)):
        problems.append(f"generations are {generations}")
    return problems + ([] if generations else ["no service was restarted"])


def judge_passes(source: str, status: int, text: str) -> list[str]:
    problems = [p for p in guest_test.judge(guest_test.TESTS.findall(source), text) if not DEATH.match(p)]
    return problems + ([] if status == 0 else [f"the machine ended with status {status}, not 0"])


def judge_given_up(_source: str, status: int, text: str) -> list[str]:
    problems = [] if status == 1 else [f"the machine ended with status {status}, not 1"]
    restarts = len(re.findall("restarting as generation", text))
    if restarts != LIMIT:
        problems.append(f"{restarts} restarts, not {LIMIT}")
    wanted = [rf"{re.escape(CRASHER)} died: .*; given up: more than {LIMIT} deaths in 1 s; its VM ends; .*", "VM guest crashed"]
    at = 0
    for line in wanted:
        found = re.compile(rf"^\[\d+\.\d{{6}}\] {line}$", re.MULTILINE).search(text, at)
        if found is None:
            problems.append(f"there is no line: {line}")
        else:
            at = found.end()
    if "SURVIVED\n" not in text:
        problems.append("the guest did not begin")
    if "NEVER GIVEN UP" in text:
        problems.append("the guest went on")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs one guest of tests/fault.")
    judges = {"passes": judge_passes, "given-up": judge_given_up}
    parser.add_argument("outcome", choices=judges)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=100)
    parser.add_argument("--cpu", default="neoverse-n1")
    parser.add_argument("--no-icount", dest="icount", action="store_false")
    arguments = parser.parse_args()
    os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    options = launch.Options(config=str(SYSTEM), files={"guest": str(arguments.binary)}, cpu=arguments.cpu,
                             icount=arguments.icount,
                             services=[(ROOT / "tests/fault", launch.TARGET / "tests/fault")])
    begin = time.monotonic()
    try:
        with launch.Machine(options) as machine:
            machine.prepare()
            status, text = guest_test.run_machine(machine, arguments.timeout)
    except InputError as error:
        sys.exit(f"{arguments.source.stem}: {error}")
    problems = judges[arguments.outcome](arguments.source.read_text(encoding="utf-8"), status, text)
    problems += check_deaths(text)
    deaths = len(DEATH.findall(text))
    print(f"{arguments.source.stem}: {deaths} deaths, {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
