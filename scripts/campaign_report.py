"""Deaths as the monitor's `crashes` tells them, matched with the faults that were ordered, and the tables made of both."""
import collections
import dataclasses
import math
import re

from campaign_faults import KINDS, Fault

# Causes that a kind of fault may end in (services/supervisor/crash_record.h).
CAUSES = {"kill": {"killed"}, "step": {"stepped"}, "crash": {"fault"}, "exit": {"exit"}, "overflow": {"fault"},
          "panic": {"exit"}, "hang": {"deadline", "heartbeat", "no answer"}, "log-flood": {"flood", "deadline"},
          "signals": {"flood", "deadline"}, "lines": {"flood", "deadline"},
          "silent": {"heartbeat", "no answer", "exit"}, "upgrade": {"upgraded"}}
# The monitor's `crashes`: times in ns after the order, or after the detection of what nobody ordered.
CRASH = re.compile(r"#(\d+) (\d+)\.(\d{9}) (\S+) generation (\d+): (.*?) (pc .*); died (\S+), detected (\S+), started (\S+), "
                   r"answered (\S+), completed (\S+) ns; (.*)")
FRAME_SERVICES = ("virtio-net", "vswitch", "net-driver")


@dataclasses.dataclass
class Death:
    """Times are microseconds since the machine started; None: did not come (yet)."""
    sequence: int
    service: str
    generation: int
    cause: str
    outcome: str
    ordered: float | None
    died: float | None
    detected: float | None
    started: float | None
    first_answer: float | None
    first_completion: float | None
    text: str
    fault: Fault | None = None

    @property
    def detection(self) -> float | None:
        """From the order to the death. An order to step says nothing about the moment of the fault."""
        if self.ordered is None or self.died is None or self.cause == "stepped":
            return None
        return self.died - self.ordered

    @property
    def recovery(self) -> float | None:
        """From the death to the next completed request, for services without requests to the next piece of work done."""
        ends = [end for end in (self.first_completion, self.first_answer) if end is not None]
        return ends[0] - self.died if ends and self.died is not None else None


def parse(lines: list[str]) -> list[Death]:
    """The last that was said of each death."""
    found = {}
    for line in lines:
        crash = CRASH.fullmatch(line)
        if not crash:
            continue
        base = int(crash[2]) * 1e6 + int(crash[3]) / 1e3

        def after(text: str, base: float = base) -> float | None:
            return None if text == "-" else base + int(text) / 1e3

        found[int(crash[1])] = Death(int(crash[1]), crash[4], int(crash[5]), crash[6], crash[13], base, *map(
            after, crash.group(8, 9, 10, 11, 12)), crash[7])
    return [found[number] for number in sorted(found)]


def match(deaths: list[Death], faults: list[Fault]) -> list[Death]:
    """Gives deaths their faults, service by service in the order of both. The deaths that nobody ordered."""
    waiting = collections.defaultdict(collections.deque)
    for fault in faults:
        waiting[fault.service].append(fault)
    unordered = []
    for death in sorted(deaths, key=lambda death: death.sequence):
        queue = waiting[death.service]
        index = next((i for i, fault in enumerate(queue) if KINDS[fault.kind].corruption or
                      death.cause in CAUSES[fault.kind]), None)
        if index is None:
            unordered.append(death)
            continue
        for _ in range(index):
            queue.popleft()  # had no effect: it came when the service was dead, or no work came before the next one
        death.fault = queue.popleft()
    return unordered


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of all is not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: list[float]) -> str:
    if not values:
        return f"{'-':>9}{'-':>9}{'-':>9}"
    return "".join(f"{value:9,.0f}" for value in (percentile(values, 0.5), percentile(values, 0.99), max(values)))


def table(faults: list[Fault], deaths: list[Death]) -> str:
    """Fault kind by service: how many, and how long until they were noticed and made good, in microseconds."""
    lines = [f"{'fault':9} {'service':12}{'faults':>7}{'deaths':>7}   detection: p50, p99, most   recovery: p50, p99, most",
             "-" * 92]
    groups = collections.Counter((fault.kind, fault.service.split(".")[0]) for fault in faults)
    ordered = [death for death in deaths if death.fault]

    def row(kind: str, service: str, count: int, found: list[Death]) -> str:
        detections = [death.detection for death in found if death.detection is not None]
        recoveries = [death.recovery for death in found if death.recovery is not None]
        return f"{kind:9} {service:12}{count:7}{len(found):7}{spread(detections)}{spread(recoveries)}"

    for (kind, service), count in sorted(groups.items(), key=lambda item: (list(KINDS).index(item[0][0]), item[0][1])):
        lines.append(row(kind, service, count, [death for death in ordered if death.fault.kind == kind and
                                                death.service.split(".")[0] == service]))
    lines.append("-" * 92)
    return "\n".join([*lines, row("all", "", len(faults), ordered)])


def report(faults: list[Fault], deaths: list[Death]) -> str:
    """One line for each fault: what was ordered, and what came of it."""
    by_fault = {death.fault.number: death for death in deaths if death.fault}

    def microseconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    lines = ["number\tat_us\tservice\tkind\tcommand\tcause\tdetection_us\trecovery_us\toutcome\trecord"]
    for fault in faults:
        death = by_fault.get(fault.number)
        rest = ["none", "-", "-", "-", "-"] if death is None else [
            death.cause, microseconds(death.detection), microseconds(death.recovery), death.outcome, death.text]
        lines.append("\t".join([str(fault.number), str(fault.at_us), fault.service, fault.kind, fault.command, *rest]))
    return "\n".join(lines) + "\n"
