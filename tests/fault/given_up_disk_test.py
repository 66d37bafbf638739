#!/usr/bin/python3
"""A disk's service that cannot start: it is given up, and the guest gets I/O errors from its failed mode, and goes on.

The service is the real one, whose first instructions were changed so that it dies unless it is started in failed mode.
"""
import argparse
import os
import pathlib
import re
import struct
import sys
import tempfile
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
sys.dont_write_bytecode = True

import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 100
START = struct.pack("<II", 0xAA1F03FD, 0xAA1F03FE)   # mov x29, xzr; mov x30, xzr
MORTAL = struct.pack("<II", 0xB7000041, 0x00000000)  # tbnz x1, #32, 1f; udf #0; 1:
SYSTEM = """
vm {
  name: "guest"
  vcpus: 2
  memory_mib: 16
  kernel: "guest"
  command_line: "name=guest work=disk,rtc ms=300 pause=1000 depth=4 span=8"
  disk { zero_mib: 2 }
}
"""


def mortal(elf: bytes) -> bytes:
    at = elf.index(START)
    return elf[:at] + MORTAL + elf[at + len(START):]


def main() -> int:
    parser = argparse.ArgumentParser(description="Boots with a disk whose service is given up.")
    parser.add_argument("--build", required=True, help="native build folder")
    os.environ["ATOLL_BUILD"] = os.path.abspath(parser.parse_args().build)
    import launch

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        system = folder / "system.textproto"
        system.write_text(SYSTEM)
        (folder / "kernel").symlink_to(launch.TARGET / "kernel")
        (folder / "services").mkdir()
        for path in (launch.TARGET / "services").glob("*.elf"):
            if path.name == "virtio-blk.elf":
                (folder / "services" / path.name).write_bytes(mortal(path.read_bytes()))
            else:
                (folder / "services" / path.name).symlink_to(path)
        options = launch.Options(config=str(system), files={"guest": str(launch.TARGET / "guests/oracle.bin")}, icount=True)
        with mock.patch.object(launch, "TARGET", folder), launch.Machine(options) as machine:
            machine.prepare()
            status, text = qemu_test.run(machine.command(["-serial", "stdio"]), TIMEOUT_SECONDS)
    wanted = [r"virtio-blk\.guest\.0 died: fault .*; given up: more than 5 deaths in 1 s; restarting as generation 6 in failed mode",
              r"oracle: guest\.rtc ok \d+", "VM guest is off"]
    problems = [f"there is no line: {line}" for line in wanted if not re.search(line, text)]
    problems += [] if "oracle: guest.disk lost I/O error" in text else ["the guest saw no I/O error"]
    problems += [] if status == 0 else [f"the machine ended with status {status}, not 0"]
    problems += re.findall(r".*(?:VM guest crashed|panic).*", text)
    print(f"given_up_disk: {len(problems)} problems")
    if problems:
        print(*problems, "\nwhat the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
