#!/usr/bin/python3
"""Checks the sources. Usage: lint.py format [--fix] | lint.py tidy TARGET_BUILD_DIR [FILE_PATTERN]

format  every .h and .cc is as clang-format with .clang-format writes it; --fix makes them so
tidy    clang-tidy with .clang-tidy finds nothing in what the target build compiles
"""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["guests", "ipc", "kernel", "services", "tests"]
CLANG_FORMAT = "clang-format-19"
RUN_CLANG_TIDY = "run-clang-tidy-19"


def sources():
    return sorted(str(p) for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in (".h", ".cc"))


def check_format(fix: bool) -> int:
    mode = ["-i"] if fix else ["--dry-run", "--Werror", "--ferror-limit=3"]
    status = subprocess.run([CLANG_FORMAT, *mode, *sources()], cwd=ROOT).returncode
    if status != 0:
        print("not formatted as .clang-format says: scripts/lint.py format --fix", file=sys.stderr)
    return status


def check_tidy(build: str, pattern: str) -> int:
    database = pathlib.Path(build) / "compile_commands.json"
    if not database.exists():
        print(f"{database} is missing: build the target first (meson compile -C build)", file=sys.stderr)
        return 1
    # With main.cc files that the build made, through which device.h of a service is read.
    files = f"^({ROOT}/({'|'.join(FOLDERS)})|{pathlib.Path(build).resolve()})/.*{pattern}.*\\.cc$"
    return subprocess.run([RUN_CLANG_TIDY, "-quiet", f"-j{os.cpu_count()}", "-p", build, files], cwd=ROOT).returncode


def main(arguments) -> int:
    if arguments[:1] == ["format"] and arguments[1:] in ([], ["--fix"]):
        return check_format(fix=len(arguments) == 2)
    if arguments[:1] == ["tidy"] and len(arguments) in (2, 3):
        return check_tidy(arguments[1], arguments[2] if len(arguments) == 3 else "")
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
