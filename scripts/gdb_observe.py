"""Inside gdb, beside a machine that scripts/run starts with --crash-dir: writes a file of each service that dies.

The kernel's place where a task dies is a breakpoint: there everything stands still. What the kernel knows is read by the
names of its source; memory is read from the file that is the machine's RAM, through the task's own page table.
observe.py starts this, with ATOLL_OBSERVE as JSON: "ram": that file, "folder": where files of crashes go, "limit": how
many, "plans": a TaskPlan of each task by name; and ATOLL_GDB, as scripts/debug does.
"""
import hashlib
import json
import mmap
import os
import pathlib
import sys
import time

import gdb

OBSERVE = json.loads(os.environ["ATOLL_OBSERVE"])
sys.dont_write_bytecode = True
sys.path.insert(0, OBSERVE["scripts"])
import crash_file  # noqa: E402
import gdb_atoll  # noqa: E402
from gdb_atoll import pointer, register  # noqa: E402

PAGE = 4096
RAM_BASE = 0x4000_0000       # of QEMU's virt machine
CAUSES = ("none", "fault", "exit", "killed", "deadline", "bad call", "flood")  # DeathCause of proto/kernel.proto
KILLED = 3
MMIO_ACCESS, SMCCC = 0x100, 0x200  # labels: proto/device.proto
# Translation tables, 4 KiB granule, 39 bits (DDI0487, D8.3).
LEVELS = ((30, 1 << 30), (21, 1 << 21), (12, 1 << 12))
MRS_CNTPCT, FUNCTION_MAX = 0xd53b_e020, 256  # mrs x0, cntpct_el0
TTBR_ADDRESS = 0x0000_ffff_ffff_fffe
ADDRESS_BITS, AP_EL0, AP_READ_ONLY = 0x0000_ffff_ffff_f000, 1 << 6, 1 << 7


def say(text: str) -> None:
    os.write(2, f"atoll: {text}\n".encode())  # gdb's own streams may be caught by a command under way


class Ram:
    """The machine's, by physical address."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, address: int, count: int) -> bytes | None:
        at = address - RAM_BASE
        return self.map[at:at + count] if 0 <= at and at + count <= len(self.map) else None

    def mappings(self, table: int, level: int = 0, base: int = 0):
        """(address, physical address, bytes, writable) of all that EL0 reaches."""
        shift, size = LEVELS[level]
        entries = self.read(table, PAGE)
        for index in range(PAGE // 8):
            entry = int.from_bytes(entries[8 * index:8 * index + 8], "little")
            address = base + (index << shift)
            if entry & 3 == 3 and level < 2:
                yield from self.mappings(entry & ADDRESS_BITS, level + 1, address)
            elif entry & 1 and entry & AP_EL0:
                yield address, entry & ADDRESS_BITS & -size, size, not entry & AP_READ_ONLY


class Space:
    """A task's memory at this moment."""

    def __init__(self, ram: Ram, root: int):
        self.ram, self.pages = ram, {}
        self.blocks = list(ram.mappings(root & -PAGE))
        for address, physical, size, _ in self.blocks:
            for at in range(0, size, PAGE):
                self.pages[address + at] = physical + at

    def page(self, address: int) -> bytes | None:
        physical = self.pages.get(address)
        return None if physical is None else self.ram.read(physical, PAGE)

    def bytes(self, address: int, count: int) -> bytes:
        """Whatever is not there is zero."""
        found, end = bytearray(), address + count
        while address < end:
            page = address & -PAGE
            physical, size = self.pages.get(page), PAGE - (address - page)
            # As much as lies one behind the other.
            while physical is not None and address + size < end and self.pages.get(address + size) == physical + address - page + size:
                size += PAGE
            size = min(size, end - address)
            found += (physical is not None and self.ram.read(physical + address - page, size)) or bytes(size)
            address += size
        return bytes(found)

    def others(self, regions: list) -> list:
        """[address, bytes] of what the plan does not name: image, stack, statistics."""
        known, found = [(r["address"], r["address"] + r["bytes"]) for r in regions], []
        for address, _, size, _ in self.blocks:
            if any(start <= address < end for start, end in known):
                continue
            if found and sum(found[-1]) == address:
                found[-1][1] += size
            else:
                found.append([address, size])
        return found


def as_task(thread) -> gdb.Value:
    return thread.cast(gdb.lookup_type("atoll::Task").pointer()).dereference()


def call_of(thread) -> dict:
    """What ReplyWait gave the server for this caller: BuildRequest of kernel/ipc.cc."""
    caller = thread.dereference()
    x = [int(caller["frame"]["x"][i]) for i in range(31)]
    kind, data = int(caller["blocked_on"]), b""
    if kind == 0:
        label, words, badge = x[1], x[2:8], int(caller["badge"])
        count = min(label >> 32, PAGE)
        if count and not caller["vcpu"]:
            data = bytes(gdb.selected_inferior().read_memory(int(as_task(thread)["ipc_page"]), count))
    elif kind == 1:
        syndrome = int(caller["mmio_syndrome"])  # ISS of a data abort: SAS, SRT, WnR
        size, source, write = 1 << (syndrome >> 22 & 3), syndrome >> 16 & 31, syndrome >> 6 & 1
        value = x[source] & (1 << 8 * size) - 1 if write and source != 31 else 0
        label, words, badge = MMIO_ACCESS, [int(caller["mmio_offset"]), size, write, value, 0, 0], int(caller["mmio_range"]["badge"])
    else:
        vcpu = thread.cast(gdb.lookup_type("atoll::Vcpu").pointer()).dereference()
        label, words, badge = SMCCC, [*x[:4], int(kind == 3), 0], int(vcpu["index"])
    token = int(caller["token"])
    attempt = 1 + (int(caller["deaths"]) if int(caller["died_token"]) == token else 0)
    return {"label": label, "words": words, "badge": badge, "token": token, "attempt": attempt, "data": data.hex()}


def calls_of(task) -> list:
    """Those that it set aside, then the one that it was at."""
    found, thread = [], task["owed"]["head_"]
    while int(thread):
        found.append(call_of(thread))
        thread = thread["queue_node"]["next"]
    return found + ([call_of(task["serving"])] if int(task["serving"]) else [])


class Instances(gdb.Breakpoint):
    """Notes of each instance what it was started with."""
    started = {}  # x4 of StartTask by task

    recorder, ram = None, None

    def stop(self):
        address = register("x0")
        Instances.started[address] = register("x4")
        recorder = Instances.recorder
        if recorder is not None and gdb_atoll.Starts.names.get(address, ("",))[0] == recorder.name:
            try:
                recorder.started(space_of(Instances.ram, address), register("x4"))
            except Exception as error:
                say(f"the recording failed: {type(error).__name__}: {error}")
        return False


def counter_read(function: str) -> tuple[str, str]:
    """The place behind the function's first read of CNTPCT_EL0, and the register that has it."""
    start = int(gdb.parse_and_eval(f"(unsigned long)&{function}"))
    for at in range(start, start + FUNCTION_MAX, 4):
        word = int.from_bytes(bytes(gdb.selected_inferior().read_memory(at, 4)), "little")
        if word & ~31 == MRS_CNTPCT:
            return f"*{at + 4:#x}", f"x{word & 31}"
    raise gdb.GdbError(f"{function} reads no counter")


class Deaths(gdb.Breakpoint):
    """Where a task begins to die. The kernel's lock is held until it has."""
    task, cause = 0, 0

    def stop(self):
        Deaths.task, Deaths.cause = register("x0"), register("x1")
        return False


class Snapshots(gdb.Breakpoint):
    """A little later, where the time of its death has been read."""
    written = 0

    def __init__(self, place, time, ram):
        super().__init__(place, internal=True)
        self.time, self.ram = time, ram

    def stop(self):
        try:
            self._death(Deaths.task, Deaths.cause, register(self.time))
        except Exception as error:  # the machine goes on, whatever this tool has got wrong
            say(f"a crash could not be written: {type(error).__name__}: {error}")
        return False

    def _death(self, address: int, cause: int, ticks: int) -> None:
        task = pointer(address, "Task").dereference()
        name, service = gdb_atoll.Starts.names.get(address, ("", ""))
        if cause == KILLED or name not in OBSERVE["plans"]:
            return
        if Snapshots.written >= OBSERVE["limit"]:
            return
        Snapshots.written += 1
        path = pathlib.Path(OBSERVE["folder"]) / f"{name}-{Instances.started.get(address, 0) & 0xffff_ffff}.crash"
        plan = OBSERVE["plans"][name]
        space = Space(self.ram, int(task["root"]["value"]))
        others = space.others(plan["regions"])
        frame = task["frame"]
        start = Instances.started.get(address, 0)
        header = {
            "build": hashlib.sha256(pathlib.Path(gdb_atoll.SETTINGS["elfs"][service]).read_bytes()).hexdigest(),
            "generation": start & 0xffff_ffff, "start": start, "cause": CAUSES[cause] if cause < len(CAUSES) else str(cause),
            "pc": int(frame["pc"]), "esr": int(task["death_esr"]), "far": int(task["death_far"]),
            "registers": [int(frame["x"][i]) for i in range(31)] + [int(frame["sp_el0"]), int(frame["pc"]), int(frame["pstate"])],
            "ticks": ticks, "calls": calls_of(task), "signals": int(task["signals"]["_M_i"]),
            "took_signals": bool(task["took_signals"]), "plan": plan, "others": others}
        regions = [(lambda page, base=base: space.page(base + page * PAGE), -(-count // PAGE))
                   for base, count in [(r["address"], r["bytes"]) for r in plan["regions"]] + others]
        crash_file.write(path, header, regions)
        say(f"{name} died ({header['cause']}): {path}")


def space_of(ram: Ram, task: int) -> Space:
    return Space(ram, int(pointer(task, "Task").dereference()["root"]["value"]))


def make_recorder(ram: Ram):
    """What --record asks for; None without."""
    if not OBSERVE["record"]:
        return None
    import describe
    import gdb_record
    import interfaces
    name, path = OBSERVE["record"]

    def own_space() -> Space:
        root = register("TTBR0_EL2") & TTBR_ADDRESS
        if name not in spaces or spaces[name][0] != root:
            spaces[name] = root, Space(ram, root)
        return spaces[name][1]

    spaces = {}
    return gdb_record.Recorder(name, OBSERVE["plans"][name], path, interfaces.Interfaces(describe.load_schemas_of_interfaces()), own_space)


def wait_for(path: str) -> None:
    end = time.monotonic() + OBSERVE["seconds"]
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise gdb.GdbError("QEMU did not start")
        time.sleep(0.01)


def main() -> None:
    wait_for(OBSERVE["socket"])
    gdb.execute(f"target remote {OBSERVE['socket']}")
    ram = Ram(OBSERVE["ram"])
    Instances("*&atoll::StartTask", internal=True)
    Deaths("*&atoll::Die", internal=True)
    Snapshots(*counter_read("atoll::Die"), ram)
    Instances.ram = ram
    recorder = Instances.recorder = make_recorder(ram)
    try:
        while True:
            gdb.execute("continue", to_string=True)
            if recorder is not None:
                recorder.stopped()
    except gdb.error as error:
        if not any(end in str(error) for end in ("Remote connection closed", "disconnected", "not being run", "No registers")):
            say(f"gdb: {error}")
    if recorder is not None:
        recorder.close()


main()
