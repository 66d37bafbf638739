#!/usr/bin/python3
"""Runs one bare-metal test guest (guests/tests) on Atoll in QEMU and judges what it prints.

Usage: run_guest_test.py NAME BINARY SOURCE [--cpu MODEL] [--vcpus N] [--machine-cpus N] [--timeout SECONDS]
                         [--no-icount] [--qemu-log FILE]

The guest has two vCPUs (--vcpus) on one CPU (--machine-cpus), 64 MiB of RAM, and two disks in virtio slots 0 and 1. It
passes if each TEST() of its source prints PASS and the machine powers off by itself. While it waits for input (it
prints INPUT <hexadecimal>), these bytes are typed.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

DISK_BYTES = 1 << 20
TIMEOUT_STATUS = 124
# The kernel's log may come between any two bytes of the guest's output.
LOG_LINE = re.compile(r"\[\d+\.\d{6}\] [^\n]*\n")
TESTS = re.compile(r"^TEST\((\w+)\)", re.MULTILINE)


def disk_image(folder: pathlib.Path, index: int) -> str:
    """Sector n begins with n as a little-endian word, its disk's number in the next byte."""
    path = folder / f"disk{index}"
    path.write_bytes(b"".join(n.to_bytes(4, "little") + bytes([index]) + bytes(507) for n in range(DISK_BYTES // 512)))
    return str(path)


class Console:
    """What the machine prints, read as it comes; types what the guest asks for."""

    def __init__(self, process: subprocess.Popen):
        self.text = ""
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").replace("\r", "")
            self.text += line
            wanted = re.match(r"INPUT ([0-9a-f]+)\s*$", line)
            if wanted:
                self._process.stdin.write(bytes.fromhex(wanted[1]))
                self._process.stdin.flush()

    def finish(self):
        self._thread.join()


def judge(wanted: list[str], output: str) -> list[str]:
    """What is wrong with the output; nothing if every wanted test passed."""
    text = LOG_LINE.sub("", output)
    passed = re.findall(r"^PASS (\w+)$", text, re.MULTILINE)
    problems = [f"{name}: failed" for name in re.findall(r"^FAIL (\w+)$", text, re.MULTILINE)]
    problems += re.findall(r"^FAILED .*$|^FAIL unexpected .*$", text, re.MULTILINE)
    announced = re.search(r"^TESTS (\d+)$", text, re.MULTILINE)
    if announced is None:
        problems.append("the guest did not begin")
    elif int(announced[1]) != len(wanted):
        problems.append(f"the guest has {announced[1]} tests, its source {len(wanted)}")
    if "\nDONE\n" not in text:
        problems.append(f"the guest did not come to its end; last passed: {passed[-1] if passed else 'none'}")
    missing = [name for name in wanted if name not in passed and f"{name}: failed" not in problems]
    problems += [f"{name}: missing" for name in missing]
    problems += [f"{name}: passed {passed.count(name)} times" for name in set(passed) if passed.count(name) > 1]
    # A guest's behaviour never reaches a service or the supervisor.
    problems += re.findall(r"^.*(?:died|restart|gave up|kernel panic).*$", output, re.MULTILINE | re.IGNORECASE)
    return problems


def run_machine(machine, timeout: float, qemu_options: list[str] | None = None, beside=None) -> tuple[int, str]:
    """(exit status, what it printed) of a prepared machine; the status is 124 when the time is over. `beside`: runs meanwhile,
    with QEMU's process."""
    command = machine.command(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
    process = subprocess.Popen(command + (qemu_options or []), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    console = Console(process)
    if beside is not None:
        threading.Thread(target=beside, args=(process,), daemon=True).start()
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        status = TIMEOUT_STATUS
    finally:
        process.kill()
    console.finish()
    return status, console.text


def run(arguments, launch) -> tuple[int, str]:
    options = launch.Options(kernel=arguments.binary, vcpus=arguments.vcpus, memory=64, cpu=arguments.cpu,
                             icount=arguments.icount, extra_qemu=["-smp", str(arguments.machine_cpus)])
    with launch.Machine(options) as machine:
        options.disks = [disk_image(machine.folder, i) for i in range(arguments.disks)]
        machine.prepare()
        log = ["-d", "int,guest_errors,unimp", "-D", arguments.qemu_log] if arguments.qemu_log else []
        return run_machine(machine, arguments.timeout, log)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs one bare-metal test guest.")
    parser.add_argument("name")
    parser.add_argument("binary")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--build", help="native build folder")
    parser.add_argument("--cpu", default="neoverse-n1")
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--vcpus", type=int, default=2)
    parser.add_argument("--machine-cpus", type=int, default=1)
    parser.add_argument("--disks", type=int, default=2)
    parser.add_argument("--no-icount", dest="icount", action="store_false")
    parser.add_argument("--qemu-log")
    arguments = parser.parse_args()
    if arguments.build:
        os.environ["ATOLL_BUILD"] = arguments.build
    import launch
    from schemas import InputError

    wanted = TESTS.findall(arguments.source.read_text(encoding="utf-8"))
    begin = time.monotonic()
    try:
        status, text = run(arguments, launch)
    except InputError as error:
        sys.exit(f"{arguments.name}: {error}")
    problems = judge(wanted, text)
    if status == TIMEOUT_STATUS:
        problems.append(f"it did not power off within {arguments.timeout:g} seconds")
    elif status != 0:
        problems.append(f"the machine ended with status {status}")
    if not wanted:
        problems.append(f"{arguments.source}: has no TEST()")
    print(f"{arguments.name} on {arguments.machine_cpus} {arguments.cpu}: {len(wanted)} tests, {len(problems)} problems, "
          f"{time.monotonic() - begin:.1f} s")
    if problems:
        print(*problems, "", "what the machine printed:", text, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
