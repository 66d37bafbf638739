"""A gdb beside a running machine that writes files of services' deaths (scripts/run --crash-dir); gdb_observe.py is in it."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import debug_symbols
import describe
import launch
import task_plan
from schemas import InputError

CRASHES = 16
START_SECONDS = 60       # until QEMU listens
GDB = "gdb-multiarch"
SHARED_MEMORY = pathlib.Path("/dev/shm")


def add_options(parser) -> None:
    group = parser.add_argument_group("what is kept of it (docs/debugging.md)")
    group.add_argument("--crash-dir", metavar="DIR", help="writes DIR/NAME-GENERATION.crash of each service that dies by itself, for "
                       "scripts/replay; the machine stands still meanwhile")
    group.add_argument("--record", metavar=("NAME", "FILE"), nargs=2, help="writes what the service NAME (virtio-blk.guest.0) is given, "
                       "for scripts/host-run; slow")
    group.add_argument("--crashes", metavar="N", type=int, default=CRASHES, help=f"so many of them at most (default {CRASHES})")


def wanted(arguments) -> bool:
    return arguments.crash_dir is not None or arguments.record is not None


class Observer:
    """Use as a context around the machine's run."""

    def __init__(self, machine: launch.Machine, settings: dict):
        if shutil.which(GDB) is None:
            raise InputError(f"there is no {GDB}, which looks into the machine: scripts/setup installs it")
        self.machine, self.settings = machine, settings
        self.socket, self.log = machine.folder / "gdb", machine.folder / "gdb.log"
        self.ending = False

    def _qemu(self, memory_mib: int) -> list[str]:
        """RAM in a file that gdb's script reads, and QEMU's server for gdb."""
        with open(self.ram, "wb") as file:
            file.truncate(memory_mib << 20)
        return ["-object", f"memory-backend-file,id=ram,size={memory_mib}M,mem-path={self.ram},share=on", "-machine", "memory-backend=ram",
                "-S", *self._clock(), "-chardev", f"socket,path={self.socket},server=on,wait=off,id=gdb", "-gdb", "chardev:gdb"]

    def _clock(self) -> list[str]:
        """With sleep=off, QEMU 7.2 sometimes stops for good after a breakpoint. Guest time is the same with it."""
        return ["-icount", "shift=0,sleep=on"] if self.machine.options.icount else []

    def __enter__(self):
        self._ram_folder = tempfile.TemporaryDirectory(prefix="atoll-ram-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
        self.ram = pathlib.Path(self._ram_folder.name) / "ram"
        self.machine.observed = self._qemu
        settings = {"ram": str(self.ram), "socket": str(self.socket), "seconds": START_SECONDS, "scripts": str(launch.ROOT / "scripts"),
                    **self.settings}
        environment = os.environ | {"ATOLL_GDB": json.dumps(debug_symbols.settings(self.machine)), "ATOLL_OBSERVE": json.dumps(settings)}
        command = [GDB, "-q", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set trust-readonly-sections on", "-ex",
                   f"file {launch.TARGET / 'kernel/kernel.elf'}", "-x", str(launch.ROOT / "scripts/gdb_observe.py")]
        with open(self.log, "w", encoding="utf-8") as log:
            self.gdb = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.thread.start()
        return self

    def _wait(self):
        if self.gdb.wait() != 0 and not self.ending:  # the machine would wait for it for ever
            os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(self, *_):
        self.ending = True
        try:
            self.gdb.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.gdb.kill()
        self.thread.join()
        self._ram_folder.cleanup()
        text = self.log.read_text(errors="replace")
        for line in text.splitlines():
            if line.startswith("atoll: "):
                launch.say(line.removeprefix("atoll: "))
        if self.gdb.returncode != 0:
            launch.say(f"gdb, which was to look on, ended with status {self.gdb.returncode}: {text.strip()[-500:]}")


def services_of(machine: launch.Machine) -> tuple:
    schemas = describe.load_schemas()
    return schemas, describe.load_services(schemas, launch.ROOT / "services", *(manifests for manifests, _ in machine.options.services))


def plans(machine: launch.Machine) -> dict:
    """A TaskPlan of each task, by name."""
    schemas, services = services_of(machine)
    records = task_plan.records((machine.folder / "plan.pb").read_bytes(), schemas)
    names = [r.task.name for r in records if r.HasField("task")]
    return {name: task_plan.of_task(records, schemas, services, name, {})[0].as_json() for name in names}


def observer(machine: launch.Machine, arguments):
    """An Observer if the options ask for one."""
    if not wanted(arguments):
        return contextlib.nullcontext()
    if arguments.crashes < 1:
        raise InputError(f"--crashes {arguments.crashes}: is not above 0")
    settings = {"folder": "", "limit": 0, "plans": plans(machine), "record": None}
    if arguments.crash_dir is not None:
        try:
            os.makedirs(arguments.crash_dir, exist_ok=True)
        except OSError as error:
            raise InputError(f"--crash-dir {arguments.crash_dir}: {error.strerror}") from error
        settings |= {"folder": str(pathlib.Path(arguments.crash_dir).resolve()), "limit": arguments.crashes}
    if arguments.record is not None:
        settings["record"] = check_recording(machine, *arguments.record, settings["plans"])
    return Observer(machine, settings)


def check_recording(machine: launch.Machine, name: str, path: str, known: dict) -> list[str]:
    if name not in known:
        raise InputError(f'--record {name}: there is no such service; there are {", ".join(known)}')
    own = services_of(machine)[1][known[name]["service"]].manifest
    if any(m.what == m.DEVICE for m in own.mapping):
        raise InputError(f"--record {name}: it uses registers of the machine, which no recording has")
    try:
        pathlib.Path(path).write_text("")
    except OSError as error:
        raise InputError(f"--record {path}: {error.strerror}") from error
    return [name, str(pathlib.Path(path).resolve())]
