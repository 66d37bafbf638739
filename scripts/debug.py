"""Like scripts/run, but stopped before the first instruction, with gdb attached and all symbols loaded.

The guest's console is a terminal of its own, whose name is printed; what it shows is also written to
BUILD/debug-console.log. docs/debugging.md tells how to work with it.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import debug_symbols
import launch
import run

CONSOLE_LOG = launch.BUILD / "debug-console.log"
SHOWN_PTY = re.compile(r"redirected to (\S+)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gdb_command(machine: launch.Machine, port: int, script: str | None) -> tuple[list[str], dict[str, str]]:
    settings = debug_symbols.settings(machine)
    commands = ["set pagination off", "set confirm off", f"file {launch.TARGET / 'kernel/kernel.elf'}",
                *(f"add-symbol-file {path}" for path in settings["elfs"].values()),
                f"target remote 127.0.0.1:{port}", f"source {launch.ROOT / 'scripts/gdb_atoll.py'}"]
    command = ["gdb-multiarch", "-q", "-nx", *(["-batch"] if script else [])]
    command += [part for line in commands for part in ("-ex", line)] + (["-x", script] if script else [])
    return command, os.environ | {"ATOLL_GDB": json.dumps(settings)}


def debug(machine: launch.Machine, script: str | None) -> int:
    """gdb's status; QEMU ends with it."""
    port = free_port()
    console = ["-chardev", f"pty,id=console,logfile={CONSOLE_LOG}", "-serial", "chardev:console"]
    command = machine.command(console) + ["-S", "-gdb", f"tcp:127.0.0.1:{port}"]
    # A session of its own: Ctrl-C is gdb's.
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        shown = SHOWN_PTY.search(qemu.stdout.readline())
        if not shown:
            launch.say(f"QEMU ended with status {qemu.wait()} before gdb could attach; its own message is above")
            return run.session.FAILED_STATUS
        launch.say(f"the guest's console is {shown[1]} (log: {CONSOLE_LOG})")
        arguments, environment = gdb_command(machine, port, script)
        return subprocess.run(arguments, env=environment).returncode
    finally:
        qemu.kill()
        qemu.wait()


def main() -> int:
    parser = run.make_parser("scripts/debug", __doc__)
    parser.add_argument("--commands", metavar="FILE", help="run these gdb commands, then end")
    arguments = parser.parse_args()
    options = run.options_of(parser, arguments)
    if arguments.timeout is not None:
        parser.error("--timeout: there is no time limit under gdb")
    if arguments.commands is not None and not pathlib.Path(arguments.commands).is_file():
        parser.error(f"--commands {arguments.commands}: there is no such file")
    return run.start(arguments, options, lambda machine: debug(machine, arguments.commands))


if __name__ == "__main__":
    sys.exit(main())
