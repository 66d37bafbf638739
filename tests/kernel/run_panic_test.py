#!/usr/bin/python3
"""Kernel images without a usable root task end in a panic: its report is complete and the machine fails.

Usage: run_panic_test.py FOLDER_OF_IMAGES
"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 20
FAILING_STATUS = 1
HEX16 = r"0x[0-9a-f]{16}"
FRAME = r"^  #\d+ image\+0x[0-9a-f]+$"
END = r"^atoll: powering off with a failing status$"

# image, memory in MiB -> lines of the report, in order
REPORTS = {
    ("panic_none", 256): [r"^atoll: kernel panic on CPU 0x0: the kernel was linked without a supervisor$", FRAME, END],
    ("panic_dying", 256): [r"^atoll: kernel panic on CPU 0x0: the supervisor died: pc 0x400000, esr 0x2000000, far 0x0$",
                           FRAME, END],
    ("panic_bad", 256): [r"^atoll: kernel panic on CPU 0x0: data abort, translation fault.*$",
                         rf"^  pc image\+0x[0-9a-f]+, sp {HEX16}, far {HEX16}$", r"^  esr 0x[0-9a-f]{8}, spsr .*$",
                         rf"^   x0 {HEX16}  x1 {HEX16}  x2 {HEX16}  x3 {HEX16}$", rf"^  x28 {HEX16} x29 .*$",
                         FRAME, FRAME, END],
}


def problems_of(image: pathlib.Path, memory_mib: int, lines: list[str]) -> list[str]:
    status, text = qemu_test.run(qemu_test.qemu(image, memory_mib), TIMEOUT_SECONDS)
    problems = [] if status == FAILING_STATUS else [f"status {status}, not {FAILING_STATUS}"]
    position = 0
    for line in lines:
        found = re.compile(line, re.MULTILINE).search(text, position)
        if found is None:
            problems.append(f"no line {line} where it should be")
        else:
            position = found.end()
    return [f"{image.name}: {p}" for p in problems] + ([text] if problems else [])


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    problems = [p for (name, memory), lines in REPORTS.items() for p in problems_of(folder / f"{name}.img", memory, lines)]
    print(*problems or ["each report was complete"], sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
