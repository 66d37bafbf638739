"""What runners of tests in QEMU share: a machine that runs to its end, and the judgement of what it prints.

A test program prints `TESTS n`, for each test `PASS name` or `FAIL name`, and at last `DONE`; each failed check is a
line that begins with `FAILED`. The program's source has a line `TEST(name)` for each test.
"""
import pathlib
import re
import subprocess

TIMEOUT_STATUS = 124
PREFIX = r"^(?:\[[ 0-9.]+\] )?"  # the kernel's log gives the time
PRINTABLE = re.compile(r"[^\n\x20-\x7e]")


def qemu(image: pathlib.Path, memory_mib: int = 256, icount: bool = True, cpu: str = "neoverse-n1",
         cpus: int = 1) -> list[str]:
    """The command that boots a kernel image without an archive."""
    command = ["qemu-system-aarch64", "-M", "virt,virtualization=on,gic-version=3", "-cpu", cpu, "-smp", str(cpus),
               "-m", str(memory_mib), "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
               "-semihosting-config", "enable=on,target=native", "-global", "virtio-mmio.force-legacy=false",
               "-kernel", str(image), "-no-reboot"]
    if icount:
        command += ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm"]
    return command


def run(command: list[str], timeout: float) -> tuple[int, str]:
    """Exit status and what was printed."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        status = TIMEOUT_STATUS
    return status, output.decode(errors="replace").replace("\r\n", "\n")


def wanted_tests(source: pathlib.Path) -> list[str]:
    return re.findall(r"^TEST\((\w+)\)", source.read_text(encoding="utf-8"), re.MULTILINE)


def judge(wanted: list[str], status: int, text: str) -> list[str]:
    """What is wrong; nothing if every wanted test passed once and the machine powered off by itself."""
    def find(pattern: str) -> list[str]:
        return re.findall(PREFIX + pattern, text, re.MULTILINE)

    passed = find(r"PASS (\w+)$")
    problems = [f"{name}: failed" for name in find(r"FAIL (\w+)$")] + find(r"(FAILED .*)$")
    announced = find(r"TESTS (\d+)$")
    if announced != [str(len(wanted))]:
        problems.append(f"the program announces {', '.join(announced) or 'no'} tests, its source has {len(wanted)}")
    if not find("DONE$"):
        problems.append(f"the program did not come to its end; last passed: {passed[-1] if passed else 'none'}")
    problems += [f"{name}: passed {passed.count(name)} times" for name in wanted
                 if passed.count(name) != 1 and f"{name}: failed" not in problems]
    problems += [f"{name}: not in the source" for name in set(passed) - set(wanted)]
    if PRINTABLE.search(text):
        problems.append("the log has characters that a terminal could take for commands")
    if not wanted:
        problems.append("the source has no TEST()")
    if status == TIMEOUT_STATUS:
        problems.append("it did not power off in time")
    elif status != 0:
        problems.append(f"the machine ended with status {status}")
    return problems
