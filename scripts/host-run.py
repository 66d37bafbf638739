"""Runs a service in a process of this computer, under ASan and UBSan, with a guest that a script plays.

  scripts/host-run NAME [SCRIPT] [--gdb]      docs/host-run.md tells the lines of a script; without SCRIPT: standard input

NAME is a service (virtio-rng), one with its configuration as in a description (virtio-console:columns:100), or with
--config an instance of that description (virtio-blk.linux.0). The exit status is 1 if a line is wrong or not met, or if
the service dies.
"""
import argparse
import itertools
import json
import pathlib
import re
import sys
import tempfile

import describe
import discover
import guest_script
import host_task
import interfaces
import launch
import prepare
import task_plan
from machine import DISK_SERVICE, NETWORK_SERVICE
from schemas import InputError, Schemas

OWN_SYSTEM = prepare.ROOT / "tests/host/system.textproto"
KERNEL = bytes(4096)  # whatever is flat can be loaded
PLAN = "plan "  # of a recording
REFUSED = {"supervisor": "is the other half of the kernel: its tests (tests/unit/supervisor) have a kernel for it"}


def service_of(name: str) -> str:
    """The service that NAME is of. Ends the program with a sentence if there is none."""
    service = name.partition(":")[0].partition(".")[0]
    if task_plan.program_of(prepare.BUILD, service).is_file() and re.fullmatch("[a-z0-9-]+", service):
        return service  # the tests have more than services/
    if service in REFUSED:
        raise InputError(f'"{service}" {REFUSED[service]}')
    known = [s for s in discover.services(prepare.ROOT) if s not in REFUSED]
    if service not in known:
        raise InputError(f'"{service}" is no service; there are {", ".join(known)}')
    return service


def plan_of(name: str, config: pathlib.Path | None, files: dict) -> tuple[task_plan.TaskPlan, bytes]:
    """What the task may touch, and its configuration. `config`: a description, None: a small one with all devices."""
    service, (_, given, text) = service_of(name), name.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        system = config
        if config is None:
            kernel, system = pathlib.Path(folder) / "kernel", pathlib.Path(folder) / "system.textproto"
            kernel.write_bytes(KERNEL)
            files = {"kernel": str(kernel)}
            own = OWN_SYSTEM.read_text()
            scope = scope_of(service)
            if scope == "SCOPE_SYSTEM":
                own += f"service: {launch.quote(service)}\n"
            elif given or scope == "SCOPE_DEVICE" and f'"{service}"' not in own:  # before the others, so that it is the first one
                own = own.replace('kernel: "kernel"', f'kernel: "kernel"\n  device {{ service: "{service}" config: {launch.quote(text)} }}')
            system.write_text(own)
        elif given:
            raise InputError("--config has its configuration")
        elif config.resolve() in launch.OWN_DISKS and not files:
            launch.make_images()
            files = launch.demo_files()
        try:
            plan, machine = describe.describe(system, [prepare.ROOT / "services"], files, seed=1)
        except InputError as error:
            raise InputError(str(error).replace(f"{folder}/", "")) from None
        label = name
        if config is None or "." not in name:
            instances = [i.label for i in machine.instances if i.service.name == service]
            label = instances[0] if instances else name
        images = {} if config is None else {file.name: str(file.path) for file in machine.files.values()}
        return task_plan.of_task(task_plan.records(plan, machine.schemas), machine.schemas, machine.services, label, images)


def recorded_plan(script: pathlib.Path) -> task_plan.TaskPlan | None:
    """Of a recording (gdb_record.py): its second line. None: a script."""
    with script.open(encoding="utf-8", errors="replace") as lines:
        text = next((line for line in itertools.islice(lines, 2) if line.startswith(PLAN)), None)
    if text is None:
        return None
    try:
        return task_plan.TaskPlan.checked(json.loads(text.removeprefix(PLAN)))
    except (ValueError, InputError) as error:
        raise InputError(f"{script}: line 2: {error}") from error


def scope_of(service: str) -> str:
    """SCOPE_DEVICE is for what a description names as a device."""
    own = Schemas("manifest").read_text("Manifest", prepare.ROOT / "services" / service / "manifest.textproto")
    scope = own.DESCRIPTOR.fields_by_name["scope"].enum_type.values_by_number[own.scope].name
    return "SCOPE_VM" if service in (DISK_SERVICE, NETWORK_SERVICE) else scope


def play(task: host_task.HostTask, lines, name: str) -> int:
    """The exit status of the script."""
    number = 0
    try:
        script = guest_script.GuestScript(task)
        for number, text in enumerate(lines, start=1):
            if not text.startswith(PLAN):
                script.line(text)
        script.start()
    except InputError as problem:
        print(f"{name}: line {number}: {problem}")
        return 1
    except host_task.Died as death:
        print(f"{name}: line {number}: {task.plan.instance} {death}")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/host-run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("script", metavar="SCRIPT", nargs="?", type=pathlib.Path)
    parser.add_argument("--config", metavar="FILE", type=pathlib.Path, help="a system description")
    parser.add_argument("--file", metavar="NAME=PATH", action="append", default=[], help="where a file is that it names NAME")
    host_task.Gdb.add_options(parser)
    parser.add_argument("--trace", action="store_true", help="prints what the service asks of the kernel")
    parser.add_argument("--no-build", action="store_true", help="what is there is what is run")
    options = parser.parse_args()
    try:
        service = service_of(options.name)
        gdb = host_task.Gdb.of(options)
        if gdb is not None and not gdb.commands and options.script is None:
            raise InputError("--gdb needs SCRIPT: what is typed is for gdb")
        if options.script is not None and not options.script.is_file():
            raise InputError(f"{options.script}: there is no such file")
        program = task_plan.program_of(prepare.BUILD, service)
        if not options.no_build:
            prepare.build([str(program.relative_to(prepare.BUILD))])
        task_plan.check_built(program)
        recorded = options.script and recorded_plan(options.script)
        if recorded:
            plan, config = recorded, None
            if service != plan.service:
                raise InputError(f"{options.script}: is a recording of {plan.instance}")
        else:
            plan, config = plan_of(options.name, options.config, dict(pair.split("=", 1) for pair in options.file))
        rpcs = interfaces.Interfaces(describe.load_schemas_of_interfaces())
    except InputError as error:
        sys.exit(f"atoll: {error}")
    show = lambda text: print(text, flush=True)  # noqa: E731
    with host_task.HostTask(plan, config, program, rpcs, gdb, show, show if options.trace else lambda text: None) as task:
        task.timer_fires = not recorded
        if options.script is None:
            return play(task, sys.stdin, "input")
        with options.script.open(encoding="utf-8", errors="replace") as lines:
            return play(task, lines, str(options.script))


if __name__ == "__main__":
    sys.exit(main())
