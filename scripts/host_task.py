"""The kernel for one service that runs as a process of this computer: its calls, its memory, its end.

The process is BUILD/tests/host/host_NAME. Each of its calls comes over a socket as the registers of ipc/abi.h
(tests/host/host_kernel.cc); its memory is a file without a name that both have mapped and that outlives the process, as a
task's journal, rings and guest RAM outlive an instance.
"""
import collections
import dataclasses
import mmap
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

import interfaces
from schemas import InputError
from task_plan import PAGE, Region, TaskPlan

CALL, REPLY_WAIT, REPLY = 1, 2, 3   # ipc/abi.h
SET_SIGNAL, SET_IRQ_LINE, ACKNOWLEDGE_IRQ, SET_TIMER, LOG, EXIT, COMMIT_WINDOW = 8, 9, 10, 11, 12, 13, 14  # proto/kernel.proto
OK, NOT_FOUND, UNAVAILABLE = 0, 5, 14
REGISTERS, ANSWER = struct.Struct("<10Q"), struct.Struct("<11Q")
NEVER = (1 << 64) - 1
HERTZ = 62_500_000          # of QEMU's system counter
HANG_SECONDS = 20           # without a call to the kernel
WORK_MAX = 100_000          # rounds that a service may make without waiting for somebody
BLAMED, FAILED = 1 << 33, 1 << 32  # ipc/abi.h
# Registers of machine devices that a service would wait for: the PL011's output and input are empty.
DEVICE_REGISTERS = {"uart": {0x18: 0x90}}
FRAME = re.compile(r"^ *#\d+ 0x[0-9a-f]+ in (.+?) (\S+/(?:services|ipc|tests/(?!host/host_kernel))\S*?:\d+)", re.MULTILINE)
REPORT = re.compile(r"ERROR: \w+Sanitizer: (.+?)(?: on | \(|$)|runtime error: (.+)$", re.MULTILINE)


@dataclasses.dataclass
class Gdb:
    """A process that runs under gdb: somebody types there, or `commands` are what it does when the process has stopped."""
    breaks: list      # places where it stops
    commands: list

    @staticmethod
    def add_options(parser) -> None:
        parser.add_argument("--gdb", action="store_true", help="under gdb, which stops where it dies")
        parser.add_argument("--break", dest="breaks", metavar="PLACE", action="append", default=[], help="as --gdb, and stops there (repeatable)")
        parser.add_argument("--ex", metavar="COMMAND", action="append", default=[], help="as --gdb; gdb does this when it has stopped, "
                            "and ends (repeatable)")

    @classmethod
    def of(cls, options) -> "Gdb | None":
        return cls(options.breaks, options.ex) if options.gdb or options.breaks or options.ex else None

    def command(self, program: list) -> list:
        lines = ["set debuginfod enabled off", "set breakpoint pending on", *(f"break {place}" for place in self.breaks), "run", *self.commands]
        return ["gdb", "-q", *(["-batch"] if self.commands else []), *(word for line in lines for word in ("-ex", line)), "--args", *program]


class Died(Exception):
    """The service's process is gone. `where`: "FUNCTION at FILE:LINE", "" if nothing tells; `why`: a few words."""

    def __init__(self, why: str, where: str = ""):
        super().__init__(f"{why} in {where}" if where else why)
        self.why, self.where = why, where


@dataclasses.dataclass
class Delivery:
    """What ReplyWait gives: a call, or signals (token 0, the bits in words[0])."""
    label: int
    words: list
    badge: int = 0
    token: int = 0
    attempt: int = 1
    data: bytes = b""   # of a buffer message


class Memory:
    """The task's memory, at its addresses."""

    def __init__(self, regions: list):
        self.regions = regions
        self.file = os.memfd_create("task")
        self.offsets, size = [], PAGE  # the first page is the counter's
        for region in regions:
            self.offsets.append(size)
            size += -(-region.bytes // PAGE) * PAGE
        os.ftruncate(self.file, size)
        self.all = mmap.mmap(self.file, size)
        for region, offset in zip(regions, self.offsets):
            if region.path:
                data = pathlib.Path(region.path).read_bytes()[:region.bytes]
                self.all[offset:offset + len(data)] = data
            for register, value in DEVICE_REGISTERS.get(region.name, {}).items():
                struct.pack_into("<I", self.all, offset + register, value)

    def place(self, address: int, count: int) -> int:
        for region, offset in zip(self.regions, self.offsets):
            if region.holds(address, count):
                return offset + address - region.address
        raise InputError(f"the service has no {count} bytes of memory at {address:#x}")

    def read(self, address: int, count: int) -> bytes:
        at = self.place(address, count)
        return self.all[at:at + count]

    def write(self, address: int, data: bytes) -> None:
        at = self.place(address, len(data))
        self.all[at:at + len(data)] = data

    def region(self, name: str) -> Region:
        for region in self.regions:
            if region.name == name:
                return region
        raise InputError(f'there is no memory "{name}"; there are {", ".join(r.name for r in self.regions)}')


class HostTask:
    """One service and what it has told its kernel so far."""

    def __init__(self, plan: TaskPlan, config: bytes | None, program: pathlib.Path, rpcs: interfaces.Interfaces, gdb: Gdb | None = None,
                 say=lambda text: None, trace=lambda text: None):
        """config None: it is in memory already, or will be. `say`: for what the service logs; `trace`: for all that it
        asks of the kernel."""
        self.plan, self.program, self.rpcs, self.gdb, self.say, self.trace = plan, program, rpcs, gdb, say, trace
        self.memory = Memory(plan.regions)
        if config is not None:
            self.memory.write(self.memory.region("config").address, config)
        self.generation, self.flags = 0, 0
        self.ticks, self.deadline = 0, NEVER
        self.timer_fires = True             # a recording has its timer's signals
        self.work = collections.deque()     # of Delivery
        self.unanswered = {}                # Delivery by token
        self.replies = {}                   # (label, words, data) by token
        self.lines = {}                     # level by name of the handle
        self.signalled = collections.Counter()
        self.answers = collections.defaultdict(collections.deque)  # of peers and of the kernel, by rpc
        self.taken = []                     # what it was given, in order
        self.next_token = 1 << 48 | 1
        self.process = self.socket = None
        self._waiting = False               # in ReplyWait, which is not answered yet
        self._folder = tempfile.TemporaryDirectory(prefix="atoll-host-")
        self._errors = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()
        self._folder.cleanup()
        os.close(self.memory.file)

    # ---- its life ------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Starts an instance and lets it come to where it waits. Unanswered calls are delivered again."""
        path = f"{self._folder.name}/kernel"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            command = [str(self.program), path, f"/proc/{os.getpid()}/fd/{self.memory.file}"]
            if self.gdb:
                command = self.gdb.command(command)
                signal.signal(signal.SIGINT, lambda *_: None)  # ^C is gdb's
            self._errors = None if self.gdb else tempfile.TemporaryFile()
            environment = os.environ | {"UBSAN_OPTIONS": "print_stacktrace=1", "ASAN_OPTIONS": "detect_leaks=0:handle_abort=1"}
            if self.gdb:  # an end would leave nothing to look at
                environment |= {name: environment[name] + ":abort_on_error=1" for name in ("UBSAN_OPTIONS", "ASAN_OPTIONS")}
            if symbolizer := shutil.which("llvm-symbolizer-19"):
                environment |= {"ASAN_SYMBOLIZER_PATH": symbolizer, "UBSAN_SYMBOLIZER_PATH": symbolizer}
            self.process = subprocess.Popen(command, env=environment, stdin=None if self.gdb else subprocess.DEVNULL, stderr=self._errors)
            while not select.select([listener], [], [], 0.05)[0]:
                if self.process.poll() is not None:
                    raise self._death()
            self.socket = listener.accept()[0]
            os.unlink(path)
        self._show_ticks()
        self.socket.sendall(struct.pack("<4Q", len(self.plan.regions), self.plan.config_bytes, self.generation | self.flags, 0))
        for region, offset in zip(self.plan.regions, self.memory.offsets):
            self.socket.sendall(struct.pack("<4Q", region.address, -(-region.bytes // PAGE) * PAGE, offset, region.write))
        self.deadline = NEVER
        self.work.extendleft(dataclasses.replace(d, attempt=d.attempt + 1) for d in reversed(self.unanswered.values()))
        self.unanswered, self._waiting = {}, False
        self.run()

    def restart(self, flags: int = 0) -> None:
        self._end()
        self.generation, self.flags = self.generation + 1, flags
        self.start()

    def _end(self) -> None:
        if self.process is not None:
            if self.gdb:
                if self.socket is not None:
                    self.socket.close()  # its end for the process; gdb is the user's
                self.process.wait()
            self.process.kill()
            self.process.wait()
            self.process = None
        for file in (self.socket, self._errors):
            if file is not None:
                file.close()
        self.socket = self._errors = None

    def _death(self, why: str = "") -> Died:
        """After the process has hung up: why and where."""
        status = self.process.wait()
        self.process, text = None, ""
        if self._errors is not None:
            self._errors.seek(0)
            text = self._errors.read().decode(errors="replace")
            print(text, end="", file=sys.stderr, flush=True)
        found, frame = REPORT.search(text), FRAME.search(text)
        ended = "stopped under gdb" if self.gdb else f"ended with status {status}"
        why = why or (f"died of {found[1] or found[2]}" if found else ended)
        where = f"{frame[1]} at {frame[2][frame[2].rindex('../') + 3 if '../' in frame[2] else 0:]}" if frame else ""
        return Died(why, where)

    # ---- what happens to it --------------------------------------------------------------------------------------------
    def run(self, *deliveries: Delivery) -> None:
        """Gives it work, then lets it do all that it can until it waits."""
        self.work.extend(deliveries)
        rounds = 0
        while True:
            if self._waiting:
                if not self._deliver():
                    return
                self._waiting, rounds = False, rounds + 1
                if rounds > WORK_MAX:
                    raise Died(f"comes to no end: {WORK_MAX} rounds without waiting")
            registers = self._receive()
            number, handle = registers[0], registers[1]
            if number == CALL:
                self._answer(*self._peer(handle, registers))
            elif number in (REPLY_WAIT, REPLY):
                self._reply(handle, registers[2], list(registers[3:9]))
                if number == REPLY:
                    self._answer(OK)
                else:
                    self._waiting = True
            else:
                self._answer(*self._kernel_call(number, handle, list(registers[2:8])))

    def call(self, delivery: Delivery):
        """(label, words, data) of its reply; None if it set the call aside."""
        delivery.token = delivery.token or self.next_token
        self.next_token += 1
        self.run(delivery)
        return self.replies.pop(delivery.token, None)

    def signal(self, bits: int) -> None:
        self.run(Delivery(0, [bits, 0, 0, 0, 0, 0]))

    def pass_time(self, ticks: int) -> None:
        end = self.ticks + ticks
        while self.timer_fires and self.deadline <= end:
            self.ticks = max(self.ticks, self.deadline)
            self._show_ticks()
            self.run()
        self.ticks = end
        self._show_ticks()

    def _show_ticks(self) -> None:
        struct.pack_into("<2Q", self.memory.all, 0, self.ticks, HERTZ)

    # ---- its calls -----------------------------------------------------------------------------------------------------
    def _receive(self) -> tuple:
        data = b""
        while len(data) < REGISTERS.size:
            if not self.gdb and not select.select([self.socket], [], [], HANG_SECONDS)[0]:
                self.process.send_signal(signal.SIGABRT)  # the sanitizer tells where it is
                raise self._death("hangs")
            more = self.socket.recv(REGISTERS.size - len(data))
            if not more:
                raise self._death()
            data += more
        return REGISTERS.unpack(data)

    def _answer(self, *words: int) -> None:
        self.socket.sendall(ANSWER.pack(*words, *[0] * (11 - len(words))))

    def _deliver(self) -> bool:
        """Answers its ReplyWait if there is work."""
        if self.work:
            delivery = self.work.popleft()
        elif self.timer_fires and self.deadline <= self.ticks:
            self.deadline, delivery = NEVER, Delivery(0, [1 << self.plan.timer_bit, 0, 0, 0, 0, 0])
        else:
            return False
        if delivery.token:
            self.unanswered[delivery.token] = delivery
        if delivery.data:
            self.memory.write(self.memory.region("ipc").address, delivery.data)
        self.taken.append(delivery)
        self._answer(OK, delivery.label, *delivery.words, delivery.badge, delivery.token, delivery.attempt)
        return True

    def _reply(self, token: int, label: int, words: list) -> None:
        if token:
            data = self.memory.read(self.memory.region("ipc").address, min(label >> 32, PAGE))
            if self.unanswered.pop(token, None) is not None:
                self.replies[token] = (label, words, data)

    def _peer(self, handle: int, registers: tuple) -> tuple:
        name = self.plan.handles.get(handle)
        if name is None or self.plan.kinds[handle] != "ENDPOINT":
            return (NOT_FOUND,)
        rpc = self.rpcs.by_code.get(registers[2] & 0xffff)
        if rpc is None:
            return (OK, interfaces.STATUS.index("UNIMPLEMENTED"))
        known = f"{rpc.service.name}.{rpc.name}"
        request = self.memory.read(self.memory.region("ipc").address, registers[2] >> 32)
        self.trace(f"calls {known} {self.rpcs.show(rpc, rpc.request, registers[3:9], request)}")
        if not self.answers[known]:
            return (UNAVAILABLE,)
        status, words, data = self.answers[known].popleft()
        if data:
            self.memory.write(self.memory.region("ipc").address, data)
        return (OK, status | len(data) << 32, *words)

    def _kernel_call(self, number: int, slot: int, words: list) -> tuple:
        name = self.plan.handles.get(slot, "")
        rpc = self.rpcs.by_call.get(number)
        if number == LOG:
            text = self.memory.read(self.memory.region("ipc").address, min(words[0], PAGE)).decode(errors="replace")
            self.say(f"log: {text}")
            return (OK,)
        if number == EXIT:
            self.socket.close()
            self.process.wait()
            raise Died(f"ended itself with code {words[0]:#x}")
        if rpc is None:
            return (interfaces.STATUS.index("UNIMPLEMENTED"),)
        self.trace(f"{rpc.name} {name} {self.rpcs.show(rpc, rpc.request, words, b'')}".rstrip())
        if number not in (SET_TIMER, COMMIT_WINDOW) and not name:
            return (NOT_FOUND,)
        if number == SET_TIMER:
            self.deadline = words[0]
        elif number == SET_SIGNAL:
            self.signalled[name] += 1
        elif number == SET_IRQ_LINE:
            self.lines[name] = words[0]
        if self.answers[f"Kernel.{rpc.name}"]:
            status, reply, _ = self.answers[f"Kernel.{rpc.name}"].popleft()
            return (status, *reply)
        return (OK,)
