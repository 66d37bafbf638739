"""Builds Atoll and boots guests on it in QEMU. Without options: the demo, a Debian guest with a shell.

Standard input is the guest's console; Ctrl-A X leaves. Exit status: 0 when every VM powered off by itself (PSCI
SYSTEM_OFF), with --batch that of the script, 124 after --timeout, 2 for bad options or input; anything else comes
with a sentence that says why.
"""
import argparse
import math
import os
import signal
import sys

import launch
import machine_devices
import observe
import prepare
import session
from schemas import InputError

BAD_INPUT_STATUS = 2
TERMINATED_STATUS = 128 + signal.SIGTERM
ONE_VM = ("kernel", "initrd", "append", "memory_disk", "device", "vcpus", "memory", "batch")
MACHINE_CPUS_MAX = 8


def positive_seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


positive_seconds.__name__ = "number of seconds above 0"  # argparse's word for it


def make_parser(name: str, description: str) -> argparse.ArgumentParser:
    """The options that run and debug have in common."""
    parser = argparse.ArgumentParser(prog=name, description=description, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="FILE", help="a system description (proto/system.proto); excludes the "
                        "options of the one-VM shorthand")
    parser.add_argument("--file", metavar="NAME=PATH", action="append", default=[],
                        help="where a file is that the description names NAME (repeatable)")
    shorthand = parser.add_argument_group("one VM (what is left out is the demo's, without --kernel)")
    shorthand.add_argument("--kernel", metavar="FILE", help="arm64 Image, or any flat binary")
    shorthand.add_argument("--initrd", metavar="FILE")
    shorthand.add_argument("--append", metavar="STRING", help="kernel command line")
    shorthand.add_argument("--memory-disk", metavar="FILE", action="append",
                           help="disk image, copied into memory: the file is not written (repeatable)")
    shorthand.add_argument("--device", metavar="NAME[:CONFIG]", action="append", help="a device by its service, with its "
                           "configuration (docs/devices; repeatable)")
    shorthand.add_argument("--vcpus", type=int, metavar="N", help="1..8 (default 1)")
    shorthand.add_argument("--memory", type=int, metavar="MIB", help="default 512")
    shorthand.add_argument("--batch", metavar="FILE", help="run this shell script in the demo guest, then power off; "
                           "it has a fresh disk in memory unless told otherwise")
    parser.add_argument("--monitor", metavar="FILE", help="a script of monitor commands, a line each, executed in guest "
                        "time from the machine's start; one that fails ends the machine (docs/debugging.md)")
    parser.add_argument("--add", metavar="FILE", action="append", default=[], help="puts a file into the boot archive "
                        "under its own name, for the monitor's `upgrade` (repeatable)")
    machine = parser.add_argument_group("the machine below")
    machine.add_argument("--machine-cpus", type=int, metavar="N", default=1, help="1..8 (default 1)")
    machine.add_argument("--disk", metavar="FILE[,ro]", help="raw image file as the machine's disk: what is written "
                         "there stays. The one VM gets all of it, a description says who gets what (`physical`). "
                         "The demo has one of its own in the build folder")
    machine.add_argument("--net", action="store_true", help="gives a network to each VM that has none; all are on one "
                         "switch with the machine's network interface, which is on QEMU's user network. The demo has it")
    machine.add_argument("--forward", metavar="HOST:GUEST", action="append", default=[],
                         help=f"TCP connections to port HOST of {machine_devices.LOOPBACK} go to port GUEST of "
                         f"{machine_devices.FIRST_GUEST}, the first guest that asks for an address; or HOST:ADDRESS:GUEST "
                         "(repeatable)")
    machine.add_argument("--vsock", metavar="PATH", help="sockets between guests and this computer (CID 2): a guest's "
                         "connection to port P goes to the unix socket PATH_P; who connects to PATH and writes \"CONNECT CID "
                         "PORT\" gets that port of that guest. Each VM without a socket device is given one "
                         "(docs/devices/virtio-vsock.md)")
    machine.add_argument("--cpu", default="neoverse-n1", metavar="MODEL",
                        help="QEMU CPU model: neoverse-n1 (default), cortex-a76, max")
    machine.add_argument("--icount", action="store_true", help="deterministic: one instruction is one nanosecond")
    parser.add_argument("--timeout", type=positive_seconds, metavar="SECONDS")
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    return parser


def options_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> launch.Options:
    one_vm = [name for name in ONE_VM if getattr(arguments, name) is not None]
    if arguments.config is not None and one_vm:
        parser.error(f"--config describes everything: leave out --{one_vm[0].replace('_', '-')}")
    if arguments.batch is not None and (arguments.kernel is not None or arguments.initrd is not None):
        parser.error("--batch runs in the demo guest: leave out --kernel and --initrd")
    if not 1 <= arguments.machine_cpus <= MACHINE_CPUS_MAX:
        parser.error(f"--machine-cpus {arguments.machine_cpus} is not in 1..{MACHINE_CPUS_MAX}")
    if arguments.vsock is not None and arguments.icount:
        parser.error("--vsock with --icount: this computer would be too slow for guests whose time does not wait for it")
    forwards = []
    for text in arguments.forward:
        try:
            forwards.append(machine_devices.Forward.parse(text))
        except ValueError as error:
            parser.error(f"--forward {text}: {error}")
    for pair in arguments.file:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            parser.error(f"--file {pair}: must be NAME=PATH")
    return launch.Options(
        config=arguments.config, kernel=arguments.kernel, initrd=arguments.initrd, append=arguments.append,
        disks=arguments.memory_disk or [], devices=arguments.device or [], net=arguments.net, forwards=forwards, vsock=arguments.vsock, machine_cpus=arguments.machine_cpus,
        machine_disk=None if arguments.disk is None else machine_devices.Disk.parse(arguments.disk), vcpus=arguments.vcpus, memory=arguments.memory, cpu=arguments.cpu,
        icount=arguments.icount, batch=arguments.batch,
        monitor=arguments.monitor, added=arguments.add, files=dict(pair.split("=", 1) for pair in arguments.file))


def start(arguments: argparse.Namespace, options: launch.Options, then) -> int:
    """Builds, prepares the machine and gives it to `then`; bad input ends with a sentence."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED_STATUS))  # an exception: QEMU and files go, too
    if not arguments.no_build:
        launch.say("building")
        prepare.build(prepare.TARGET)
    try:
        with launch.Machine(options) as machine:
            machine.prepare()
            return then(machine)
    except InputError as error:
        launch.say(str(error))
        return BAD_INPUT_STATUS
    except KeyboardInterrupt:
        return session.INTERRUPTED_STATUS
    except BrokenPipeError:  # who read our output is gone; the interpreter shall not write the rest either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return session.FAILED_STATUS


def main() -> int:
    parser = make_parser("scripts/run", __doc__)
    observe.add_options(parser)
    arguments = parser.parse_args()
    options = options_of(parser, arguments)
    options.observed = observe.wanted(arguments)
    run = session.run_interactive if options.batch is None else session.run_batch

    def run_observed(machine: launch.Machine) -> int:
        with observe.observer(machine, arguments):
            return run(machine, arguments.timeout)

    return start(arguments, options, run_observed)


if __name__ == "__main__":
    sys.exit(main())
