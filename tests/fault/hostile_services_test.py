#!/usr/bin/python3
"""Every service of one VM becomes hostile, in every way that it can, beside two VMs that check every answer and every
frame that they get. Whatever the first VM comes to, the others lose nothing.

Usage: hostile_services_test.py --build FOLDER [--timeout SECONDS] [--cpus N] [--no-icount]
"""
import re
import sys
import time

import fault_machine
import campaign_output

VICTIM, NEIGHBOURS = "victim", ("left", "right")
WORK = ["disk", "net", "uart", "rtc", "gic", "vcpu"]
# vmm may stop its VM, so it comes last.
SERVICES = [f"pl031.{VICTIM}", f"vgic.{VICTIM}", f"pl011.{VICTIM}", f"virtio-blk.{VICTIM}.0", f"virtio-net.{VICTIM}.1", f"vmm.{VICTIM}"]
HOSTILITIES = ["garbage", "answer-twice", "overflow", "scribble", "log-flood", "signal-flood", "line-flood", "hang", "scribble",
               "never-answer", "call-everything", "call-everything", "scribble"]
GAP_MS = 12        # longer than it takes to notice a hang
RECORD = re.compile(r"^monitor: #\d+ \d+\.\d+ (\S+) generation ", re.MULTILINE)
DEATHS_LEAST = 45  # of the victim's services; what comes when one is given up, or its VM has ended, hits nobody


def description(milliseconds: int) -> str:
    """The first VM has the keyboard, and what it prints has no name before it: no good place for the victim."""
    vms = []
    for index, vm in enumerate((*NEIGHBOURS, VICTIM)):
        peer = 1 - index if vm in NEIGHBOURS else index  # the victim's frames are for itself: they go nowhere
        line = f"name={vm} work={','.join(WORK)} ms={milliseconds} pause=3000 peer={peer} depth=8 span=4"
        vms.append(f'vm {{ name: "{vm}" vcpus: 2 memory_mib: 16 kernel: "oracle" command_line: "{line}" '
                   "disk { zero_mib: 2 } network { } }\n")
    return "".join(vms)


def script() -> tuple[str, int]:
    """Monitor's commands, and the milliseconds that they take."""
    lines, milliseconds = ["wait 20ms"], 20
    for service in SERVICES:
        for hostility in HOSTILITIES:
            lines += [f"-inject {service} {hostility}", f"wait {GAP_MS}ms"]
            milliseconds += GAP_MS
            if hostility == "never-answer":  # which is noticed after 2 s
                lines.append(f"-kill {service}")
    # All at once, the supervisor excepted, and once more while they are restarted.
    lines += ["kill all", "-kill all", "wait 50ms"]
    return "\n".join(lines), milliseconds + 60


def judge(status: int, text: str) -> list[str]:
    # 1: a service of the victim was given up.
    problems = [] if status in (0, 1) else [f"the machine ended with status {status}"]
    output = campaign_output.parse(text, NEIGHBOURS[0])
    # What becomes of the victim, and what it says, is its own affair.
    output.lost = [line for line in output.lost if not line.startswith(f"{VICTIM}.")]
    output.broken = [line for line in output.broken if not line.startswith(f"{VICTIM}:")]
    output.early = []  # they end before the script, after its last fault
    # Services say what they find wrong in themselves; the records tell which of them died.
    output.log = [line for line in output.log if VICTIM not in line and not line.startswith("panic: ")]
    deaths = RECORD.findall(text)  # the log has only so many lines a second
    problems += campaign_output.problems(output, {vm: WORK for vm in NEIGHBOURS}, deaths.count("vswitch"))
    count = sum(name in SERVICES for name in deaths)
    if count < DEATHS_LEAST:
        problems.append(f"the victim's services died {count} times only")
    # Of the others each died at the end, when all were killed, and once more at most.
    problems += [f"{name} died {deaths.count(name)} times" for name in sorted(set(deaths) - set(SERVICES)) if deaths.count(name) > 2]
    return problems


def main() -> int:
    arguments = fault_machine.arguments_parser("Hostile services of one VM, and the VMs beside it.").parse_args()
    begin = time.monotonic()
    commands, milliseconds = script()
    # The neighbours turn themselves off when they are done; the victim may hang.
    commands += "\nwait 500ms\ncrashes 200\npower-off\n"
    status, text = fault_machine.run(arguments, description(milliseconds), {"oracle": "guests/oracle.bin"}, commands)
    return fault_machine.conclude(begin, text, judge(status, text))


if __name__ == "__main__":
    sys.exit(main())
