"""What guests, monitor and log of a campaign's machine say, put together from its console's output."""
import dataclasses
import re

LOG = re.compile(r"\[(?:0|[1-9]\d*)\.\d{6}\] (.*)")  # Linux pads its seconds with blanks
MONITOR = re.compile(r"monitor: (.*)")
LABEL = re.compile(r"\[([a-z][a-z0-9_-]*)\] (.*)")
WORD, GOODBYE = "oracle: ", "bye"
BUTTON = "init: the power button was pressed"  # guests/linux/init, at some time between reports
ECHO = "echo"  # the oracle that prints what is typed
REPORT = re.compile(r"(?P<vm>[a-z][a-z0-9_-]*)\.(?P<oracle>\w+) (?:line (?P<line>\d+)(?: (?P<check>[0-9a-f]+))?|lost (?P<lost>.*)|"
                    r"(?P<word>ok|bad) (?P<count>\d+)(?P<pairs>(?: \w+=\d+)*))")
MASK = (1 << 64) - 1
VM_OFF = re.compile(r"VM (\S+) (?:is off|crashed)")
# What the log says of no healthy machine, whatever services die in it.
KERNEL_STOP = re.compile(r"kernel panic|given up|gives up|crashed$|cannot be started|is missing|is lost")


@dataclasses.dataclass
class End:
    """An oracle's last word."""
    good: bool
    count: int
    numbers: dict[str, int]


@dataclasses.dataclass
class Output:
    log: list[str]
    monitor: list[str]
    lines: dict[tuple[str, str], list[int]]   # numbered lines of (VM, oracle)
    ends: dict[tuple[str, str], list[End]]
    lost: list[str]                           # what oracles complain about
    broken: list[str]                         # what no guest printed so
    early: list[str] = dataclasses.field(default_factory=list)  # VMs that were off before the monitor's last line


def parse(text: str, first_vm: str) -> Output:
    """`first_vm` has the keyboard: its lines have no label."""
    output = Output([], [], {}, {}, [], [])
    streams: dict[str, list[str]] = {first_vm: []}
    ended: list[str] = []
    for line in text.replace("\r", "").split("\n"):
        if found := LOG.fullmatch(line):
            output.log.append(found[1])
            if off := VM_OFF.fullmatch(found[1]):
                ended.append(off[1])
        elif found := MONITOR.fullmatch(line):
            output.monitor.append(found[1])
            output.early += ended
            ended.clear()
        elif found := LABEL.fullmatch(line):
            streams.setdefault(found[1], []).append(found[2])
        else:
            streams[first_vm].append(line)
    for vm, pieces in streams.items():
        # A line may have been broken for another's at any byte; its pieces together are what the guest printed.
        # Linux says more, before the first report and after the last.
        for report in "".join(pieces).replace(BUTTON, "").split(WORD)[1:]:
            if report.startswith(GOODBYE):
                break
            _add(output, vm, report.rstrip())
    return output


def check_of(number: int) -> str:
    """What follows the number of a line that was typed (OracleMix of guests/linux/oracle.h)."""
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9 & MASK
    number = (number ^ number >> 27) * 0x94d049bb133111eb & MASK
    return f"{number ^ number >> 31:016x}"


def _wanted_check(found: re.Match) -> str | None:
    """Its first line says that it listens; the others were typed."""
    number = int(found["line"])
    return check_of(number) if found["oracle"] == ECHO and number != 0 else None


def _add(output: Output, vm: str, report: str) -> None:
    found = REPORT.fullmatch(report)
    if not found or found["vm"] != vm or found["line"] and found["check"] != _wanted_check(found):
        output.broken.append(f"{vm}: {report}")
        return
    key = vm, found["oracle"]
    if found["line"]:
        output.lines.setdefault(key, []).append(int(found["line"]))
    elif found["word"]:
        numbers = {name: int(value) for name, value in (pair.split("=") for pair in found["pairs"].split())}
        output.ends.setdefault(key, []).append(End(found["word"] == "ok", int(found["count"]), numbers))
    else:
        output.lost.append(f"{vm}.{found['oracle']}: {found['lost']}")


def problems(output: Output, expected: dict[str, list[str]], frame_deaths: int,
             wanted: dict[tuple[str, str], dict[str, int]] | None = None) -> list[str]:
    """What was lost. `frame_deaths`: deaths of services that copy frames; each may cost or double the one in its hands.
    `wanted`: numbers that (VM, oracle) must have counted."""
    found = list(output.lost)
    for (vm, oracle), numbers in (wanted or {}).items():
        counted = [end.numbers.get(name) for end in output.ends.get((vm, oracle), []) for name in numbers]
        if counted and counted != list(numbers.values()):
            found.append(f"{vm}.{oracle}: counted {counted} of {numbers}")
    found += [f"the console printed what no guest did: {text[:120]!r}" for text in output.broken]
    for vm, oracles in expected.items():
        for oracle in oracles:
            ends = output.ends.get((vm, oracle), [])
            if len(ends) != 1:
                found.append(f"{vm}.{oracle}: came to its end {len(ends)} times")
            found += [f"{vm}.{oracle}: says it is not well" for end in ends if not end.good]
            found += [f"{vm}.{oracle}: did nothing" for end in ends if end.count == 0]
            numbers = output.lines.get((vm, oracle), [])
            if numbers != list(range(len(numbers))):
                found.append(f"{vm}.{oracle}: lines are {ranges(numbers)}")
            if oracle in ("console", "reset", ECHO) and ends and len(numbers) != ends[0].count + (oracle == "reset"):
                found.append(f"{vm}.{oracle}: {len(numbers)} lines came of {ends[0].count}")
    frames = {key: sum(end.numbers.get(key, 0) for (vm, oracle), ends in output.ends.items() if oracle == "net" and vm in expected
                       for end in ends) for key in ("lost", "doubled")}
    if sum(frames.values()) > frame_deaths:
        found.append(f"{frames['lost']} frames lost and {frames['doubled']} doubled by {frame_deaths} deaths")
    found += [f"{vm} was off before the last fault" for vm in output.early if "reset" not in expected.get(vm, [])]
    found += [f"log: {line}" for line in output.log if KERNEL_STOP.search(line)]
    return found


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 7 as 1-3, 7."""
    parts, begin = [], 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            parts.append(f"{numbers[begin]}-{numbers[index - 1]}" if index - begin > 1 else str(numbers[begin]))
            begin = index
    return ", ".join(parts)
