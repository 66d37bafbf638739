#!/usr/bin/python3
"""Compiles wrong register tables and checks that each is refused with a message that names the registers.

Usage: register_table_errors.py SOURCE_ROOT COMPILER [FLAG...]
"""
import re
import subprocess
import sys

PROGRAM = """
#include "services/runtime/register_table.h"
using atoll::RegisterMode;
constexpr atoll::RegisterTable<2, 0x100> kTable({{
    {{"FIRST", 0x10, 8, RegisterMode::kReadWrite, 0, 0xff}},
    {{{entry}}},
}});
static_assert(kTable.reset(0) == 0);
"""

# Second entry of the table -> the call that the compiler has to show.
CASES = {
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite, 0, 0xff': None,
    '"SECOND", 0x10, 8, RegisterMode::kReadOnly': "RegistersOverlap.*SECOND.*FIRST",
    '"SECOND", 0x12, 8, RegisterMode::kReadOnly': "OffsetIsNotAMultipleOf4.*SECOND",
    '"SECOND", 0x100, 8, RegisterMode::kReadOnly': "OffsetIsOutsideTheRegion.*SECOND",
    '"SECOND", 0x14, 0, RegisterMode::kReadOnly': "WidthIsNot1To32.*SECOND",
    '"SECOND", 0x14, 33, RegisterMode::kReadOnly': "WidthIsNot1To32.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadOnly, 0x100': "ResetValueIsWiderThanTheRegister.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite, 0, 0x1ff': "WritableBitsAreWiderThanTheRegister.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadOnly, 0, 1': "ReadOnlyRegisterHasWritableBits.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite': "WritableRegisterHasNoWritableBits.*SECOND",
}


def main(root: str, compiler: list) -> int:
    # GCC shows the expressions of the arguments instead of their values.
    clang = "clang" in subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    failures = 0
    for entry, expected in CASES.items():
        run = subprocess.run(
            [*compiler, "--std=c++2b", "-fsyntax-only", "-include", f"{root}/cross/c_library_names.h", "-I", root,
             "-x", "c++", "-"],
            input=PROGRAM.format(entry=entry), capture_output=True, text=True, check=False)
        if expected is None:
            right = run.returncode == 0
        else:
            right = run.returncode != 0 and re.search(
                expected if clang else expected.split(".")[0], run.stderr) is not None
        if not right:
            failures += 1
            print(f"{entry}: expected {expected or 'no error'}, compiler said ({run.returncode}):\n{run.stderr}")
    print(f"{len(CASES) - failures} of {len(CASES)} tables judged as they should be")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
