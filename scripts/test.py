"""Builds everything and runs the test suites, fastest first.

The last line is `N passed, N failed` and the exit status 0 if none failed. Each suite's time is shown beside its
budget; all budgets together are 25 minutes on two cores, set-up on a fresh machine included. What takes longer is in
scripts/soak. `meson test -C build` runs the same tests without this summary.
"""
import argparse
import json
import os
import subprocess
import sys
import time

import prepare

# Seconds on two cores. The order is that of the runs; suites that are not listed come last.
BUDGETS = {"set-up": 240, "build": 240, "lint": 300, "unit": 120, "kernel": 60, "guest": 180, "fault": 300, "linux": 300}
TIMEOUT_MULTIPLIER = "3"  # of the tests' own limits, which are for hangs: a slow machine is no failure
BAD = ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS")


def report(name: str, seconds: float, result: str) -> None:
    budget = BUDGETS.get(name)
    over = "" if budget is None or seconds <= budget else "  over budget"
    print(f"{name:8} {result:30} {seconds:6.0f} s of {budget if budget is not None else '-':>4}{over}", flush=True)


def registered_suites() -> list[str]:
    listing = subprocess.run(["meson", "introspect", str(prepare.BUILD), "--tests"], check=True, capture_output=True,
                             text=True).stdout
    # Meson puts the project's name before a suite's; libraries that are built as subprojects have none of ours.
    found = {suite.split(":")[-1] for test in json.loads(listing) for suite in test["suite"]
             if suite.startswith("atoll:")}
    order = list(BUDGETS)
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


def run_suite(name: str) -> tuple[int, int]:
    """(passed, failed) tests of a suite; meson's output is shown if there are failures."""
    begin = time.monotonic()
    done = subprocess.run(["meson", "test", "-C", str(prepare.BUILD), "--no-rebuild", "--suite", f"atoll:{name}",
                           "--logbase", f"suite-{name}", "--timeout-multiplier", TIMEOUT_MULTIPLIER, "--print-errorlogs"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    log = prepare.BUILD / "meson-logs" / f"suite-{name}.json"
    results = [json.loads(line)["result"] for line in log.read_text().splitlines()] if log.exists() else []
    failed = sum(result in BAD for result in results)
    passed = sum(result in ("OK", "EXPECTEDFAIL") for result in results)
    skipped = len(results) - passed - failed
    if done.returncode != 0 and failed == 0:
        failed = 1  # meson itself failed
    if failed:
        print(done.stdout, flush=True)
    report(name, time.monotonic() - begin, f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return passed, failed


def build() -> bool:
    begin = time.monotonic()
    try:
        prepare.build([])
    except SystemExit as error:
        print(error)
        return False
    report("build", time.monotonic() - begin, "kernel, services, guests, tests")
    return True


def summary(passed: int, failed: int) -> int:
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", metavar="NAME", help="only this suite (repeatable)")
    arguments = parser.parse_args()
    report("set-up", float(os.environ.get("ATOLL_SETUP_SECONDS", "0")), "packages and sources")
    if not build():
        return summary(0, 1)
    suites = registered_suites()
    for name in arguments.suite or ():
        if name not in suites:
            parser.error(f"there is no suite {name}; there are {', '.join(suites)}")
    passed = failed = 0
    for name in suites:
        if arguments.suite is None or name in arguments.suite:
            of_suite = run_suite(name)
            passed, failed = passed + of_suite[0], failed + of_suite[1]
    return summary(passed, failed)


if __name__ == "__main__":
    sys.exit(main())
