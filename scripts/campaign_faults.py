"""Which fault hits which service when: made from a seed, and written as a script for the monitor."""
import dataclasses
import random

GAP_MIN_US = 200  # from one fault to the next


@dataclasses.dataclass(frozen=True)
class Kind:
    command: str           # of the monitor; {name}, {seed} and {steps} are filled in
    corruption: bool = False
    weight: float = 4        # of the others: slow ones are rare
    needs_job: bool = False  # happens only when the service gets work
    slow: bool = False       # noticed after some time that the service itself runs: longer where others run a lot


BUILDS = ("services/{}.elf", "{}.next.elf")  # in the boot archive (services/meson.build)
BETWEEN_STEPS_US = 300  # a call that is there at two deaths is poison, so each gets done before the next death
# Until a silent task is noticed (docs/restart.md). The script does not go on without these.
SILENT, SCRIPT_NEEDS = "silent", ("supervisor", "console")
HEARTBEAT_MS = 100  # of these machines
SILENCE_US = {"supervisor": 1_200_000}  # others: two heartbeats, more if the supervisor dies meanwhile
SUPERVISOR, SUPERVISOR_REST_US = "supervisor", 150_000  # more deaths than eight within a second stop the machine
SEED_MAX = 1_000_000_000
STEPS_MAX = 4000  # instructions; a request of a disk takes some 2,000
KINDS = {
    "kill": Kind("kill {name}", weight=8),
    "step": Kind("step {name} {steps}", weight=8, needs_job=True),
    "crash": Kind("crash {name}"),
    "exit": Kind("exit-task {name}"),
    "panic": Kind("inject {name} panic"),
    "overflow": Kind("overflow {name}"),
    "hang": Kind("hang {name}", weight=2, slow=True),
    "log-flood": Kind("flood {name} log", weight=1, slow=True),
    "signals": Kind("flood {name} signal", weight=1, slow=True),
    "lines": Kind("flood {name} line", weight=1, slow=True),
    "silent": Kind("inject {name} never-answer", weight=0.25),
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


def rest_after(service: str, kind: str, rest_us: int, patience: int) -> int:
    """Until the next fault of a service: else it would hide whether this one is noticed."""
    return max(rest_us * (2 if KINDS[kind].slow and patience > 1 else 1), SUPERVISOR_REST_US if service == SUPERVISOR else 0,
               silence_us(service) * patience * 5 // 4 if kind == SILENT else 0)


def silence_us(service: str) -> int:
    return SILENCE_US.get(service, 6000 * HEARTBEAT_MS)


def plan(services: list[str], kinds: list[str], count: int, seed: int, gap_us: int, rest_us: int,
         patience: int = 1) -> list[Fault]:
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
        ready_at[service] = now + rest_after(service, kind, rest_us, patience)
        faults.append(Fault(number, now, service, kind, command))
    return faults


def script(faults: list[Fault], warm_up_us: int, settle_us: int, crashes_every: int,
           events: list[tuple[int, str]] = ()) -> str:
    """The monitor's commands: the faults at their times, and now and then the records of deaths so far. `events`: other
    commands, which must succeed, and their times."""
    # A fault may come when the service is dead, or its VM off.
    timed = [(at_us, command, 0) for at_us, command in events] + [(fault.at_us, f"-{fault.command}", fault.number)
                                                                  for fault in faults]
    lines, now = [f"wait {warm_up_us}us"], 0
    for at_us, command, number in sorted(timed, key=lambda entry: entry[0]):
        if at_us > now:
            lines.append(f"wait {at_us - now}us")
        now = at_us
        lines.append(command)
        if number != 0 and number % crashes_every == 0:
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
    """The script does not go on while the supervisor, which executes it, is silent, or the console, which prints it."""
    silences = sum(silence_us(fault.service) for fault in faults if fault.service in SCRIPT_NEEDS and fault.kind == SILENT)
    return (faults[-1].at_us if faults else 0) + silences * patience
