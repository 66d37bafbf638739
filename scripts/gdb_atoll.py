"""Commands for gdb (docs/debugging.md), sourced by scripts/debug: which task runs, with its own names.

All services are linked at the same address, so an address alone does not say which service it is in:
  atoll tasks              the tasks of the machine; * is the one that runs
  atoll where              the task that runs, and its backtrace with that service's names
  atoll break TASK PLACE   a breakpoint in one task only, e.g.: atoll break pl011.linux atoll::Pl011::Read
  $_atoll_task()           name of the task that runs ("" if it is a vCPU), for conditions of your own
"""
import json
import os
import re
import subprocess

import gdb

SETTINGS = json.loads(os.environ["ATOLL_GDB"])  # "elfs": path by service; "tasks": [name, service] by slot
SUPERVISOR = "supervisor"
FRAMES_MAX = 32
FRAME_RECORD = 16        # AAPCS64: saved x29 and x30
KERNEL_HALF = 1 << 63    # kernel addresses are in the upper half
ASID_SHIFT = 48          # TTBR0_EL2.ASID
HCR_TGE = 1 << 27        # HCR_EL2.TGE: EL0 is a task's, not a guest's


class Starts(gdb.Breakpoint):
    """Notes the tasks at each start of one. The first is the supervisor, whose handles name the others."""
    supervisor = 0
    names = {}           # (name, service) by the address of the kernel's object
    identifiers = {}     # the same by ASID

    def stop(self):
        task = pointer(register("x0"), "Task").dereference()  # StartTask(task, ...): its first instruction
        if Starts.supervisor == 0:
            Starts.supervisor = int(task.address)
            Starts._add(task, (SUPERVISOR, SUPERVISOR))
        handles = pointer(Starts.supervisor, "Task")["handles"]
        for slot, names in SETTINGS["tasks"].items():
            handle = handles[int(slot)]
            if int(handle["object"]):
                other = handle["object"].cast(gdb.lookup_type("atoll::Task").pointer())
                Starts._add(other.dereference(), tuple(names))
        return False

    @staticmethod
    def _add(task, names):
        Starts.names[int(task.address)] = names
        Starts.identifiers[int(task["asid"])] = names


def pointer(address: int, name: str) -> gdb.Value:
    return gdb.Value(address).cast(gdb.lookup_type("atoll::" + name).pointer())


def register(name: str) -> int:
    return int(gdb.parse_and_eval("$" + name)) % (1 << 64)


def current() -> tuple:
    """(name, service) of the task that this CPU runs; ("", "") if a vCPU runs or nothing yet."""
    level = register("cpsr") >> 2 & 3
    if level == 0 and register("HCR_EL2") & HCR_TGE:
        # QEMU translates gdb's addresses as this level may: the kernel's memory is out of reach here.
        return Starts.identifiers.get(register("TTBR0_EL2") >> ASID_SHIFT, ("unknown task", ""))
    cpu = register("TPIDR_EL2")
    if level != 2 or cpu < KERNEL_HALF:
        return "", ""
    thread = pointer(cpu, "Cpu")["current"]
    return Starts.names.get(int(thread), ("", ""))  # a Task begins with its Thread


def symbolize(elf: str, addresses: list) -> list:
    command = ["llvm-symbolizer-19", "--obj=" + elf, "--relativenames", "--pretty-print", "--no-inlines"]
    names = subprocess.run(command + [hex(a) for a in addresses], capture_output=True, text=True, check=True).stdout
    return names.split("\n\n") if "\n\n" in names.strip() else names.strip().splitlines()


def backtrace() -> list:
    """Addresses of the code that runs and of its callers, from the chain of frame records."""
    found, frame = [register("pc")], register("x29")
    memory = gdb.selected_inferior()
    while frame and len(found) < FRAMES_MAX:
        try:
            record = bytes(memory.read_memory(frame, FRAME_RECORD))
        except gdb.MemoryError:
            break
        caller = int.from_bytes(record[8:], "little")
        if caller == 0:
            break
        found.append(caller - 4)  # the call, not the instruction after it
        frame = int.from_bytes(record[:8], "little")
    return found


class Atoll(gdb.Command):
    """atoll tasks | atoll where | atoll break TASK PLACE (docs/debugging.md)"""

    def __init__(self):
        super().__init__("atoll", gdb.COMMAND_USER, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if words == ["tasks"]:
            self.tasks()
        elif words == ["where"]:
            self.where()
        elif len(words) == 3 and words[0] == "break":
            self.breakpoint(words[1], words[2])
        else:
            raise gdb.GdbError("usage: atoll tasks | atoll where | atoll break TASK PLACE")

    @staticmethod
    def tasks():
        running, _ = current()
        for address, (name, service) in Starts.names.items():
            print(f"{'*' if name == running else ' '} {name:24} {service:12} atoll::Task at {address:#x}")

    @staticmethod
    def where():
        name, service = current()
        if register("pc") >= KERNEL_HALF:
            print(f"in the kernel, for {name or 'a vCPU or nobody'}: `backtrace` shows it")
        elif service not in SETTINGS["elfs"]:
            print(name or "in a guest")
        else:
            print(name)
            for depth, line in enumerate(symbolize(SETTINGS["elfs"][service], backtrace())):
                print(f"  #{depth} {line.strip()}")

    @staticmethod
    def breakpoint(task, place):
        services = {SUPERVISOR: SUPERVISOR} | dict(SETTINGS["tasks"].values())
        if task not in services:
            raise gdb.GdbError(f"no task {task}; there are {', '.join(services)}")
        names = subprocess.run(["llvm-nm-19", "-C", SETTINGS["elfs"][services[task]]], capture_output=True, text=True,
                               check=True).stdout
        found = re.findall(rf"^([0-9a-f]+) [tT] {re.escape(place)}(?:\(.*)?$", names, re.MULTILINE)
        if not found:
            raise gdb.GdbError(f"service {services[task]} has no function {place}")
        for address in found:
            gdb.Breakpoint(f"*0x{address}").condition = f'$_streq($_atoll_task(), "{task}")'


class CurrentTask(gdb.Function):
    """Name of the task that this CPU runs."""

    def __init__(self):
        super().__init__("_atoll_task")

    def invoke(self):
        return current()[0]


Atoll()
CurrentTask()
Starts("*&atoll::StartTask", internal=True)
