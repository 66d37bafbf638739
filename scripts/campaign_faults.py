"""Which fault hits which service when: made from a seed, and written as a script for the monitor."""
import dataclasses
import random

GAP_MIN_US = 200  # from one fault to the next


@dataclasses.dataclass(frozen=True)
class Kind:
    command: str           # of the monitor; {name}, {seed} and {steps} are filled in
    corruption: bool = False
    weight: int = 4        # of the others: slow ones are rare
    needs_job: bool = False  # happens only when the service gets work


BUILDS = ("services/{}.elf", "{}.next.elf")  # in the boot archive (services/meson.build)
BETWEEN_STEPS_US = 300  # a call that is there at two deaths is poison, so each gets done before the next death
SILENCE, SILENCE_US = ("supervisor", "silent"), 2_000_000  # until the kernel notices (docs/restart.md)
SEED_MAX = 1_000_000_000
STEPS_MAX = 4000  # instructions; a request of a disk takes some 2,000
KINDS = {
    "kill": Kind("kill {name}", weight=8),
    "step": Kind("step {name} {steps}", weight=8, needs_job=True),
    "crash": Kind("crash {name}"),
    "exit": Kind("exit-task {name}"),
    "panic": Kind("inject {name} panic"),
    "overflow": Kind("overflow {name}"),
    "hang": Kind("hang {name}", weight=2),
    "log-flood": Kind("flood {name} log", weight=1),
    "signals": Kind("flood {name} signal", weight=1),
    "lines": Kind("flood {name} line", weight=1),
    "silent": Kind("inject {name} never-answer", weight=1),
    "upgrade": Kind("upgrade {name} {build}"),  # no fault, but it ends as one
    "journal": Kind("corrupt {name} journal {seed}", corruption=True),
    "data": Kind("corrupt {name} data {seed}", corruption=True),
    "message": Kind("corrupt {name} message {seed}", corruption=True),
    "twice": Kind("inject {name} answer-twice", corruption=True),
    "calls": Kind("inject {name} call-everything", corruption=True),
}
UPGRADE = "upgrade"
UNSUITED = ("supervisor", "step"),  # it does not step itself
NO_JOURNAL = "vgic", "journal"  # all that it knows is the kernel's
FAIL_STOP = tuple(name for name, kind in KINDS.items() if not kind.corruption and name != UPGRADE)
CORRUPTIONS = tuple(name for name, kind in KINDS.items() if kind.corruption)


@dataclasses.dataclass(frozen=True)
class Fault:
    number: int
    at_us: int      # after the first wait of the script
    service: str    # a task, as the monitor names it
    kind: str
    command: str


def plan(services: list[str], kinds: list[str], count: int, seed: int, gap_us: int, rest_us: int) -> list[Fault]:
    """`count` faults, on average `gap_us` apart and those of one service at least `rest_us`."""
    source = random.Random(seed)
    weights = [KINDS[kind].weight for kind in kinds]
    ready_at = dict.fromkeys(services, 0)
    builds = dict.fromkeys(services, 0)  # how often each was upgraded: between two builds, to and fro
    faults, now = [], 0
    for number in range(1, count + 1):
        now += GAP_MIN_US + source.randrange(max(1, 2 * (gap_us - GAP_MIN_US)))
        # The one that is drawn, or among those that have had their rest; if none has, whoever is ready first.
        rested = [name for name in services if ready_at[name] <= now]
        if not rested:
            now = min(ready_at.values())
            rested = [name for name in services if ready_at[name] <= now]
        service = source.choice(rested)
        kind = source.choices(kinds, weights)[0]
        if (service.split(".")[0], kind) == NO_JOURNAL:
            kind = "data"
        if (service, kind) in UNSUITED:
            kind = "kill"
        builds[service] += kind == UPGRADE
        build = BUILDS[builds[service] % 2].format(service.split(".")[0])
        command = KINDS[kind].command.format(name=service, steps=1 + source.randrange(STEPS_MAX),
                                             seed=source.randrange(1, SEED_MAX), build=build)
        ready_at[service] = now + rest_us
        faults.append(Fault(number, now, service, kind, command))
    return faults


def script(faults: list[Fault], warm_up_us: int, settle_us: int, crashes_every: int, within: str = "") -> str:
    """The monitor's commands: the faults at their times, and now and then the records of deaths so far. `within`: how
    long to wait for a service that is not there, since its VM begins anew."""
    lines, now = [f"wait {warm_up_us}us"], 0
    for fault in faults:
        if fault.at_us > now:
            lines.append(f"wait {fault.at_us - now}us")
        now = fault.at_us
        if within:
            lines.append(f"-wait {fault.service} running within {within}")
        lines.append(f"-{fault.command}")  # may come when the service is dead, or its VM off
        if fault.number % crashes_every == 0:
            lines.append(f"crashes {2 * crashes_every}")
    return "\n".join([*lines, f"wait {settle_us}us", f"crashes {2 * crashes_every}", ""])


def sweep(service: str, steps: range) -> list[Fault]:
    """A kill after so many instructions, one after the other."""
    return [Fault(number, 0, service, "step", f"step {service} {count}") for number, count in enumerate(steps, start=1)]


def sweep_script(faults: list[Fault], warm_up_us: int, settle_us: int, crashes_every: int, within: str) -> str:
    """Each when the service runs again after the one before."""
    lines = [f"wait {warm_up_us}us"]
    for fault in faults:
        lines += [fault.command, f"wait {fault.service} stepped within {within}",
                  f"wait {fault.service} running within {within}", f"wait {BETWEEN_STEPS_US}us"]
        if fault.number % crashes_every == 0:
            lines.append(f"crashes {2 * crashes_every}")
    return "\n".join([*lines, f"wait {settle_us}us", f"crashes {2 * crashes_every}", ""])


def duration_us(faults: list[Fault], patience: int = 1) -> int:
    """The script does not go on while the supervisor, which executes it, is silent."""
    silences = sum((fault.service, fault.kind) == SILENCE for fault in faults)
    return (faults[-1].at_us if faults else 0) + silences * SILENCE_US * patience
