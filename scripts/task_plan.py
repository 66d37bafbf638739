"""One task of a plan (proto/plan.proto): what it may touch, by the names that its manifest gives."""
import dataclasses
import pathlib

import manifest
from schemas import InputError

PAGE = manifest.PAGE
IPC_PAGE, CONFIG_PAGE, CONFIG_BYTES, JOURNAL_BASE = 0x1000_1000, 0x1000_3000, 16384, 0x1010_0000  # ipc/abi.h
TASK_SPACE, SIGNALS = 1 << 39, 64
SUPERVISOR_SIGNAL_SLOT, NO_TIMER_BIT = 2, 63  # planner.py


@dataclasses.dataclass
class Region:
    """Memory of the task. `path`: of the file that it is a copy of."""
    name: str
    address: int
    bytes: int
    write: bool
    path: str = ""

    def holds(self, address: int, count: int) -> bool:
        return self.address <= address and address + count <= self.address + self.bytes


@dataclasses.dataclass
class TaskPlan:
    instance: str            # "virtio-blk.guest.0"
    service: str
    config_bytes: int
    timer_bit: int
    regions: list            # of Region
    handles: dict            # name of each slot that is not empty, by slot
    kinds: dict              # its object's type, likewise
    signals: dict            # (first bit, count) by name
    ranges: list             # names of what it serves to guests; the index is the badge
    doorbells: list          # (badge, offset, first bit, count)

    def as_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def checked(cls, values: dict) -> "TaskPlan":
        """What as_json gave, from a file: InputError if it makes no sense."""
        try:
            plan = cls(**values)
            plan.regions = [Region(**r | {"path": ""}) for r in plan.regions]  # the file has its content
            plan.handles, plan.kinds = ({int(k): v for k, v in d.items()} for d in (plan.handles, plan.kinds))
            whole = plan._makes_sense()
        except (TypeError, KeyError, ValueError, AttributeError):
            whole = False
        if not whole:
            raise InputError("has a plan of its task that makes no sense")
        return plan

    def _makes_sense(self) -> bool:
        strings = [self.instance, self.service, *self.handles.values(), *self.kinds.values(), *self.ranges, *(r.name for r in self.regions)]
        numbers = [self.config_bytes, self.timer_bit, *(n for r in self.regions for n in (r.address, r.bytes)),
                   *(n for first, count in self.signals.values() for n in (first, count)), *(n for bell in self.doorbells for n in bell)]
        if not all(isinstance(s, str) for s in strings) or not all(type(n) is int and 0 <= n < TASK_SPACE for n in numbers):
            return False
        ends = sorted((r.address, r.address + r.bytes) for r in self.regions)
        return {"ipc", "config"} <= {r.name for r in self.regions} and self.timer_bit < SIGNALS and set(self.handles) == set(self.kinds) \
            and all(first + count <= SIGNALS for first, count in self.signals.values()) and all(len(bell) == 4 for bell in self.doorbells) \
            and all(start % PAGE == end % PAGE == 0 and start < end <= TASK_SPACE for start, end in ends) \
            and all(one[1] <= other[0] for one, other in zip(ends, ends[1:]))


def records(plan: bytes, schemas) -> list:
    """The records of a plan."""
    found, at, message = [], 0, schemas.message("PlanRecord")
    while at < len(plan):
        length, shift = 0, 0
        while True:  # a varint
            byte = plan[at]
            at += 1
            length |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(message.FromString(plan[at:at + length]))
        at += length
    return found


def _names(service) -> tuple[dict, dict]:
    """Of handles by slot and of mappings by address, parts of counted ones as NAME.INDEX."""
    slots, addresses = {}, {}
    for h in service.manifest.handle:
        for i in range(h.count or 1):
            slots[service.slots[h.name] + i] = f"{h.name}.{i}" if h.count else h.name
    for m in service.manifest.mapping:
        for i in range(m.count or 1):
            addresses[service.addresses[m.name] + i * m.bytes] = f"{m.name}.{i}" if m.count else m.name
    return slots, addresses


def of_task(all_records: list, schemas, services: dict, label: str, files: dict) -> tuple[TaskPlan, bytes]:
    """The task `label` of a plan's records, and its start configuration. `files`: paths by name in the boot archive.
    InputError if there is none."""
    tasks = {r.task.name: r.task for r in all_records if r.HasField("task")}
    if label not in tasks:
        raise InputError(f'there is no "{label}"; there are {", ".join(tasks)}')
    task = tasks[label]
    service = services[pathlib.PurePath(task.elf).stem]
    own = service.manifest
    types = {number: name.removeprefix("OBJECT_") for name, number in schemas.enum("ObjectType").items()}
    write = schemas.enum("Right")["RIGHT_WRITE"]
    objects = {SUPERVISOR_SIGNAL_SLOT: "SIGNAL"} | {r.object.slot: types[r.object.type] for r in all_records if r.HasField("object")}
    memories = {r.memory.slot: r.memory for r in all_records if r.HasField("memory")}
    slots, addresses = _names(service)
    config = bytearray()
    result = TaskPlan(label, own.name, task.config_bytes, next((s.bit for s in own.signal if s.timer), NO_TIMER_BIT), [], {},
                      {}, {s.name: (s.bit, s.count or 1) for s in own.signal}, [m.name for m in own.mmio],
                      [(badge, d.offset, service.signal(d.bit).bit, service.signal(d.bit).count or 1)
                       for badge, m in enumerate(own.mmio) for d in m.doorbell])
    result.regions = [Region("ipc", IPC_PAGE, PAGE, True), Region("config", CONFIG_PAGE, CONFIG_BYTES, False)]
    for record in all_records:
        if record.HasField("config") and record.config.task == task.slot:
            config[record.config.offset:] = record.config.data
        elif record.HasField("grant") and record.grant.task == task.slot:
            result.handles[record.grant.slot] = slots[record.grant.slot]
            result.kinds[record.grant.slot] = objects[record.grant.object]
        elif record.HasField("mapping") and record.mapping.space == task.slot:
            mapping = record.mapping
            address = mapping.address
            memory = memories[mapping.memory]
            name = "journal" if address == JOURNAL_BASE else addresses[address]
            result.regions.append(Region(name, address, mapping.bytes, bool(mapping.rights & write), files.get(memory.file, "")))
    return result, bytes(config)


def program_of(build: pathlib.Path, service: str) -> pathlib.Path:
    return build / "tests/host" / f"host_{service}"


def check_built(program: pathlib.Path) -> None:
    if not program.is_file():
        raise InputError(f"{program} was not built: not with --no-build")
