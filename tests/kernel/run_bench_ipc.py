#!/usr/bin/python3
"""Measures messages between tasks in instructions and fails above the limits. Usage: run_bench_ipc.py IMAGE SOURCE"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 40
LIMITS = {"null_ipc": 210}  # instructions


def main() -> int:
    image, source = (pathlib.Path(a) for a in sys.argv[1:3])
    status, text = qemu_test.run(qemu_test.qemu(image), TIMEOUT_SECONDS)
    problems = qemu_test.judge(qemu_test.wanted_tests(source), status, text)
    rows = {name: int(value) / 100 for name, value in re.findall(r"BENCH (\w+) (\d+)$", text, re.MULTILINE)}
    for name, instructions in rows.items():
        print(f"{name:28} {instructions:9.2f} instructions")
    for name, limit in LIMITS.items():
        if name not in rows:
            problems.append(f"{name}: not measured")
        elif rows[name] > limit:
            problems.append(f"{name}: {rows[name]:.2f} instructions are more than {limit}")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
