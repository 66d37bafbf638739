#!/usr/bin/python3
"""Checks the sources. Usage: lint.py format [--fix] | lint.py tidy TARGET_BUILD_DIR [FILE_PATTERN]

format  every .h and .cc is as clang-format with .clang-format writes it; --fix makes them so
tidy    clang-tidy with .clang-tidy finds nothing in what the target build compiles
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["guests", "ipc", "kernel", "services", "tests"]
CLANG_FORMAT = "clang-format-19"
CLANG_TIDY = "clang-tidy-19"


def sources():
    return sorted(str(p) for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in (".h", ".cc"))


def check_format(fix: bool) -> int:
    mode = ["-i"] if fix else ["--dry-run", "--Werror", "--ferror-limit=3"]
    status = subprocess.run([CLANG_FORMAT, *mode, *sources()], cwd=ROOT).returncode
    if status != 0:
        print("not formatted as .clang-format says: scripts/lint.py format --fix", file=sys.stderr)
    return status


def commands(build: pathlib.Path, pattern: str) -> dict[str, dict]:
    """What the build compiles, by file. A file that is compiled several times is of several programs, always with the same
    options but for names: read once."""
    # With main.cc files that the build made, through which device.h of a service is read.
    folders = (*(f"{ROOT}/{folder}/" for folder in FOLDERS), f"{build.resolve()}/")
    found = {}
    for command in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        path = os.path.normpath(os.path.join(command["directory"], command["file"]))
        if path.endswith(".cc") and path.startswith(folders) and re.search(pattern, os.path.relpath(path, ROOT)):
            found.setdefault(path, command)
    return found


def check_tidy(build: pathlib.Path, pattern: str) -> int:
    if not (build / "compile_commands.json").exists():
        print(f"{build}/compile_commands.json is missing: build the target first (meson compile -C build)", file=sys.stderr)
        return 1
    found = commands(build, pattern)

    def check(path: str) -> bool:
        done = subprocess.run([CLANG_TIDY, "--quiet", "-p", database, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode != 0:
            print(done.stdout, flush=True)
        return done.returncode == 0

    with tempfile.TemporaryDirectory() as database, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        (pathlib.Path(database) / "compile_commands.json").write_text(json.dumps(list(found.values())), encoding="utf-8")
        # Large ones first, so that none is left alone at the end.
        good = list(pool.map(check, sorted(found, key=os.path.getsize, reverse=True)))
    if not good:
        print(f"no file is like {pattern}", file=sys.stderr)
        return 1
    return 0 if all(good) else 1


def main(arguments) -> int:
    if arguments[:1] == ["format"] and arguments[1:] in ([], ["--fix"]):
        return check_format(fix=len(arguments) == 2)
    if arguments[:1] == ["tidy"] and len(arguments) in (2, 3):
        return check_tidy(pathlib.Path(arguments[1]), arguments[2] if len(arguments) == 3 else "")
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
