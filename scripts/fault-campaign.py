"""Kills, crashes and corrupts services while guests look at every answer that they get.

Two guests know what each answer of their devices must be, a third one resets again and again. The faults come from a
seed. Prints progress and a table of detection and recovery times, and with --report one line for each fault. Exit
status 0: nothing was lost; 1: something was, or the machine did not come to its end; 2: bad options.
docs/fault-campaign.md tells what is checked and how to read the table.
"""
import argparse
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import campaign_faults
import campaign_linux
import campaign_output
import campaign_report
import campaign_workloads
import launch
import prepare
import session
from schemas import InputError

WARM_UP_US, SETTLE_US = {"bare": 20_000, "linux": 45_000_000}, 1_000_000
# Guests work somewhat longer than faults come: restarts of the script's own machinery take time, too.
SLACK_US, SLACK_SHARE = 1_500_000, 0.1
CRASHES_EVERY = 50           # records are asked for in time: the supervisor keeps 256
PROGRESS_SECONDS = 10
LIMIT_SECONDS = 120          # of real time beside that of the guests
SLOWNESS = 60                # real time by guest time, at most, with --icount on a busy host
SEED_MAX = 1 << 31


@dataclasses.dataclass
class Campaign:
    faults: list[campaign_faults.Fault]
    workload: campaign_workloads.Workload
    script: str
    seconds: float           # of guest time


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/fault-campaign", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", metavar="LIST", default="", help="tasks as the monitor's ps names them, services "
                        "for all of their instances, left.* for those of a VM; all by default")
    parser.add_argument("--faults", metavar="LIST", default=",".join(campaign_faults.FAIL_STOP),
                        help=f"of {', '.join(campaign_faults.KINDS)}; fail-stop, corruption: all that are so "
                        "(default fail-stop)")
    parser.add_argument("--workload", metavar="LIST", default=",".join(campaign_workloads.WORK),
                        help=f"of {', '.join(campaign_workloads.WORK)}; all by default")
    parser.add_argument("--guests", choices=("bare", "linux"), default="bare", help="bare-metal guests, which boot at "
                        "once, or Debian's (default bare)")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="of faults (default 300)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the faults; random by default, and printed")
    parser.add_argument("--gap", type=int, metavar="MICROSECONDS", help="between two faults, on average")
    parser.add_argument("--rest", type=int, metavar="MICROSECONDS", help="between two faults of one service, at least")
    parser.add_argument("--pause", type=int, default=200, metavar="MICROSECONDS", help="of a guest between two rounds of work")
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
    found = []
    for name in filter(None, text.split(",")):
        found += groups[name] if option == "--faults" and name in groups else [name]
    for name in found:
        if name not in known:
            parser.error(f"{option}: {name} is none of {', '.join(known)}")
    if not found:
        parser.error(f"{option}: names nothing")
    return list(dict.fromkeys(found))


def make_campaign(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Campaign:
    work = names(parser, "--workload", arguments.workload, campaign_workloads.WORK)
    kinds = names(parser, "--faults", arguments.faults, campaign_faults.KINDS)
    guests = campaign_linux if arguments.guests == "linux" else campaign_workloads
    warm_up = WARM_UP_US[arguments.guests]
    services = campaign_workloads.chosen(guests.describe(work, 0, arguments).services,
                                         list(filter(None, arguments.services.split(","))))
    if not services:
        parser.error(f"--services {arguments.services}: this workload has none of them")
    gap, rest = arguments.gap or guests.GAP_US, arguments.rest or guests.REST_US
    faults = campaign_faults.plan(services, kinds, arguments.count, arguments.seed, gap, rest)
    length = warm_up + int(campaign_faults.duration_us(faults) * (1 + SLACK_SHARE)) + SLACK_US
    workload = guests.describe(work, length, arguments)
    script = campaign_faults.script(faults, warm_up, SETTLE_US, CRASHES_EVERY)
    return Campaign(faults, workload, script, (length + SETTLE_US) / 1e6)


def run(campaign: Campaign, arguments: argparse.Namespace) -> tuple[int, str]:
    """Exit status of the machine and what it printed."""
    with tempfile.TemporaryDirectory(prefix="atoll-campaign-") as name:
        folder = pathlib.Path(name)
        system, script = folder / "system.textproto", folder / "script"
        system.write_text(campaign.workload.text)
        script.write_text(campaign.script)
        options = launch.Options(config=str(system), files=campaign.workload.files, icount=arguments.icount,
                                 machine_cpus=arguments.machine_cpus, machine_disk=campaign.workload.machine_disk,
                                 monitor=str(script))
        with launch.Machine(options) as machine:
            machine.prepare()
            process = subprocess.Popen(machine.command(["-serial", "stdio"]), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            limit = LIMIT_SECONDS + campaign.seconds * SLOWNESS
            lines = []
            with session.Deadline(process, limit) as deadline:
                progress(process.stdout, lines, len(campaign.faults))
                status = process.wait()
    return (session.TIMEOUT_STATUS if deadline.expired else status), "".join(lines)


def progress(output, lines: list[str], count: int) -> None:
    """Keeps the output, and now and then says how far it is."""
    deaths, losses, said = 0, 0, time.monotonic()
    for raw in output:
        line = raw.decode(errors="replace")
        lines.append(line)
        deaths += " died: " in line
        losses += " lost " in line and "oracle: " in line
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            print(f"{deaths} of {count} faults, {losses} losses", flush=True)


def judge(campaign: Campaign, arguments: argparse.Namespace, status: int, text: str) -> int:
    output = campaign_output.parse(text, next(iter(campaign.workload.expected)))
    deaths = campaign_report.parse(output.monitor)
    unordered = campaign_report.match(deaths, campaign.faults)
    frames = sum(death.service.split(".")[0] in campaign_report.FRAME_SERVICES for death in deaths)
    problems = campaign_output.problems(output, campaign.workload.expected, frames)
    problems += [f"died by itself: {death.service} ({death.cause}, {death.text})" for death in unordered]
    problems += [f"monitor: {line}" for line in output.monitor if "error" in line]
    if status == session.TIMEOUT_STATUS:
        problems.append("the machine did not come to its end")
    elif status != 0:
        problems.append(f"the machine ended with status {status}")
    print(campaign_report.table(campaign.faults, deaths))
    done = ", ".join(f"{vm}.{oracle} {end.count:,}" for (vm, oracle), ends in output.ends.items() for end in ends)
    print(f"what guests did and looked at: {done}")
    if arguments.report is not None:
        arguments.report.write_text(campaign_report.report(campaign.faults, deaths))
    for problem in problems:
        print(f"LOST {problem}")
    print(f"{len(campaign.faults)} faults of seed {arguments.seed}, {len(deaths)} deaths, {len(problems)} losses", flush=True)
    return 1 if problems else 0


def main() -> int:
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.replay is not None:
        arguments.seed, arguments.icount = arguments.replay, True
    if arguments.seed is None:
        arguments.seed = random.randrange(SEED_MAX)
    if arguments.count < 1:
        parser.error("--count must be 1 or more")
    if arguments.icount and arguments.machine_cpus != 1:
        parser.error("--icount: only a machine with one CPU is deterministic")
    if not arguments.no_build:
        launch.say("building")
        prepare.build(prepare.TARGET)
    try:
        campaign = make_campaign(parser, arguments)
        print(f"{arguments.count} faults of seed {arguments.seed} in {campaign.seconds:.0f} s of the guests' time", flush=True)
        status, text = run(campaign, arguments)
    except InputError as error:
        launch.say(str(error))
        return session.FAILED_STATUS
    except KeyboardInterrupt:
        return session.INTERRUPTED_STATUS
    if arguments.console is not None:
        arguments.console.write_text(text)
    return judge(campaign, arguments, status, text)


if __name__ == "__main__":
    sys.exit(main())
