"""Lets a service die again in a process of this computer, under ASan and UBSan, from a file of its death on the target.

  scripts/replay CRASH [--gdb | --core FILE]      CRASH: a file that scripts/run --crash-dir has written (docs/host-run.md)

The service starts on the memory that it had when it died, and is given the same calls, or signals. The last line says
whether it died again, and where (exit status 1), or went on, and what it answered (0). Bad files: 2.
"""
import argparse
import hashlib
import pathlib
import subprocess
import sys

import crash_core
import crash_file
import describe
import discover
import host_task
import interfaces
import prepare
import task_plan
from schemas import InputError

DIED_STATUS, BAD_STATUS = 1, 2
TARGET = prepare.BUILD / "target"


def elf_of(service: str) -> pathlib.Path | None:
    """What was built last: of services/, or of the tests."""
    found = [TARGET / "services" / f"{service}.elf", *sorted(TARGET.glob(f"tests/*/{service}.elf"))]
    return next((path for path in found if path.is_file()), None)


def function_on_target(service: str, pc: int) -> str:
    elf = elf_of(service)
    if elf is None:
        return hex(pc)
    command = ["llvm-symbolizer-19", f"--obj={elf}", "--relativenames", "--no-inlines", "--functions=linkage", "--demangle", hex(pc)]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        lines = []
    return lines[0] if lines and lines[0] != "??" else hex(pc)


def check_build(header: dict, service: str, any_build: bool) -> None:
    elf = elf_of(service)
    same = elf is not None and hashlib.sha256(elf.read_bytes()).hexdigest() == header["build"]
    if not same and not any_build:
        raise crash_file.BadCrash(f"is of another build of {service} than the one in {TARGET}; --another-build replays it all the same")


def deliveries(header: dict, plan: task_plan.TaskPlan) -> list:
    """What the instance was at; if that is unknown, what its successor would look at."""
    found = [host_task.Delivery(c["label"], c["words"], c["badge"], c["token"], c["attempt"], bytes.fromhex(c["data"]))
             for c in header["calls"]]
    if header["took_signals"] or header["signals"]:
        own = sum((1 << count) - 1 << first for first, count in plan.signals.values())
        found.append(host_task.Delivery(0, [own if header["took_signals"] else header["signals"], 0, 0, 0, 0, 0]))
    return found


def told(rpcs, delivery: host_task.Delivery) -> str:
    if not delivery.token:
        return f"signals {delivery.words[0]:#x}"
    rpc = rpcs.by_code.get(delivery.label & 0xffff)
    if rpc is None:
        return f"a call {delivery.label:#x}"
    return f"{rpc.service.name}.{rpc.name} {rpcs.show(rpc, rpc.request, delivery.words, delivery.data)}".strip()


def replay(crash: crash_file.CrashFile, plan: task_plan.TaskPlan, program: pathlib.Path, gdb: host_task.Gdb | None) -> int:
    header, name = crash.header, plan.instance
    rpcs = interfaces.Interfaces(describe.load_schemas_of_interfaces())
    work = deliveries(header, plan)
    function = function_on_target(plan.service, header["pc"])
    about = (f"{name}, generation {header['generation']}, died of {header['cause']} in {function}, esr {header['esr']:#x}, far {header['far']:#x}, with "
             + (", ".join(told(rpcs, d) for d in work) or "no work"))
    with host_task.HostTask(plan, None, program, rpcs, gdb, lambda text: print(text, flush=True)) as task:
        crash.fill(task.memory, plan.regions)
        print(about, flush=True)
        task.ticks = header["ticks"]
        # Its journal is in use: it is not the first instance, and whether the one before was blamed, as it was told.
        task.generation, task.flags = max(header["generation"], 1), header["start"] & (host_task.BLAMED | host_task.FAILED)
        answered = []
        try:
            task.start()
            for delivery in work:
                task.run(delivery)
                if delivery.token:
                    reply = task.replies.pop(delivery.token, None)
                    answered.append("nothing yet" if reply is None else f"{interfaces.status_name(reply[0] & 0xffff)} {reply[1][0]:#x}")
        except host_task.Died as death:
            print(f"{name} died again: it {death}", flush=True)
            return DIED_STATUS
    print(f"{name} went on" + (f" and answered {', '.join(answered)}" if answered else ""))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crash", metavar="CRASH", type=pathlib.Path)
    host_task.Gdb.add_options(parser)
    parser.add_argument("--core", metavar="FILE", type=pathlib.Path, help="instead: writes the dead instance as it was, its registers, stack "
                        "and variables, for gdb-multiarch")
    parser.add_argument("--another-build", action="store_true", help="also if the service was built anew since")
    parser.add_argument("--no-build", action="store_true", help="what is there is what is run")
    options = parser.parse_args()
    try:
        crash = crash_file.CrashFile(options.crash)
        plan = task_plan.TaskPlan.checked(crash.header["plan"])
        program = task_plan.program_of(prepare.BUILD, plan.service)
        if plan.service not in discover.services(prepare.ROOT) and not program.is_file():
            raise crash_file.BadCrash(f'is of a service "{plan.service}", which there is not')
        if plan.service == "supervisor":
            raise crash_file.BadCrash("is of the supervisor, which only the kernel can start")
        check_build(crash.header, plan.service, options.another_build)
        if options.core is not None:
            try:
                crash_core.write(options.core, crash, plan.regions)
            except OSError as error:
                raise InputError(f"--core {options.core}: {error.strerror}") from error
            print(f"gdb-multiarch {elf_of(plan.service)} {options.core}")
            return 0
        if not options.no_build:
            prepare.build([str(program.relative_to(prepare.BUILD))])
        task_plan.check_built(program)
        return replay(crash, plan, program, host_task.Gdb.of(options))
    except (crash_file.BadCrash, InputError) as error:
        text = str(error)
        print(f"atoll: {options.crash}: {text}", file=sys.stderr)
        return BAD_STATUS


if __name__ == "__main__":
    sys.exit(main())
