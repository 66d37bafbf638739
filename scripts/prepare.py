"""Builds what the commands of this folder need."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("ATOLL_BUILD", ROOT / "build"))
SHOWN_OF_FAILURE = 6000  # characters
TARGET = ["target.stamp"]  # kernel, services and bare-metal guests, without the host's tests


def build(targets: list[str]) -> None:
    """Configures (once) and builds; [] is everything. Ends the program with a sentence if that fails."""
    # clang compiles the host's tests in half of GCC's time; `meson setup` by hand takes what the user has.
    environment = {"CC": "clang-19", "CXX": "clang++-19"} | dict(os.environ)
    steps = [] if (BUILD / "build.ninja").exists() else [["meson", "setup", str(BUILD), str(ROOT)]]
    for step in steps + [["ninja", "-C", str(BUILD), *targets]]:
        done = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment)
        if done.returncode != 0:
            print(done.stdout[-SHOWN_OF_FAILURE:], file=sys.stderr)
            sys.exit(f"atoll: `{' '.join(step)}` failed; its last lines are above")
