#!/usr/bin/python3
"""Executes docs/tutorial-new-device.md literally: its files, its commands, and what they must print.

Usage: tutorial_test.py [PAGE]

A block behind a paragraph that ends with "`FILE`:" is that file; a block of `sh` is run, a command for each line, from the
root of the tree; a block of `text` behind one has lines that must be printed, in that order. The tree is this one with
all changes kept elsewhere (an overlay), so its build is incremental. ATOLL_BUILD names its build folder. With
ATOLL_TUTORIAL_SHOW=1 all that commands print is shown.
"""
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/tutorial-new-device.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([^`\s]+)`:$")
INSIDE = "ATOLL_TUTORIAL_INSIDE"
LIMIT_SECONDS = 900  # of a command; only a hang takes that long


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(kind, name or "", text) in order; kind: file, run, expect."""
    found, end = [], 0
    for fence in FENCE.finditer(page):
        before, end = page[end:fence.start()].strip(), fence.end()
        named = FILE.search(before)
        if named:
            found.append(("file", named[1], fence[2]))
        elif fence[1] == "sh":
            found.append(("run", "", fence[2]))
        elif fence[1] == "text" and any(kind == "run" for kind, _, _ in found):
            found.append(("expect", "", fence[2]))
        else:
            raise SystemExit(f"tutorial_test: a block of `{fence[1]}` is neither a file nor a command nor what one prints:\n"
                             f"{fence[2]}")
    return found


def check_output(expected: str, output: str) -> str | None:
    """What is missing: the first line of `expected` that does not come behind the one before."""
    at = 0
    for line in expected.splitlines():
        at = output.find(line, at)
        if at < 0:
            return line
        at += len(line)
    return None


def run_page(page: pathlib.Path) -> int:
    output, begin = "", time.monotonic()
    for kind, name, text in blocks(page.read_text(encoding="utf-8")):
        if kind == "file":
            path = ROOT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif kind == "run":
            output = ""
            for command in text.splitlines():
                start = time.monotonic()
                done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT_SECONDS)
                output += done.stdout
                print(f"{time.monotonic() - start:6.1f} s  {command}", flush=True)
                if os.environ.get("ATOLL_TUTORIAL_SHOW"):
                    print(done.stdout, flush=True)
                if done.returncode != 0:
                    print(f"ended with status {done.returncode}:\n{done.stdout[-6000:]}")
                    return 1
        elif (missing := check_output(text, output)) is not None:
            print(f'the line "{missing}" did not come; there was:\n{output[-6000:]}')
            return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{time.monotonic() - begin:6.1f} s in all, of which {used.ru_utime + used.ru_stime:.1f} s of processors' time")
    return 0


def main(page: pathlib.Path) -> int:
    if INSIDE in os.environ:
        return run_page(page)
    build = pathlib.Path(os.environ.get("ATOLL_BUILD", ROOT / "build")).resolve()
    if build != ROOT / "build":  # the page says build/
        raise SystemExit(f"tutorial_test: the build folder is {build}, not {ROOT / 'build'}")
    with tempfile.TemporaryDirectory(prefix="atoll-tutorial-") as name:
        upper, work = pathlib.Path(name, "upper"), pathlib.Path(name, "work")
        upper.mkdir()
        work.mkdir()
        # In a mount namespace of its own: all that is written goes to `upper`, and the tree and its build stay as they are.
        options = f"lowerdir={ROOT},upperdir={upper},workdir={work}"
        inside = ('mount -t overlay tutorial -o "$1" "$2" || exit 77; cd "$2"; shift 2; exec "$@"')
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        done = subprocess.run(["unshare", "--mount", *user, "sh", "-c", inside, "sh", options, str(ROOT),
                               sys.executable, "-B", str(pathlib.Path(__file__).resolve()), str(page)],
                              env=os.environ | {INSIDE: "1"})
        if done.returncode == 77:
            print("tutorial_test: this computer mounts no overlays")  # meson: a skipped test
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PAGE))
