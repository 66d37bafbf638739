"""A machine for tests of this folder: its services beside those of services/, a description, a script for the monitor."""
import argparse
import os
import pathlib
import re
import sys
import time
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/guest")]
sys.dont_write_bytecode = True

import run_guest_test as guest_test  # noqa: E402

DEATH = re.compile(r"^\[\d+\.\d{6}\] (\S+) died: ", re.MULTILINE)


def arguments_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", required=True, help="native build folder")
    parser.add_argument("--timeout", type=float, default=150)
    parser.add_argument("--cpus", type=int, default=1, help="of the machine")
    parser.add_argument("--cpu", default="neoverse-n1")
    parser.add_argument("--no-icount", dest="icount", action="store_false", help="in real time")
    return parser


def run(arguments: argparse.Namespace, system: str, guests: dict[str, str], script: str = "",
        builds: dict[str, str] | None = None, beside=None) -> tuple[int, str]:
    """(exit status, what it printed). `guests`: names in the description, and binaries below the target's build folder;
    `builds`: likewise, ELF files in the place of those of services/. `beside`: as in run_machine."""
    os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    try:
        options = launch.Options(files={name: str(launch.TARGET / path) for name, path in guests.items()},
                                 icount=arguments.icount, cpu=arguments.cpu, machine_cpus=arguments.cpus,
                                 services=[(ROOT / "tests/fault", launch.TARGET / "tests/fault")])
        with launch.Machine(options) as machine:
            description = machine.folder / "system.textproto"
            description.write_text(system)
            options.config = str(description)
            if script:
                monitor = machine.folder / "script"
                monitor.write_text(script)
                options.monitor = str(monitor)
            with mock.patch.object(launch, "TARGET", _with_builds(machine.folder, launch.TARGET, builds or {})):
                machine.prepare()
                return guest_test.run_machine(machine, arguments.timeout, beside=beside)
    except InputError as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {error}")


def _with_builds(folder: pathlib.Path, target: pathlib.Path, builds: dict[str, str]) -> pathlib.Path:
    """A build folder with other ELF files for some services."""
    other = folder / "target"
    (other / "services").mkdir(parents=True)
    (other / "kernel").symlink_to(target / "kernel")
    for path in (target / "services").glob("*.elf"):
        (other / "services" / path.name).symlink_to(target / builds.get(path.name, path))
    return other


def conclude(begin: float, text: str, problems: list[str]) -> int:
    """Says what is wrong; the exit status. `begin`: time.monotonic() at the start."""
    name = pathlib.Path(sys.argv[0]).stem
    print(f"{name}: {len(DEATH.findall(text))} deaths, {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0
