#!/usr/bin/python3
"""Compiles wrong tables of registers and declarations of devices and checks that each is refused with a message that names
the entry.

Usage: register_table_errors.py SOURCE_ROOT BUILD_ROOT COMPILER [FLAG...]
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

# The same of devices' own tables, whose entries say where a register is kept and what happens.
DEVICE = """
#include "services/runtime/register_device.h"
using atoll::RegisterMode;
struct State {{ uint32_t first = 0, second = 0; }};
class Lamp final : public atoll::RegisterDevice<Lamp, State> {{
 public:
  void OnStore(uint32_t) {{}}
  static constexpr auto kRegisters = Registers<0x100>({{
      {{"FIRST", 0x10, 8, RegisterMode::kReadWrite, 0, 0xff, &State::first}},
      {{{entry}}},
  }});
}};
"""
DEVICE_CASES = {
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite, 0, 0xff, &State::second': None,
    '"SECOND", 0x14, 8, RegisterMode::kOneClears, 0, 0xff, &State::second': None,
    '"SECOND", 0x14, 8, RegisterMode::kWriteOnly, 0, 0xff, nullptr, {.write = &Lamp::OnStore}': None,
    '"SECOND", 0x10, 8, RegisterMode::kReadOnly': "RegistersOverlap.*SECOND.*FIRST",
    '"SECOND", 0x14, 33, RegisterMode::kReadOnly': "WidthIsNot1To32.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite, 0, 0xff': "StoresToThisRegisterDoNothing.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadOnly, 0, 0, nullptr, {.write = &Lamp::OnStore}':
        "StoresToAReadOnlyRegisterAreNotHandled.*SECOND",
    '"SECOND", 0x14, 8, RegisterMode::kReadWrite, 7, 0xff, &State::second': "FieldAndResetValueAreBothGiven.*SECOND",
}

# What virtio devices declare, and what they keep.
VIRTIO = """
#include "services/virtio/device.h"
struct Good {{ uint64_t word = 0; }};
struct Gap {{ uint64_t word = 0; uint8_t byte = 0; }};
struct Odd {{ uint32_t word = 0; }};
constexpr atoll::virtio::Declaration kGood{{.device_id = 60, .queues = {{8}}}};
constexpr atoll::virtio::Declaration kLamp{{{entry}}};
class Lamp final : public atoll::virtio::Device<kLamp, atoll::virtio::NoConfigSpace, STATE> {{
 public:
  using Device::Device;
  atoll::virtio::Handled OnRequest(uint32_t, atoll::virtio::Request&) override {{ return atoll::virtio::Handled::kDone; }}
}};
Lamp* Make(const atoll::Surroundings& surroundings, void* place) {{ return new (place) Lamp(surroundings); }}
"""
VIRTIO_CASES = {
    ".device_id = 60, .features = 3, .queues = {64, 8}": None,
    ".device_id = 60, .queues = {64, 12}": r"QueueSizeIsNotAPowerOfTwoUpTo256\(1\)",
    ".device_id = 60, .queues = {512}": r"QueueSizeIsNotAPowerOfTwoUpTo256\(0\)",
    ".device_id = 60, .queues = {8, 0, 8}": r"QueueWithoutSizeBetweenOthers\(1\)",
    ".device_id = 60": "NoQueueIsDeclared",
    ".device_id = 60, .features = uint64_t{1} << 32, .queues = {8}": r"FeatureIsTheTransportsOwn\(32\)",
}
STATES = {"Gap": "the state has gaps", "Odd": "multiple of 8 bytes"}


def cases():
    """(program, what is wrong in it, what the compiler has to say: None is nothing)."""
    for entry, expected in CASES.items():
        yield PROGRAM.format(entry=entry), entry, expected
    for entry, expected in DEVICE_CASES.items():
        yield DEVICE.format(entry=entry), entry, expected
    for entry, expected in VIRTIO_CASES.items():
        yield VIRTIO.format(entry=entry).replace("STATE>", "Good>"), entry, expected
    for state, expected in STATES.items():
        yield VIRTIO.format(entry=".device_id = 60, .queues = {8}").replace("STATE>", f"{state}>"), state, expected


def main(root: str, build: str, compiler: list) -> int:
    # GCC shows the expressions of the arguments instead of their values.
    clang = "clang" in subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    failures = count = 0
    for program, entry, expected in cases():
        count += 1
        run = subprocess.run(
            [*compiler, "--std=c++2b", "-fsyntax-only", "-include", f"{root}/cross/c_library_names.h", "-I", root, "-I", build,
             "-isystem", f"{root}/subprojects/nanopb-0.4.7", "-x", "c++", "-"],
            input=program, capture_output=True, text=True, check=False)
        if expected is None:
            right = run.returncode == 0
        else:
            right = run.returncode != 0 and re.search(
                expected if clang else expected.split(".")[0], run.stderr) is not None
        if not right:
            failures += 1
            print(f"{entry}: expected {expected or 'no error'}, compiler said ({run.returncode}):\n{run.stderr}")
    print(f"{count - failures} of {count} programs judged as they should be")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
