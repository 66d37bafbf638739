#!/usr/bin/python3
"""Sets up (once) and builds the cross pass. Usage: build_target.py SOURCE_ROOT BUILD_DIR STAMP"""
import os
import pathlib
import subprocess
import sys

import discover

HOST_ONLY = ("CC", "CXX", "CC_LD", "CXX_LD", "AR", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")


def main() -> int:
    source, build, stamp = (pathlib.Path(a) for a in sys.argv[1:4])
    environment = {k: v for k, v in os.environ.items() if k not in HOST_ONLY}
    # No file that Meson watches changes when a service comes, or a file of one: so one is touched. The build folder around
    # this one sees it when ninja runs next.
    recorded = build.parent / "services.found"
    if recorded.exists() and recorded.read_text() != discover.listing(source):
        print("services/ has other files than before: meson.build is touched, so that all of the build sees them")
        (source / "meson.build").touch()
    if not (build / "build.ninja").exists():
        setup = ["meson", "setup", str(build), str(source), "--cross-file", str(source / "cross/aarch64.ini")]
        if subprocess.run(setup, env=environment).returncode != 0:
            return f"setting up the target build in {build} failed; see the lines above"
    if subprocess.run(["meson", "compile", "-C", str(build)], env=environment).returncode != 0:
        return f"the target build in {build} failed; see the lines above"
    stamp.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
