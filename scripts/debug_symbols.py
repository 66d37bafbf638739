"""What gdb_atoll.py needs to know of a machine: where symbols are and which task is which."""
import pathlib

import launch
import task_plan


def task_names(machine: launch.Machine) -> dict[int, list[str]]:
    """[name, service] of each task by its slot among the supervisor's handles, from the plan."""
    plan = task_plan.records((machine.folder / "plan.pb").read_bytes(), launch.Schemas("plan"))
    return {r.task.slot: [r.task.name, pathlib.PurePath(r.task.elf).stem] for r in plan if r.HasField("task")}


def settings(machine: launch.Machine) -> dict:
    """As ATOLL_GDB has them."""
    folders = [machine.options.elfs or launch.TARGET / "services", *(elfs for _, elfs in machine.options.services)]
    elfs = {path.stem: str(path) for folder in folders for path in sorted(folder.glob("*.elf"))}
    return {"elfs": elfs, "tasks": task_names(machine)}
