"""The machines of a campaign: guests that know what each answer of their devices must be, and their services."""
import dataclasses
import os

import campaign_faults
import launch
import machine_devices
import prepare

# Of the bare-metal oracle (guests/oracle): what each kind of work uses of a VM's services, and of the machine's.
VM_SERVICES = {"disk": ["virtio-blk"], "net": ["virtio-net"], "uart": ["pl011"], "console": ["pl011"], "rtc": ["pl031"],
               "gic": ["vgic"], "vcpu": ["vmm"], "reset": [], "rng": ["virtio-rng"], "ports": ["virtio-console"],
               "vsock": ["virtio-vsock"], "wdog": ["sp805"], "gpio": ["pl061"]}
SYSTEM_SERVICES = {"disk": [], "net": ["vswitch"], "console": ["console"], "ports": ["port-switch"], "vsock": ["vsock-switch"]}
WORK = tuple(VM_SERVICES)
DEVICES = ("rng", "ports", "vsock", "wdog", "gpio")  # work with devices that a VM has only if its description says so
IN_SLOTS = ("disk", "net", *DEVICES)  # of virtio slots, in this order
REPORTING_ORDER = (*IN_SLOTS, "uart", "rtc", "gic", "vcpu", "console")
WITH_PEER = ("net", "vsock")          # work that takes two VMs
VARIANTS = 2                          # of work that is swept in turns: sweeps of even and odd seeds
PRESS_EVERY_US = 3_000_000            # of the power button; what comes within two seconds is one press
BARE_VMS = ("left", "right")
PRESSED_VM = "left"
RESETTING_VM = "phoenix"
VSOCK_PORT, LISTENING_CID = 5000, 4  # of the stream of sockets (guests/oracle/sockets.cc); of the VM that waits for it
MEMORY_MIB, DISK_MIB = 16, 2
GAP_US, REST_US = 10_000, 300_000  # between two faults; between two of one service
BOOT_US = 0  # a bare-metal guest is there at once
SETTLE_US = 100_000
RESET_US = 260_000  # a VM starts a quarter of a second after its last start at the soonest
RESET_PAUSE_US = 220_000  # ... and is there for so long before it resets


@dataclasses.dataclass
class Options:
    """How guests work."""
    pause_us: int = 100       # between two rounds
    depth: int = 16           # requests of a disk at a time, or frames; 1: one after the other
    span: int = 8             # sectors of a request
    variant: int | None = None  # of a sweep, whose seed says what is done beside what else; None: all of it
    until_key: bool = False   # they end when a `q` is typed, not only when the time is over
    alone: bool = False       # one VM, if its work needs no peer: no other takes turns on the CPU
    icount: bool = False      # nothing of the host's
    devices: tuple[str, ...] = ()  # further ones of the first VM: NAME or NAME:CONFIG
    exercises: tuple[str, ...] = ()  # of a Linux guest: commands that use them, again and again
    machine_disk: bool = False  # a part of it is each VM's disk
    by_host: bool = False     # sockets' streams go by way of this computer


@dataclasses.dataclass
class Workload:
    text: str                 # the description
    files: dict[str, str]
    services: list[str]       # tasks that may be hit
    expected: dict[str, list[str]]  # of each VM: the oracles that must say ok at the end, in that order
    machine_disk: machine_devices.Disk | None = None
    listener: str = ""        # VM whose oracle listens to the console, until it is told to end
    types: bool = False       # ... and prints what is typed there
    relayed: range = range(0)  # ports of this computer that lead to those of the last VM that works
    forwards: list[machine_devices.Forward] = dataclasses.field(default_factory=list)
    numbers: dict[tuple[str, str], dict[str, int]] = dataclasses.field(default_factory=dict)  # that (VM, oracle) must report


def first_lines(work: list[str]) -> str:
    """Of the script: a button is pressed when somebody looks."""
    return f'expect {PRESSED_VM} "oracle: {PRESSED_VM}.gpio line 0"\n' if "gpio" in work else ""


def describe(work: list[str], duration_us: int, options: Options) -> Workload:
    """Two VMs that use everything and send each other frames, and one that resets, as far as `work` names it."""
    kinds = [name for name in REPORTING_ORDER if name in work]
    milliseconds = duration_us // 1000
    text, services, expected = f"heartbeat_ms: {campaign_faults.HEARTBEAT_MS}\n", [], {}
    # One is enough for work that no peer and no neighbour has to do with.
    alone = (options.until_key or options.alone) and not set(kinds) & set(WITH_PEER)
    vms = () if not kinds else BARE_VMS[:1] if alone else BARE_VMS
    for index, vm in enumerate(vms):
        line = (f"name={vm} work={','.join(kinds)} ms={milliseconds} pause={options.pause_us} "
                f"own={index} peer={index if alone else 1 - index} "
                f"depth={options.depth} span={options.span}{' until=key' if options.until_key else ''}"
                f"{' vsock=host' if options.by_host else ''}"
                f"{'' if options.variant is None else f' variant={options.variant}'}")
        content = (f"physical {{ first_mib: {DISK_MIB * index} mib: {DISK_MIB} }}" if options.machine_disk
                   else f"zero_mib: {DISK_MIB}")
        devices = device_texts(kinds, content, loop=alone)
        if index == 0:
            more, tasks = further_devices(options, vm, sum(kind in IN_SLOTS for kind in kinds))
            devices += more
            services += tasks
        text += (f'vm {{ name: "{vm}" vcpus: 2 memory_mib: {MEMORY_MIB} kernel: "guest" command_line: "{line}" '
                 f'{devices}cpu: 0 }}\n')
        services += service_names(vm, kinds)
        expected[vm] = kinds
    if "reset" in work:
        line = f"name={RESETTING_VM} work=reset lives={max(1, duration_us // RESET_US)} pause={RESET_PAUSE_US}"
        text += (f'vm {{ name: "{RESETTING_VM}" memory_mib: {MEMORY_MIB} kernel: "guest" command_line: "{line}" '
                 f'disk {{ zero_mib: {DISK_MIB} }} cpu: 0 }}\n')
        services += [f"{name}.{RESETTING_VM}" for name in ("vmm", "vgic", "pl011")] + [f"virtio-blk.{RESETTING_VM}.0"]
        expected[RESETTING_VM] = ["reset"]
    services += sorted({name for kind in kinds for name in SYSTEM_SERVICES.get(kind, [])} | {"console", "supervisor"})
    disk = make_disk(DISK_MIB * len(BARE_VMS)) if options.machine_disk else None
    if disk is not None:
        services.append("blk-driver")
    if options.by_host:
        services.append("vsock-driver")
    return Workload(text, {"guest": str(launch.TARGET / "guests/oracle.bin")}, services, expected, disk,
                    relayed=range(VSOCK_PORT, VSOCK_PORT + 1) if options.by_host else range(0))


def make_disk(mib: int) -> machine_devices.Disk:
    """Its content is of no importance: guests write what they read."""
    path = prepare.BUILD / "campaign-disk"
    path.touch()
    os.truncate(path, mib << 20)
    return machine_devices.Disk(str(path))


def device_texts(kinds: list[str], disk: str, loop: bool) -> str:
    """Text of a description for what the work needs. `loop`: a port's other end is the port itself, not another VM's."""
    texts = {"disk": f"disk {{ {disk} }} ", "net": "network { } ",
             "ports": f"""device {{ service: "virtio-console" config: "port {{ name: 'link'{' loop: true' if loop else ''} }}" }} """}
    texts |= {kind: f'device {{ service: "{VM_SERVICES[kind][0]}" }} ' for kind in ("rng", "vsock", "wdog", "gpio")}
    return "".join(texts[kind] for kind in IN_SLOTS if kind in kinds)


def presses(vm: str, duration_us: int) -> list[tuple[int, str]]:
    """When, in microseconds after the script's first wait, and how the power button of a VM is pressed."""
    return [(at, f"vm poweroff {vm}") for at in range(0, max(1, duration_us), PRESS_EVERY_US)]


def further_devices(options: Options, vm: str, first_slot: int) -> tuple[str, list[str]]:
    """Text of a description for them, and their tasks."""
    named = [device.partition(":")[::2] for device in options.devices]
    text = "".join(f"device {{ service: {launch.quote(name)} config: {launch.quote(config)} }} " for name, config in named)
    return text, [f"{name}.{vm}.{first_slot + i}" for i, (name, _) in enumerate(named)]


def service_names(vm: str, kinds: list[str]) -> list[str]:
    """Tasks of a VM that this work uses, devices with their virtio slots."""
    names = dict.fromkeys(name for kind in kinds for name in VM_SERVICES[kind])
    slots = [VM_SERVICES[kind][0] for kind in IN_SLOTS if kind in kinds]
    return [f"{name}.{vm}" + (f".{slots.index(name)}" if name in slots else "") for name in names]


# What a guest does while one of its services is stepped, so that it steps through that.
SWEEP_WORK = {"virtio-blk": "disk", "virtio-net": "net", "vswitch": "net", "pl011": "uart", "console": "console",
              "pl031": "rtc", "vgic": "gic", "vmm": "vcpu", "blk-driver": "disk", "virtio-rng": "rng", "virtio-console": "ports",
              "vsock-driver": "vsock", "port-switch": "ports", "virtio-vsock": "vsock", "vsock-switch": "vsock", "sp805": "wdog", "pl061": "gpio"}


def chosen(services: list[str], patterns: list[str]) -> list[str]:
    """Services that a pattern names: a task, `virtio-blk` for all of its instances, `left.*` for those of a VM."""
    def matches(task: str, pattern: str) -> bool:
        if pattern.endswith(".*"):
            return pattern[:-2] in task.split(".")
        return task == pattern or task.split(".")[0] == pattern

    return [task for task in services if not patterns or any(matches(task, pattern) for pattern in patterns)]
