"""Measures Atoll in guest instructions, compares it with the same guest on no hypervisor, and checks the goals.

QEMU runs with -icount shift=0: one instruction of any exception level is one nanosecond of the guest's clock, so two
runs give the same numbers on any machine. Prints a table and writes it as JSON. Exit status 1 if a goal is missed.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import bench_machines
import bench_measures
import bench_sockets
import launch
import prepare
from bench_kvm import KvmHost
from bench_rows import ROWS, Table
from schemas import InputError

MEASURES = bench_measures.MEASURES | bench_sockets.MEASURES


def chosen(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Rows by their own names or those of their measurements; for none all that are the same in each run."""
    for word in words:
        if word not in ROWS and word not in MEASURES:
            parser.error(f"{word}: is neither a measurement nor a row")
    return [name for name, row in ROWS.items() if name in words or row.measure in words or
            (not words and row.measure not in bench_sockets.REAL_TIME)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=f"rows: {', '.join(ROWS)}")
    parser.add_argument("row", nargs="*", metavar="ROW",
                        help=f"a row's name, or a measurement with all of its rows: {', '.join(MEASURES)}; "
                        f"default: all but {', '.join(bench_sockets.REAL_TIME)}")
    parser.add_argument("--peers", action="store_true",
                        help="measure KVM and QEMU inside of QEMU, too: Debian's packages, which are fetched once")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, default=launch.BUILD / "bench.json",
                        help="default %(default)s")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    parser.add_argument("--profile", metavar="SERVICE", help="show, too, in which functions of the kernel and of this service "
                        "the instructions between the marks of guests are executed; other services' show as this one's")
    arguments = parser.parse_args()
    bench_machines.profiled_service = arguments.profile
    table = Table(chosen(parser, arguments.row))
    if not arguments.no_build:
        prepare.build(prepare.TARGET)
    kvm = KvmHost() if arguments.peers else None
    try:
        with tempfile.TemporaryDirectory(prefix="atoll-bench-") as name:
            folder = pathlib.Path(name)
            for measure in dict.fromkeys(ROWS[row].measure for row in table.names):
                MEASURES[measure](table, folder, kvm)
            if kvm is not None and kvm.jobs:
                kvm.run(folder)
    except InputError as error:
        launch.say(str(error))
        return 2
    except subprocess.TimeoutExpired as error:
        sys.exit(f"bench: a machine did not end within {error.timeout:g} seconds: {' '.join(error.cmd)}")
    table.print()
    arguments.json.write_text(json.dumps(table.as_json(), indent=1) + "\n")
    return 0 if table.is_good() else 1


if __name__ == "__main__":
    sys.exit(main())
