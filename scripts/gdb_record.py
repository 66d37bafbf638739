"""Inside gdb: writes what one service is given as a script that scripts/host-run plays (docs/host-run.md).

Breakpoints are before and behind each `svc` of its program. At a ReplyWait all of its memory is kept; when that returns,
what others have changed meanwhile becomes `memory` lines, the time that passed a `pass`, and what came a `call` or
`signal`. The line of a job is written when it is done, behind the answers that it got of peers and the kernel.
"""
import json

import gdb
import gdb_atoll
from gdb_atoll import register

CALL, REPLY_WAIT, REPLY = 1, 2, 3   # ipc/abi.h
TIMELESS = ("ipc", "config")        # regions of which changes are not written
SVC, MRS_CNTPCT = 0xd400_0001, 0xd53b_e020
HEARTBEAT = 1 << 61
CHUNK, GRAIN, LINE_BYTES = 1 << 16, 16, 2048
BLAMED, FAILED = 1 << 33, 1 << 32


def text_of(elf: str) -> tuple[int, bytes]:
    """Address and bytes of its segment that is executed."""
    data = open(elf, "rb").read()
    table, size, count = (int.from_bytes(data[at:at + n], "little") for at, n in ((32, 8), (54, 2), (56, 2)))
    for number in range(count):
        entry = data[table + number * size:][:size]
        kind, flags = (int.from_bytes(entry[at:at + 4], "little") for at in (0, 4))
        offset, address, length = (int.from_bytes(entry[at:at + 8], "little") for at in (8, 16, 32))
        if kind == 1 and flags & 1:
            return address, data[offset:offset + length]
    raise gdb.GdbError(f"{elf} has no code")


class Stop(gdb.Breakpoint):
    """Stops for one task only."""

    def __init__(self, address: int, name: str):
        super().__init__(f"*{address:#x}", internal=True)
        self.name = name

    def stop(self):
        return gdb_atoll.current()[0] == self.name


class Recorder:
    def __init__(self, name: str, plan: dict, path: str, rpcs, space_of):
        self.name, self.plan, self.rpcs, self.space_of = name, plan, rpcs, space_of
        self.file = open(path, "w", encoding="utf-8")
        start, code = text_of(gdb_atoll.SETTINGS["elfs"][plan["service"]])
        words = [int.from_bytes(code[at:at + 4], "little") for at in range(0, len(code) - 3, 4)]
        self.calls = [start + 4 * i for i, word in enumerate(words) if word == SVC]
        counters = [(start + 4 * i, word & 31) for i, word in enumerate(words) if word & ~31 == MRS_CNTPCT]
        if not self.calls or not counters:
            raise gdb.GdbError(f"{plan['service']} makes no calls, or reads no counter")
        self.counter = counters[0]
        for address in self.calls:
            Stop(address, name)
            Stop(address + 4, name)
        self.calls = set(self.calls)
        self.ticks, self.asked, self.line, self.before, self.token = 0, None, None, [], 0
        self.baseline, self.instances = None, 0
        self._write(f"# {name}, recorded\nplan {json.dumps(plan)}")

    # ---- what happens --------------------------------------------------------------------------------------------------
    def started(self, space, start: int) -> None:
        """An instance is about to run."""
        if self.instances == 0:
            config = next(r for r in self.plan["regions"] if r["name"] == "config")
            self._write(f"config {space.bytes(config['address'], self.plan['config_bytes']).hex()}")
            self._changes(space, None)
        else:
            self._flush()
            self._changes(space, self.baseline)
            self._write("restart failed" if start & FAILED else "restart blamed" if start & BLAMED else "restart")
        self.baseline = self._contents(space)
        self.instances += 1

    def stopped(self) -> None:
        """The machine stands at one of its places."""
        if self.instances == 0:
            return
        if register("pc") in self.calls:
            self.asked = [register(f"x{i}") for i in range(9)]
            if self.asked[8] in (REPLY_WAIT, REPLY):
                self._answered(self.asked[0], self.asked[1], self.asked[2:8])
            if self.asked[8] == REPLY_WAIT:
                self._flush()
                self.baseline = self._contents(self.space_of())
        elif self.asked is not None:
            asked, self.asked = self.asked, None
            given = [register(f"x{i}") for i in range(11)]
            if asked[8] == REPLY_WAIT:
                self._received(given)
            elif asked[8] == CALL:
                self._answer_of_peer(asked, given)
            elif asked[8] != REPLY:
                self._answer_of_kernel(asked, given)

    def close(self) -> None:
        self._flush()
        self.file.close()

    # ---- lines ---------------------------------------------------------------------------------------------------------
    def _write(self, text: str) -> None:
        self.file.write(text + "\n")

    def _flush(self) -> None:
        """The job is done: its line, behind what it needed."""
        for text in self.before:
            self._write(text)
        if self.line is not None:
            self._write(self.line)
        self.before, self.line, self.token = [], None, 0
        self.file.flush()

    def _received(self, given: list) -> None:
        status, label, words, badge, token, attempt = given[0], given[1], given[2:8], given[8], given[9], given[10]
        if status != 0:
            return
        self._changes(self.space_of(), self.baseline)
        now = self._now()
        if now > self.ticks:
            self._write(f"pass {now - self.ticks}ticks")
            self.ticks = now
        if token == 0:
            if words[0] & ~HEARTBEAT:
                self.line = f"signal {words[0] & ~HEARTBEAT:#x}"
            return
        rpc = self.rpcs.by_code.get(label & 0xffff)
        if attempt != 1 or rpc is None:
            return  # after `restart` it comes by itself
        data = self.space_of().bytes(next(r["address"] for r in self.plan["regions"] if r["name"] == "ipc"), label >> 32)
        fields = self.rpcs.show(rpc, rpc.request, words, data)
        self.line, self.token = f"call {rpc.service.name}.{rpc.name} {fields}{f' badge={badge}' if badge else ''}", token

    def _answered(self, token: int, label: int, words: list) -> None:
        if token == 0 or token != self.token:
            return
        rpc = self.rpcs.rpc(self.line.split()[1])
        self.line += f" -> {self._status(label)}"
        if label & 0xffff == 0 and rpc.registers:
            self.line += f" {self.rpcs.show(rpc, rpc.reply, words, b'')}"

    @staticmethod
    def _status(label: int) -> str:
        import interfaces
        return interfaces.status_name(label & 0xffff)

    def _answer_of_peer(self, asked: list, given: list) -> None:
        rpc = self.rpcs.by_code.get(asked[1] & 0xffff)
        if given[0] == 0 and rpc is not None:
            fields = self.rpcs.show(rpc, rpc.reply, given[2:8], b"") if rpc.registers else ""
            self.before.append(f"answer {rpc.service.name}.{rpc.name} {self._status(given[1])} {fields}".rstrip())

    def _answer_of_kernel(self, asked: list, given: list) -> None:
        rpc = self.rpcs.by_call.get(asked[8])
        if rpc is not None and (given[0] != 0 or not rpc.reply.empty):
            fields = self.rpcs.show(rpc, rpc.reply, given[1:7], b"") if given[0] == 0 else ""
            self.before.append(f"answer Kernel.{rpc.name} {self._status(given[0])} {fields}".rstrip())

    # ---- memory and time -----------------------------------------------------------------------------------------------
    def _contents(self, space) -> dict:
        """Of each region: its bytes in chunks, a page that is not there being zero."""
        return {r["name"]: [space.bytes(r["address"] + at, min(CHUNK, r["bytes"] - at)) for at in range(0, r["bytes"], CHUNK)]
                for r in self.plan["regions"] if r["name"] not in TIMELESS}

    def _changes(self, space, baseline: dict | None) -> None:
        for name, chunks in self._contents(space).items():
            for number, chunk in enumerate(chunks):
                old = baseline[name][number] if baseline is not None else bytes(len(chunk))
                if chunk != old:
                    self._change(name, number * CHUNK, old, chunk)

    def _change(self, name: str, offset: int, old: bytes, new: bytes) -> None:
        begin = None
        for at in range(0, len(new) + GRAIN, GRAIN):
            differs = at < len(new) and old[at:at + GRAIN] != new[at:at + GRAIN]
            if differs and begin is None:
                begin = at
            if begin is not None and (not differs or at - begin >= LINE_BYTES):
                self._write(f"memory {name}+{offset + begin:#x} {new[begin:at].hex()}")
                begin = at if differs else None

    def _now(self) -> int:
        """The system counter: the service's own instruction that reads it is executed once, out of turn."""
        address, number = self.counter
        pc, held = register("pc"), register(f"x{number}")
        gdb.execute(f"set $pc = {address:#x}")
        gdb.execute("stepi", to_string=True)
        now = register(f"x{number}")
        gdb.execute(f"set $x{number} = {held:#x}")
        gdb.execute(f"set $pc = {pc:#x}")
        return now
