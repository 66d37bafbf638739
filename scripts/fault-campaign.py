"""Kills, crashes and corrupts services while guests look at every answer that they get.

Two guests know what each answer of their devices must be, a third one resets again and again. The faults come from a
seed. Prints progress and a table of detection and recovery times, and with --report one line for each fault. Exit
status 0: nothing was lost; 1: something was, or the machine did not come to its end; 2: bad options.
docs/fault-campaign.md tells what is checked and how to read the table.
"""
import argparse
import contextlib
import dataclasses
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
from typing import TextIO

import campaign_corruption
import campaign_faults
import campaign_linux
import campaign_output
import campaign_relay
import campaign_report
import campaign_typist
import campaign_workloads
import launch
import prepare
import session
from schemas import InputError

PAUSE_US = 100
WARM_UP_US = 20_000
# Guests work somewhat longer than faults come: the script itself takes time, too.
SLACK_US, SLACK_SHARE, REAL_SLACK_SHARE = 500_000, 0.05, 0.6  # the last where the host, or a loaded guest, decides when the script goes on
SWEEP_WITHIN, SWEEP_LIMIT_US = "20s", 3_600_000_000
CORRUPTION_PATIENCE = 3      # the neighbour ends by itself, if it is not told, after so many times the script's length
CRASHES_EVERY = 50           # records are asked for in time: the supervisor keeps 256
PROGRESS_SECONDS = 10
LIMIT_SECONDS = 120          # of real time beside that of the guests
SLOWNESS = 150               # real time by guest time, at most, with --icount on a busy host
SEED_MAX = 1 << 31
DENSITY = 5                  # with --icount hangs are noticed at once, and faults may come so much faster
REAL_REST = 5                # without, a task may wait for a busy host, and a fault of it with it, until the next one takes its place
SCRIPT_BYTES_MAX = 1 << 20   # of the monitor (services/supervisor/monitor.h)


@dataclasses.dataclass
class Campaign:
    faults: list[campaign_faults.Fault]
    workload: campaign_workloads.Workload
    script: str
    seconds: float           # of guest time
    corrupts: bool = False
    last_line: str = campaign_report.LAST_LINE  # of the monitor: then guests that wait for it are told to end
    last_keys: bytes = b""   # that end it: guests work until these are typed, at a time of the host; others repeat exactly


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/fault-campaign", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", metavar="LIST", default="", help="tasks as the monitor's ps names them, services "
                        "for all of their instances, left.* for those of a VM; all by default")
    parser.add_argument("--faults", metavar="LIST", default=",".join(campaign_faults.FAIL_STOP),
                        help=f"of {', '.join(campaign_faults.KINDS)}; fail-stop, corruption: all that are so "
                        "(default fail-stop)")
    parser.add_argument("--workload", metavar="LIST", default="",
                        help=f"of {', '.join(campaign_workloads.WORK)}, with Linux guests of {', '.join(campaign_linux.WORK)} "
                        f"(echo not with --icount); devices: {', '.join(campaign_workloads.DEVICES)}; everyday (the default): "
                        "all others; all")
    parser.add_argument("--guests", choices=("bare", "linux"), default="bare", help="bare-metal guests, which boot at "
                        "once, or Debian's (default bare)")
    parser.add_argument("--device", metavar="NAME[:CONFIG]", action="append", default=[], help="one more device of the first "
                        "VM, whose service may be hit, too (repeatable)")
    parser.add_argument("--exercise", metavar="COMMAND", action="append", default=[], help="with --guests linux: a command that "
                        "the first guest runs again and again, and that has to succeed each time (repeatable)")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="of faults (default 300)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the faults; random by default, and printed")
    parser.add_argument("--gap", type=int, metavar="MICROSECONDS", help="between two faults, on average")
    parser.add_argument("--rest", type=int, metavar="MICROSECONDS", help="between two faults of one service, at least")
    parser.add_argument("--pause", type=int, metavar="MICROSECONDS", help="of a guest between two rounds of work (default "
                        f"{PAUSE_US}; where corruptions hit {campaign_corruption.PAUSE_US})")
    parser.add_argument("--machine-disk", action="store_true", help="bare guests have parts of the machine's disk, a file of "
                        "the host's, by blk-driver")
    parser.add_argument("--host-sockets", action="store_true", help="the work vsock goes by way of this computer, too (bare guests: "
                        "only so), and with it through vsock-driver; in real time")
    parser.add_argument("--alone", action="store_true", help="one VM that works, if the workload needs no peer")
    parser.add_argument("--sweep", metavar="SERVICE=FIRST-LAST[/EVERY]", help="instead of random faults: kills the service "
                        "after FIRST instructions, after FIRST + 1, ..., or every EVERY-th; --span sectors of each "
                        "request of a disk")
    parser.add_argument("--span", type=int, default=8, metavar="N", help="sectors of a request at most (default 8)")
    parser.add_argument("--icount", action="store_true", help="deterministic: one instruction is one nanosecond, each "
                        "fault comes at the same instruction in each run, disks are in memory")
    parser.add_argument("--replay", type=int, metavar="SEED", help="as --icount --seed SEED")
    parser.add_argument("--machine-cpus", type=int, default=1, metavar="N", help="1..8 (default 1)")
    parser.add_argument("--report", metavar="FILE", type=pathlib.Path, help="each fault and what came of it")
    parser.add_argument("--console", metavar="FILE", type=pathlib.Path, help="all that the machine printed")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    return parser


def names(parser: argparse.ArgumentParser, option: str, text: str, known) -> list[str]:
    groups = {"fail-stop": campaign_faults.FAIL_STOP, "corruption": campaign_faults.CORRUPTIONS}
    if option == "--workload":
        devices = [name for name in known if name in campaign_workloads.DEVICES]
        groups = {"all": known, "devices": devices, "everyday": [name for name in known if name not in devices]}
    found = []
    for name in filter(None, text.split(",")):
        found += groups.get(name, [name])
    for name in found:
        if name not in known:
            parser.error(f"{option}: {name} is none of {', '.join(known)}")
    if not found:
        parser.error(f"{option}: names nothing")
    return list(dict.fromkeys(found))


def make_sweep(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Campaign:
    found = re.fullmatch(r"([^=]+)=(\d+)-(\d+)(?:/(\d+))?", arguments.sweep)
    if not found or not 1 <= int(found[2]) <= int(found[3]) or found[4] == "0":
        parser.error(f"--sweep {arguments.sweep}: must be SERVICE=FIRST-LAST or SERVICE=FIRST-LAST/EVERY")
    kind = found[1].split(".")[0]
    if kind not in campaign_workloads.SWEEP_WORK:
        parser.error(f"--sweep: {kind} is none of {', '.join(campaign_workloads.SWEEP_WORK)}")
    every = int(found[4] or 1)
    # Where it begins among the first so many is the seed's choice: sweeps of different seeds see other instructions.
    first = int(found[2]) + arguments.seed % every
    faults = campaign_faults.sweep(found[1], range(first, int(found[3]) + 1, every))
    work = campaign_workloads.SWEEP_WORK[kind]
    workload = campaign_workloads.describe([work], SWEEP_LIMIT_US, campaign_workloads.Options(
        pause_us=0, depth=1, span=arguments.span, until_key=True, variant=arguments.seed % campaign_workloads.VARIANTS,
        machine_disk=arguments.machine_disk, by_host=arguments.host_sockets))
    if found[1] not in workload.services:
        parser.error(f"--sweep: {found[1]} is none of {', '.join(workload.services)}")
    script = campaign_faults.sweep_script(faults, WARM_UP_US, campaign_workloads.SETTLE_US, CRASHES_EVERY, SWEEP_WITHIN)
    return Campaign(faults, workload, script, len(faults) / 1000, last_keys=b"q")


def make_corruption(parser: argparse.ArgumentParser, arguments: argparse.Namespace, work: list[str],
                    kinds: list[str]) -> Campaign:
    def describe(duration_us: int) -> campaign_workloads.Workload:
        return campaign_corruption.describe(work, duration_us, arguments.pause or campaign_corruption.PAUSE_US)

    services = campaign_workloads.chosen(describe(0).services, list(filter(None, arguments.services.split(","))))
    if not services:
        parser.error(f"--services {arguments.services}: corruptions hit services of VM {campaign_corruption.VICTIM} only")
    faults = campaign_faults.plan(services, kinds, arguments.count, arguments.seed,
                                  arguments.gap or campaign_corruption.GAP_US, 0)
    length = WARM_UP_US + campaign_faults.duration_us(faults)
    workload = describe(CORRUPTION_PATIENCE * (length + SLACK_US))
    script = campaign_corruption.script(faults, work, arguments.seed, WARM_UP_US, campaign_workloads.SETTLE_US,
                                        CRASHES_EVERY)
    return Campaign(faults, workload, script, length / 1e6, True, campaign_corruption.LAST_COMMAND,
                    campaign_corruption.LAST_KEYS)


def make_campaign(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Campaign:
    if arguments.sweep is not None:
        return make_sweep(parser, arguments)
    guests = campaign_linux if arguments.guests == "linux" else campaign_workloads
    known = [name for name in guests.WORK if name != campaign_output.ECHO or not arguments.icount]  # nobody types then
    work = names(parser, "--workload", arguments.workload or "everyday", known)
    kinds = names(parser, "--faults", arguments.faults, campaign_faults.KINDS)
    corruptions = [kind for kind in kinds if campaign_faults.KINDS[kind].corruption]
    if corruptions:
        if corruptions != kinds:
            parser.error("--faults: corruptions are campaigns of their own")
        return make_corruption(parser, arguments, work, kinds)
    if arguments.host_sockets and "vsock" not in work:
        parser.error("--host-sockets: the work must have vsock in it")
    if arguments.exercise and arguments.guests != "linux":
        parser.error("--exercise is a command of Linux guests: --guests linux")
    options = campaign_workloads.Options(pause_us=PAUSE_US if arguments.pause is None else arguments.pause,
                                         span=arguments.span, alone=arguments.alone, icount=arguments.icount,
                                         machine_disk=arguments.machine_disk, by_host=arguments.host_sockets,
                                         devices=tuple(arguments.device), exercises=tuple(arguments.exercise))
    services = campaign_workloads.chosen(guests.describe(work, 0, options).services,
                                         list(filter(None, arguments.services.split(","))))
    if not services:
        parser.error(f"--services {arguments.services}: this workload has none of them")
    if campaign_faults.UPGRADE in kinds:
        services = [name for name in services if name != "supervisor"]  # its image is the kernel's
    patience = 1 if arguments.icount else launch.EMULATION_PATIENCE
    density = DENSITY if arguments.icount and guests is campaign_workloads else 1
    gap, rest = arguments.gap or guests.GAP_US // density, arguments.rest or guests.REST_US * (1 if arguments.icount else REAL_REST) // density
    faults = campaign_faults.plan(services, kinds, arguments.count, arguments.seed, gap, rest, patience)
    length = WARM_UP_US + int(campaign_faults.duration_us(faults, patience) * (1 + (SLACK_SHARE if arguments.icount and guests is campaign_workloads else REAL_SLACK_SHARE))) + SLACK_US + guests.BOOT_US
    workload = guests.describe(work, length, options)
    presses = campaign_workloads.presses(guests.PRESSED_VM, faults[-1].at_us) if "gpio" in work else []
    for vm in workload.expected if presses else ():
        workload.numbers[vm, "gpio"] = {"edges": 2 * len(presses) if vm == guests.PRESSED_VM else 0}
    script = guests.first_lines(work) + campaign_faults.script(faults, WARM_UP_US, guests.SETTLE_US, CRASHES_EVERY, presses)
    return Campaign(faults, workload, script, (length + guests.SETTLE_US) / 1e6)


def next_builds(campaign: Campaign) -> list[str]:
    """Files that upgrades take."""
    wanted = {fault.command.split()[-1] for fault in campaign.faults if fault.kind == campaign_faults.UPGRADE}
    return [str(launch.TARGET / "services" / name) for name in sorted(wanted) if "/" not in name]


def run(campaign: Campaign, arguments: argparse.Namespace) -> tuple[int, str, campaign_typist.Typist]:
    """Exit status of the machine, what it printed, and who typed."""
    with tempfile.TemporaryDirectory(prefix="atoll-campaign-") as name:
        folder = pathlib.Path(name)
        system, script = folder / "system.textproto", folder / "script"
        system.write_text(campaign.workload.text)
        if script.write_text(campaign.script) > SCRIPT_BYTES_MAX:
            raise InputError(f"--count {len(campaign.faults)}: the monitor's script would have more than "
                             f"{SCRIPT_BYTES_MAX} bytes; run several campaigns with seeds of their own")
        options = launch.Options(config=str(system), files=campaign.workload.files, icount=arguments.icount,
                                 machine_cpus=arguments.machine_cpus, machine_disk=campaign.workload.machine_disk,
                                 forwards=campaign.workload.forwards,
                                 monitor=str(script), added=next_builds(campaign))
        relay = contextlib.nullcontext()
        if campaign.workload.relayed:
            options.vsock = str(folder / "vm")
            relay = campaign_relay.Relay(options.vsock, campaign.workload.relayed, campaign_workloads.LISTENING_CID)
        with launch.Machine(options) as machine, relay:
            machine.prepare()
            process = subprocess.Popen(machine.command(["-serial", "stdio"]), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            limit = LIMIT_SECONDS + campaign.seconds * SLOWNESS
            lines = []
            with session.Deadline(process, limit) as deadline:
                keyboard = campaign_typist.Typist(process.stdin, campaign.workload, campaign.last_keys)
                with (arguments.console or pathlib.Path(os.devnull)).open("w", encoding="utf-8") as console:
                    progress(process, lines, campaign, keyboard, console)
                status = process.wait()
    return (session.TIMEOUT_STATUS if deadline.expired else status), "".join(lines), keyboard


def progress(process: subprocess.Popen, lines: list[str], campaign: Campaign, keyboard: campaign_typist.Typist,
             console: TextIO) -> None:
    """Keeps the output, now and then says how far it is, and tells guests that wait for it that the script is over."""
    commands = {fault.command for fault in campaign.faults}
    # A victim of corruptions may complain; what that means is looked at in the end.
    complaints = "complaints of guests" if campaign.corrupts else "losses"
    ordered, losses, said = 0, 0, time.monotonic()
    for raw in process.stdout:
        line = raw.decode(errors="replace")
        lines.append(line)
        console.write(line)
        order = campaign_report.ORDER_LINE.match(line)
        ordered += order is not None and order[1] in commands
        losses += " lost " in line and "oracle: " in line
        keyboard.see(line, lines)
        if line.startswith("monitor: ") and campaign.last_line in line and not keyboard.ended:
            keyboard.end()
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            print(f"{ordered} of {len(campaign.faults)} faults, {losses} {complaints}", flush=True)


def judge(campaign: Campaign, arguments: argparse.Namespace, status: int, text: str, keyboard: campaign_typist.Typist) -> int:
    if campaign.corrupts:
        return judge_corruption(campaign, arguments, status, text)
    output = campaign_output.parse(text, next(iter(campaign.workload.expected)))
    deaths = campaign_report.parse(output.monitor)
    orders = campaign_report.orders(output.monitor, campaign.faults)
    unordered = campaign_report.match(deaths, campaign.faults, orders)
    frames = sum(death.service.split(".")[0] in campaign_report.FRAME_SERVICES for death in deaths)
    problems = campaign_output.problems(output, campaign.workload.expected, frames, campaign.workload.numbers) + keyboard.problems(output)
    refusals = campaign_report.refused(output.monitor, campaign.faults)
    problems += [f"was not noticed: {fault.command}" for fault in
                 campaign_report.unnoticed(campaign.faults, deaths, refusals, orders)]
    problems += [f"a death that cannot be read: {line}" for line in campaign_report.unreadable(output.monitor)]
    problems += [f"died by itself: {death.service} ({death.cause}, {death.text})" for death in unordered]
    if not any(line.startswith(campaign_report.LAST_LINE) for line in output.monitor):
        problems.append(f"the script did not come to its end: {output.monitor[-1] if output.monitor else ''}")
    if status == session.TIMEOUT_STATUS:
        problems.append("the machine did not come to its end")
    elif status != 0:
        problems.append(f"the machine ended with status {status}")
    print(campaign_report.table(campaign.faults, deaths, refusals))
    slowest = [(end.numbers.get("slowest_us", 0), end.numbers.get("began_us", 0), f"{vm}.{oracle}")
               for (vm, oracle), ends in output.ends.items() for end in ends]
    took, began, who = max(slowest, default=(0, 0, "none"))
    print(f"slowest round of work: {who}, {took:,} us, begun {began / 1e6:.6f} s after power-on")
    done = ", ".join(f"{vm}.{oracle} {end.count:,}" for (vm, oracle), ends in output.ends.items() for end in ends)
    print(f"what guests did and looked at: {done}")
    if arguments.report is not None:
        arguments.report.write_text(campaign_report.report(campaign.faults, deaths))
    for problem in problems:
        print(f"LOST {problem}")
    print(f"{len(campaign.faults)} faults of seed {arguments.seed}, {len(deaths)} deaths, {len(problems)} losses", flush=True)
    return 1 if problems else 0


def judge_corruption(campaign: Campaign, arguments: argparse.Namespace, status: int, text: str) -> int:
    """Nobody but the victim may have seen anything."""
    outcomes, seen = campaign_corruption.judge(text, campaign.faults)
    own = campaign_corruption.VICTIM
    output = campaign_output.parse(campaign_corruption.with_labels(text), own)
    deaths = campaign_report.parse(output.monitor)
    output.early.clear()  # it is the script that turns the machine off
    problems = [problem for problem in campaign_output.problems(output, campaign.workload.expected, 0)
                if own not in problem]
    problems += [f"died of another's corruption: {death.service} ({death.cause}, {death.text})" for death in deaths
                 if f".{own}" not in death.service]
    if status != 0:
        problems.append(f"the machine ended with status {status}")
    print(campaign_corruption.table(campaign.faults, outcomes))
    if arguments.report is not None:
        arguments.report.write_text("\n".join(seen) + "\n")
    for problem in problems:
        print(f"OUTSIDE {problem}")
    bad = sum(outcome in ("wrong", "hung") for outcome in outcomes.values())
    print(f"{len(campaign.faults)} corruptions of seed {arguments.seed}, {len(problems)} effects outside, {bad} wrong or hung",
          flush=True)
    return 1 if problems or bad else 0


def main() -> int:
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.replay is not None:
        arguments.seed, arguments.icount = arguments.replay, True
    if arguments.seed is None:
        arguments.seed = random.randrange(SEED_MAX)
    if arguments.count < 1:
        parser.error("--count must be 1 or more")
    if arguments.sweep is not None and arguments.sweep.startswith("blk-driver"):
        arguments.machine_disk = True
    if arguments.sweep is not None and arguments.sweep.startswith("vsock-driver"):
        arguments.host_sockets = True
    if arguments.icount and arguments.host_sockets:
        parser.error("--icount: this computer would be too slow for guests whose time does not wait for it")
    if arguments.icount and arguments.machine_disk:
        parser.error("--icount: the host's disk takes time that these guests do not have")
    if arguments.icount and arguments.machine_cpus != 1:
        parser.error("--icount: only a machine with one CPU is deterministic")
    if not arguments.no_build:
        launch.say("building")
        prepare.build(prepare.TARGET)
    try:
        campaign = make_campaign(parser, arguments)
        print(f"{arguments.count} faults of seed {arguments.seed} in {campaign.seconds:.0f} s of the guests' time", flush=True)
        status, text, keyboard = run(campaign, arguments)
    except InputError as error:
        launch.say(str(error))
        return session.FAILED_STATUS
    except KeyboardInterrupt:
        return session.INTERRUPTED_STATUS
    return judge(campaign, arguments, status, text, keyboard)


if __name__ == "__main__":
    sys.exit(main())
