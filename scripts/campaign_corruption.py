"""Corruptions: one VM's services are hit, again and again; that VM may see it, and nobody else may.

The VM lives for a short while, tells what it saw, and begins anew, so each corruption meets a machine in order. What it
may come to: missed (the VM was off, or there was nothing to corrupt); harmless; detected (the service died of it, or noticed it and went on); a device that fails visibly (errors,
an external abort, the VM's end); wrong, if the guest got what is not so and nobody noticed; hung, if something never
came. What a service keeps for itself it looks at with each heartbeat, so those of these machines come within a life.
"""
import collections
import random
import re

import campaign_output
import campaign_workloads
import launch
from campaign_faults import KINDS, Fault
from campaign_workloads import DISK_MIB, MEMORY_MIB, REPORTING_ORDER, Workload

VICTIM, NEIGHBOUR = "victim", "right"
PAUSE_US = 2000  # a thousand lives are to end
LIFE_MS, PATIENCE_MS = 130, 60
NEIGHBOUR_PAUSE_US = 10_000  # it lives all the time
PHASE_US = 100_000  # of a life when the fault comes, at most
REST_US = 360_000  # the rest of the life, and time for what hangs; then the VM is made to begin anew, if it has not by itself
GAP_US = PHASE_US // 2 + REST_US + 110_000  # on average: with the rest of a quarter of a second from start to start
HEARTBEAT_MS = 20
WITHIN = "2s"  # until it is there: after a crash that takes a second
OUTCOMES = ("missed", "harmless", "detected", "failed", "wrong", "hung")
WEDGED = "the VM does nothing any more"
EARLY = "the VM resets before it has said what it saw"
HUNG = re.compile(r"does nothing any more|never completed|interrupt of completed|does not turn off|does not answer|no interrupt of|"
                  r"does not end|are not taken|is not opened|there never was|nobody answers|did not follow")
FAILED = re.compile(r"I/O error|not running|does not start|does not run|FAIL unexpected exception|used index|"
                    r"not under way|VM victim (?:crashed|is off)|is in failed mode|refus|connection broke|was shut down|"
                    r"connections were reset")
# A device whose journal is lost says so, and what the guest sees from then on: requests that fail (none that waits), registers
# that are as after a reset, which then have no interrupt either.
FAILS, AFRESH = r"\] the journal is damaged: the device fails until", r"\] the journal is damaged: the device is as after a reset"
NO_INTERRUPT = re.compile(r"lost no interrupt of")
NOTICED = re.compile(r"journal|damage|mended|torn|copies")
REBOOT = f"vm reboot {VICTIM}"
# Does nothing: its line says that the script is over. Then the neighbour is told to end, who knows how long it took.
LAST_COMMAND = f"vm resume {NEIGHBOUR}"
LAST_KEYS = b"\x012q"  # the keyboard for the second VM, and the key that ends it
FOCUS = f"[console] {NEIGHBOUR}"  # from here on it is the victim's lines that have a label
BROKEN = "console: "  # what its VM did not print
OTHERS = re.compile(rf"\[(?:\d|{NEIGHBOUR}\] )|monitor: ")  # than the victim's
LOG = re.compile(r"\[(\d+\.\d{6})\] ")
LIFE_ENDED = re.compile(rf"\[(\d+\.\d+)\] VM {VICTIM} (?:(resets)|crashed|is off)")
COMMAND = re.compile(r"monitor: (\d+\.\d{6}) (\w+ \S+.*)")


def describe(work: list[str], duration_us: int, pause_us: int) -> Workload:
    kinds = [name for name in REPORTING_ORDER if name in work]
    text = f"heartbeat_ms: {HEARTBEAT_MS}\n"
    # The first one has the keyboard, and what it prints comes at once.
    lines = ((VICTIM, f"ms={LIFE_MS} then=reset patience={PATIENCE_MS}", "when_off: START_AGAIN when_crashed: START_AGAIN"),
             (NEIGHBOUR, f"ms={duration_us // 1000} until=key frames=answer", ""))
    for index, (vm, line, fields) in enumerate(lines):
        # A neighbour cannot judge what comes from the victim: ports are loops, sockets and frames come back.
        devices = campaign_workloads.device_texts(kinds, f"zero_mib: {DISK_MIB}", loop=True)
        text += (f'vm {{ name: "{vm}" vcpus: 2 memory_mib: {MEMORY_MIB} kernel: "guest" command_line: "name={vm} '
                 f'work={",".join(kinds)} pause={pause_us if vm == VICTIM else NEIGHBOUR_PAUSE_US} own={1 - index} peer={1 - index} {line}" {devices}{fields} cpu: 0 }}\n')
    services = campaign_workloads.service_names(VICTIM, kinds)
    expected = {NEIGHBOUR: kinds}
    return Workload(text, {"guest": str(launch.TARGET / "guests/oracle.bin")}, services, expected)


def script(faults: list[Fault], work: list[str], seed: int, warm_up_us: int, settle_us: int, crashes_every: int) -> str:
    """The monitor's commands: each fault comes in a life of its own, and at the end the neighbour says what it saw."""
    source, lines = random.Random(seed), [f"wait {warm_up_us}us"]
    for fault in faults:
        # A command before a line that begins with - may fail: a VM that resets just now cannot be rebooted.
        lines += [f"-wait {fault.service} running within {WITHIN}", f"wait {source.randrange(PHASE_US)}us", f"-{fault.command}",
                  f"wait {REST_US}us", f"-{REBOOT}", "wait 1ms"]
        if fault.number % crashes_every == 0:
            lines.append(f"crashes {2 * crashes_every}")
    last = next(name for name in reversed(REPORTING_ORDER) if name in work)
    return "\n".join([*lines, f"wait {settle_us}us", f"crashes {2 * crashes_every}", f"-{LAST_COMMAND}",
                      f'expect {NEIGHBOUR} "oracle: {NEIGHBOUR}.{last} ok" within 1000s', "wait 10ms", "power-off", ""])


def judge(text: str, faults: list[Fault]) -> tuple[dict[int, str], list[str]]:
    """Each fault's outcome, and what it comes from: the victim's lines and deaths of its services until the next fault."""
    windows, current = collections.defaultdict(list), None
    commands = collections.deque(faults)
    report = ""  # of the victim, as far as it has come: it may be in pieces, and is cut where its life ends
    has_said = False  # how many it has done of something: that comes at the end of its life
    ends = []  # of lives since the fault: when, and whether it was too early
    logged = []  # since the last reboot: (time, line). What came of an order may be told before the order is

    def end_report(cut: bool) -> None:
        nonlocal report, has_said
        if report.strip():
            begun = campaign_output.REPORT.match(report)
            has_said = has_said or bool(begun and begun["word"])
            if campaign_output.REPORT.fullmatch(report.rstrip()):
                windows[current].append(campaign_output.WORD + report)
            elif not cut:
                windows[current].append(BROKEN + report)
        report = ""

    for line in text.replace("\r", "").split("\n"):
        if line == FOCUS:
            break
        found = COMMAND.fullmatch(line)
        if found and commands and found[2] == commands[0].command:
            current, ordered = commands.popleft().number, float(found[1])
            ends = [end for end in ends if end[0] >= ordered]
            windows[current] += [line for at, line in logged if at >= ordered]
        elif found and found[2] == REBOOT:
            end_report(cut=True)
            has_said = False
            own = [early for at, early in ends if at < float(found[1])]  # not that of this order
            if not own:
                windows[current].append(WEDGED)  # by itself it does not begin anew, and has not ended either
            elif any(own):
                windows[current].append(EARLY)
            current, logged = None, []
        elif OTHERS.match(line):
            if current is None and (at := LOG.match(line)):
                logged.append((float(at[1]), line))
            windows[current].append(line)
            if ended := LIFE_ENDED.search(line):
                end_report(cut=True)
                ends.append((float(ended[1]), bool(ended[2]) and not has_said))
                has_said = False
        else:
            rest, *next_ones = line.split(campaign_output.WORD)
            report += rest
            for text_of_report in next_ones:
                end_report(cut=False)
                report = text_of_report
    outcomes, seen = {}, []
    for fault in faults:
        lines = windows[fault.number]
        outcome, why = classify(lines, fault)
        outcomes[fault.number] = outcome
        if outcome not in ("harmless",):
            seen.append(f"{fault.number} {fault.command}: {outcome}: {why}")
    return outcomes, seen


def with_labels(text: str) -> str:
    """The output as if the keyboard had stayed where it was."""
    before, found, after = text.replace("\r", "").partition(f"\n{FOCUS}\n")

    def swap(line: str) -> str:
        own = f"[{VICTIM}] "
        if line.startswith(own):
            return line.removeprefix(own)
        return line if not line or OTHERS.match(line) else f"[{NEIGHBOUR}] {line}"

    return "\n".join([before, *map(swap, after.split("\n"))]) if found else before


def classify(lines: list[str], fault: Fault) -> tuple[str, str]:
    name = re.escape(fault.service)

    def first(pattern) -> str | None:
        return next((line for line in lines if re.search(pattern, line)), None)

    if (line := first(rf"monitor: (?:there is no service \"{name}|{name} (?:is not|has no|cannot))")) is not None:
        return "missed", line
    if (line := first(WEDGED)) is not None:
        return "hung", line
    # A corrupted journal is its successor's to notice: the death before it was ordered.
    if (line := first(rf"\] {name} died:(?! killed)" if fault.kind == "journal" else rf"\] {name} died:")) is not None:
        return "detected", line
    if (line := first(HUNG)) is not None and not (first(AFRESH) and NO_INTERRUPT.search(line)):
        return "hung", line
    if (line := first(FAILED)) is not None:
        return "failed", line
    if (line := first(rf"{name}.*(?:{NOTICED.pattern})|{FAILS}|{AFRESH}")) is not None:
        return "detected", line
    if (line := first(rf"oracle: {VICTIM}\.\w+ lost")) is not None:
        return "wrong", line
    if (line := first(f"^{BROKEN}")) is not None:
        return "wrong", line
    if (line := first(EARLY)) is not None:
        return "failed", line
    return "harmless", ""


def table(faults: list[Fault], outcomes: dict[int, str]) -> str:
    lines = [f"{'corruption':11}{'service':12}{'faults':>7}" + "".join(f"{name:>10}" for name in OUTCOMES)]
    groups = collections.Counter((fault.kind, fault.service.split(".")[0]) for fault in faults)
    for (kind, service), count in sorted(groups.items(), key=lambda item: (list(KINDS).index(item[0][0]), item[0][1])):
        found = collections.Counter(outcomes[fault.number] for fault in faults
                                    if fault.kind == kind and fault.service.split(".")[0] == service)
        lines.append(f"{kind:11}{service:12}{count:7}" + "".join(f"{found[name]:10}" for name in OUTCOMES))
    found = collections.Counter(outcomes.values())
    lines.append(f"{'all':23}{len(faults):7}" + "".join(f"{found[name]:10}" for name in OUTCOMES))
    return "\n".join(lines)
