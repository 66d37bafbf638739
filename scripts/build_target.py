#!/usr/bin/python3
"""Sets up (once) and builds the cross pass. Usage: build_target.py SOURCE_ROOT BUILD_DIR STAMP"""
import os
import pathlib
import subprocess
import sys


def main() -> int:
    source, build, stamp = (pathlib.Path(a) for a in sys.argv[1:4])
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS")}
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(build), str(source), "--cross-file", str(source / "cross/aarch64.ini"),
                        "-Db_sanitize=none"], check=True, env=environment)
    subprocess.run(["meson", "compile", "-C", str(build)], check=True, env=environment)
    stamp.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
