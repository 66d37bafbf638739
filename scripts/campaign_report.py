"""Deaths as the monitor's `crashes` tells them, matched with the faults that were ordered, and the tables made of both."""
import collections
import dataclasses
import math
import re

from campaign_faults import KINDS, SUPERVISOR, Fault
from campaign_workloads import RESETTING_VM

# Causes that a kind of fault may end in (services/supervisor/crash_record.h).
CAUSES = {"kill": {"killed"}, "step": {"stepped"}, "crash": {"fault"}, "exit": {"exit"}, "overflow": {"fault"},
          "panic": {"exit"}, "hang": {"deadline", "heartbeat", "no answer"}, "log-flood": {"flood", "deadline"},
          "signals": {"flood", "deadline"}, "lines": {"flood", "deadline"},
          "silent": {"heartbeat", "no answer"}, "upgrade": {"upgraded"}}
# The monitor's `crashes`: times in ns after the order, or after the detection of what nobody ordered.
CRASH = re.compile(r"#(\d+) (\d+)\.(\d{9}) (\S+) generation (\d+): (.*?) (pc .*); died (\S+), detected (\S+), started (\S+), "
                   r"answered (\S+), completed (\S+) ns; (.*)")
ORDER_LINE = re.compile(r"monitor: \d+\.\d{6} (.*?)\s*$")  # of the machine's output; this is what comes behind the first word:
ORDER = re.compile(r"(\d+\.\d{6}) (.*)")
LAST_LINE = "the script has ended"
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
        """From the order to the death. An order to step says nothing about the moment of the fault; the supervisor's own
        orders are in no record."""
        if self.ordered is None or self.died is None or self.cause == "stepped" or self.service == SUPERVISOR:
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


def unreadable(lines: list[str]) -> list[str]:
    """Records of which no line could be read."""
    told, known = {}, {death.sequence for death in parse(lines)}
    for line in lines:
        if number := re.match(r"#(\d+) ", line):
            told.setdefault(int(number[1]), line)
    return [line for number, line in told.items() if number not in known]


def match(deaths: list[Death], faults: list[Fault], orders: dict[int, float] | None = None) -> list[Death]:
    """Gives deaths their faults: of those that had been ordered, if that is known, the last one that ends so. The deaths that
    nobody ordered."""
    waiting = collections.defaultdict(list)
    for fault in faults:
        waiting[fault.service].append(fault)
    unordered = []
    for death in sorted(deaths, key=lambda death: death.sequence):
        queue = waiting[death.service]
        suited = [i for i, fault in enumerate(queue) if KINDS[fault.kind].corruption or death.service == SUPERVISOR or
                  death.cause in CAUSES[fault.kind]]
        if orders is not None:
            # A line with an order may be broken by what a guest printed: its fault is taken if there is no other.
            known = [i for i in suited if orders.get(queue[i].number, math.inf) <= death.died][::-1]
            suited = known or [i for i in suited if queue[i].number not in orders]
        if not suited:
            unordered.append(death)
            continue
        # Those before had no effect: they came when the service was dead, or no work came before the next one.
        death.fault = queue[suited[0]]
        del queue[:suited[0] + 1]
    return unordered


def _faults_of(lines: list[str], faults: list[Fault]) -> list[tuple[re.Match | None, Fault | None]]:
    """Of each line of the monitor: the order that it is, and the fault of the last order. Orders that are no fault's (`vm
    resume`), or were broken on their way, take none."""
    found, next_index, current = [], 0, None
    for line in lines:
        if order := ORDER.fullmatch(line):
            index = next((i for i in range(next_index, len(faults)) if faults[i].command == order[2]), None)
            current = None if index is None else faults[index]
            next_index = next_index if index is None else index + 1
        found.append((order, current))
    return found


def orders(lines: list[str], faults: list[Fault]) -> dict[int, float]:
    """When each was ordered: microseconds since power-on."""
    return {fault.number: float(order[1]) * 1e6 for order, fault in _faults_of(lines, faults) if order and fault}


def refused(lines: list[str], faults: list[Fault]) -> set[int]:
    """Numbers of the faults that the monitor refused: the task was dead, or its VM off."""
    return {fault.number for line, (order, fault) in zip(lines, _faults_of(lines, faults))
            if fault and not order and not line.startswith(("#", LAST_LINE))}


def unnoticed(faults: list[Fault], deaths: list[Death], refusals: set[int], orders: dict[int, float] | None = None) -> list[Fault]:
    """Faults that nobody died of. Not: steps, as no work may have come; what came while steps were still to be made, and
    ended with them; what hit a VM that was ending anyway."""
    died = {death.fault.number: death.died for death in deaths if death.fault}
    excused = refusals | died.keys()
    last = {}
    for fault in faults:
        before, last[fault.service] = last.get(fault.service), fault
        steps = before and KINDS[before.kind].needs_job and not (
            died.get(before.number, math.inf) < (orders or {}).get(fault.number, 0))
        if KINDS[fault.kind].needs_job or steps or f".{RESETTING_VM}" in fault.service:
            excused.add(fault.number)
    return [fault for fault in faults if fault.number not in excused]


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of all is not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


SHARES = (0.5, 0.9, 0.99, 1)


def spread(values: list[float]) -> str:
    return "".join(f"{percentile(values, share):11,.0f}" if values else f"{'-':>11}" for share in SHARES)


def table(faults: list[Fault], deaths: list[Death], refusals: set[int] = frozenset()) -> str:
    """By kind of fault how long until it was a death, by service from the death to the next completed request: in
    microseconds."""
    lines = [f"{'':12}{'faults':>7}{'refused':>8}{'deaths':>7}{'p50':>11}{'p90':>11}{'p99':>11}{'most':>11}"]
    ordered = [death for death in deaths if death.fault]

    def rows(title: str, names: list[str], name_of, time_of) -> None:
        lines.append(title.ljust(78, "-"))
        for name in [*names, "all"]:
            own = [fault for fault in faults if name in ("all", name_of(fault))]
            found = [death for death in ordered if name in ("all", name_of(death.fault))]
            times = [time for time in map(time_of, found) if time is not None]
            lines.append(f"{name:12}{len(own):7}{sum(fault.number in refusals for fault in own):8}{len(found):7}{spread(times)}")

    rows("fault to death ", [kind for kind in KINDS if any(fault.kind == kind for fault in faults)],
         lambda fault: fault.kind, lambda death: death.detection)
    rows("death to next request ", sorted({fault.service.split(".")[0] for fault in faults}),
         lambda fault: fault.service.split(".")[0], lambda death: death.recovery)
    return "\n".join(lines)


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
