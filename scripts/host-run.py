"""Runs the device of a service in a process of this computer, under ASan and UBSan, with a guest that a script plays.

  scripts/host-run NAME [SCRIPT] [--gdb]      docs/host-run.md tells the lines of a script; without SCRIPT: standard input

NAME is a folder of services/ with a device.h and no main.cc of its own. The exit status is 1 if an `expect` is not met.
"""
import argparse
import os
import pathlib
import sys

import prepare


def program(name: str) -> pathlib.Path:
    found = sorted(path.parent.name for path in (prepare.ROOT / "services").glob("*/device.h")
                   if not (path.parent / "main.cc").exists() and not (path.parent / "meson.build").exists())
    if name not in found:
        sys.exit(f'atoll: "{name}" is no service that is all in its device.h; {", ".join(found)} are')
    return prepare.BUILD / "tests/host" / f"host_{name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("script", metavar="SCRIPT", nargs="?", type=pathlib.Path)
    parser.add_argument("--gdb", action="store_true", help="under gdb; `run` starts it")
    parser.add_argument("--no-build", action="store_true", help="what is there is what is run")
    options = parser.parse_args()
    path = program(options.name)
    if options.script is not None and not options.script.is_file():
        sys.exit(f"atoll: {options.script}: there is no such file")
    if not options.no_build:
        prepare.build([str(path.relative_to(prepare.BUILD))])
    command = [str(path), *([str(options.script)] if options.script else [])]
    if options.gdb:
        command = ["gdb", "--args", *command]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
