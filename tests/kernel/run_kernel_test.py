#!/usr/bin/python3
"""Runs one kernel test image in QEMU. Usage: run_kernel_test.py IMAGE SOURCE [--cpus N]

One CPU runs in deterministic time, several run at the same time.
"""
import argparse
import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 100


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs one kernel test image in QEMU.")
    parser.add_argument("image", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--cpus", type=int, default=1)
    arguments = parser.parse_args()
    image, source, cpus = arguments.image, arguments.source, arguments.cpus
    wanted = qemu_test.wanted_tests(source)
    begin = time.monotonic()
    status, text = qemu_test.run(qemu_test.qemu(image, icount=cpus == 1, cpus=cpus), TIMEOUT_SECONDS)
    problems = qemu_test.judge(wanted, status, text)
    print(f"{image.stem} on {cpus}: {len(wanted)} tests, {len(problems)} problems, {time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
