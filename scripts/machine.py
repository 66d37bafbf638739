"""The described machine: VMs, and one instance of each service for what it serves, with places assigned.

Checks proto/system.proto descriptions; every refusal names file, field and reason.
"""
import dataclasses
import math
import pathlib
import re

import config_text
import manifest
from schemas import InputError

VMS_MAX = 8
HEARTBEAT_MS, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS = 1000, 10, 10_000
INSTANCES_MAX = 128          # tasks that the supervisor keeps track of
MEMORY_MAX_MIB = 8192
MEMORY_DEFAULT_MIB = 512
COMMAND_LINE_MAX = 2047      # Linux arm64 COMMAND_LINE_SIZE less the NUL
DISK_ID_MAX = 20             # VIRTIO 1.2, 5.2.6.1
PHYSICAL_MAX_MIB = 1 << 33   # of the machine's disk: sector numbers keep far from 2^64
NETWORKS_MAX = 16            # ports of the vswitch
MAC_BYTES = 6
MAC_DEFAULT = b"\x02atl"     # locally administered; number of the VM and of its network follow
MTU_MIN, MTU_MAX, MTU_DEFAULT = 68, 65535, 1500  # VIRTIO 1.2, 5.1.4.1
SECTOR_BYTES = 512
VM_NAME_MAX = 24
VCPU_PRIORITY = 8
VCPU_PRIORITY_MAX = 15
MACHINE_CPUS_MAX = 8
PERIOD_MAX_MS = 1_000_000    # SetScheduleRequest, proto/kernel.proto
RTC_OFFSET_MAX_S = 0xffff_ffff  # what the RTC's 32 bits can tell apart
DEFAULT_SERVICES = ("vgic", "pl011", "pl031", "vmm")
DISK_SERVICE = "virtio-blk"
DISK_DRIVER = "blk-driver"   # of the machine's disk: for disks with `physical` content
NETWORK_SERVICE = "virtio-net"
NETWORK_DRIVER = "net-driver"
SOCKET_SERVICE = "virtio-vsock"
SOCKET_DRIVER = "vsock-driver"  # of the machine's line to a program of the host
VIRTIO_BASE = 0x0A00_0000    # virtio-mmio slot n: this + n * 0x1000, INTID 48 + n, as QEMU's virt machine
VIRTIO_BYTES = 0x1000
VIRTIO_INTID = 48
VIRTIO_SLOTS = 32
VM_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*\Z")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}\Z")


@dataclasses.dataclass
class File:
    """A file of the boot archive."""
    name: str           # in the archive
    path: pathlib.Path
    bytes: int


@dataclasses.dataclass
class Disk:
    file: File | None   # None: zeros
    bytes: int
    memory: bool        # false: a null or physical disk
    read_only: bool
    id: str
    first_mib: int | None = None  # of a part of the machine's disk, ...
    mib: int = 0                  # ... of this size; 0: to its end

    @property
    def physical(self) -> bool:
        return self.first_mib is not None

    def overlaps(self, other) -> bool:
        """Two parts of the machine's disk."""
        ends = [d.first_mib + d.mib if d.mib else math.inf for d in (self, other)]
        return self.first_mib < ends[1] and other.first_mib < ends[0]


@dataclasses.dataclass
class Network:
    mac: bytes
    mtu: int
    mac_filter: bool
    queue_pairs: int


@dataclasses.dataclass
class Vm:
    name: str
    index: int
    vcpus: int
    memory_bytes: int
    kernel: File | None
    initrd: File | None
    command_line: str
    priority: int
    cpus: list          # of the machine, for its vCPUs in turn; none: wherever
    budget_ms: int      # 0: unlimited
    period_ms: int
    when_off: int       # OnEnd
    when_crashed: int
    rtc_offset_s: int
    first_vcpu: int     # number of its vCPU 0 among those of all VMs
    instances: list = dataclasses.field(default_factory=list)

    def affinity(self, vcpu: int) -> int:
        """MPIDR_EL1 Aff fields: 16 cores in a cluster, as SGIs of a GICv3 reach them."""
        return (vcpu // 16) << 8 | vcpu % 16

    def home(self, vcpu: int) -> tuple:
        """(CPU, whether it is only a number to be dealt out to the CPUs that there are) of a vCPU."""
        if self.cpus:
            return self.cpus[vcpu % len(self.cpus)], False
        return self.first_vcpu + vcpu, True

    def instance(self, service: str):
        return next((i for i in self.instances if i.service.name == service), None)


@dataclasses.dataclass
class Instance:
    """One task to be: a service for a VM, for a device of a VM or for the system."""
    service: manifest.Service
    vm: Vm | None
    index: int               # among all instances of the service
    virtio_slot: int | None
    disk: Disk | None
    network: Network | None
    config: bytes = b""      # of a `device`: what its description says, encoded

    @property
    def manifest(self):
        return self.service.manifest

    @property
    def label(self) -> str:
        parts = [self.service.name] + ([self.vm.name] if self.vm else [])
        return ".".join(parts + ([str(self.virtio_slot)] if self.virtio_slot is not None else []))

    def intid(self, handle) -> int:
        return handle.intid or VIRTIO_INTID + self.virtio_slot

    def range(self, mmio) -> tuple:
        """(guest physical base, bytes) of a range that it serves."""
        base = mmio.base or VIRTIO_BASE + self.virtio_slot * VIRTIO_BYTES
        return base, mmio.bytes + self.vm.vcpus * mmio.bytes_per_vcpu


class Machine:
    """Everything of a description, checked. `files`: archive names by path; `named`: the --file options."""

    def __init__(self, schemas, description, path: pathlib.Path, services: dict, named: dict, net: bool = False,
                 host_sockets: bool = False):
        self.schemas = schemas
        self.path = path
        self.services = services
        self.named = named
        self.scope = schemas.enum("Scope")
        self.files = {}
        self.vms = []
        self.instances = []
        self.heartbeat_ms = description.heartbeat_ms if description.HasField("heartbeat_ms") else HEARTBEAT_MS
        if not HEARTBEAT_MIN_MS <= self.heartbeat_ms <= HEARTBEAT_MAX_MS:
            raise self.error("heartbeat_ms", f"{self.heartbeat_ms}: must be {HEARTBEAT_MIN_MS}..{HEARTBEAT_MAX_MS}")
        self.quiet = description.log_level == schemas.enum("LogLevel")["LOG_WARNING"]
        if not 1 <= len(description.vm) <= VMS_MAX:
            raise self.error("vm", f"{len(description.vm)} VMs; there must be 1..{VMS_MAX}")
        for index, vm in enumerate(description.vm):
            if net and not vm.network:
                vm.network.add()
            if host_sockets and not any(device.service == SOCKET_SERVICE for device in vm.device):
                vm.device.add(service=SOCKET_SERVICE)
            self._add_vm(index, vm)
        self._check_physical_disks()
        self._check_macs()
        for name in description.service:
            if self._service("service", name).manifest.scope != self.scope["SCOPE_SYSTEM"]:
                raise self.error("service", f'"{name}" is a service of VMs, not of the system')
            self._add_instance("service", name, None)
        self._add_needed_system_services(host_sockets)
        if len(self.instances) > INSTANCES_MAX:
            raise self.error("vm", f"{len(self.instances)} tasks in all; there may be {INSTANCES_MAX}")

    def error(self, field: str, reason: str) -> InputError:
        return InputError(f"{self.path}: {field}: {reason}")

    # ---- VMs ------------------------------------------------------------------------------------
    def _add_vm(self, index: int, text):
        if not VM_NAME.match(text.name) or len(text.name) > VM_NAME_MAX:
            raise self.error(f"vm[{index}].name", f'"{text.name}" must be 1..{VM_NAME_MAX} lower case letters, '
                             "digits, '-' or '_', a letter first")
        if any(v.name == text.name for v in self.vms):
            raise self.error(f"vm[{index}].name", f'"{text.name}" is there twice')
        field = f"vm {text.name}"
        vcpus = text.vcpus if text.HasField("vcpus") else 1
        if not 1 <= vcpus <= manifest.MAX_VCPUS:
            raise self.error(f"{field}.vcpus", f"{vcpus} is not in 1..{manifest.MAX_VCPUS}")
        mib = text.memory_mib if text.HasField("memory_mib") else MEMORY_DEFAULT_MIB
        if mib % 2 or not 2 <= mib <= MEMORY_MAX_MIB:
            raise self.error(f"{field}.memory_mib", f"{mib} is not an even number in 2..{MEMORY_MAX_MIB}")
        priority = text.priority if text.HasField("priority") else VCPU_PRIORITY
        if not 1 <= priority <= VCPU_PRIORITY_MAX:
            raise self.error(f"{field}.priority", f"{priority} is not in 1..{VCPU_PRIORITY_MAX}")
        self._check_schedule(field, text)
        if abs(text.rtc_offset_s) > RTC_OFFSET_MAX_S:
            raise self.error(f"{field}.rtc_offset_s", f"{text.rtc_offset_s} is not in +-{RTC_OFFSET_MAX_S}")
        length = len(text.command_line.encode())
        if length > COMMAND_LINE_MAX or "\0" in text.command_line:
            raise self.error(f"{field}.command_line", f"{length} bytes; at most {COMMAND_LINE_MAX}, none of them NUL")
        for name in text.without:
            if name not in DEFAULT_SERVICES:
                raise self.error(f"{field}.without", f'"{name}" is not one of {", ".join(DEFAULT_SERVICES)}')
        if not text.kernel and "vmm" not in text.without:
            raise self.error(f"{field}.kernel", "is missing: the file to boot")
        vm = Vm(name=text.name, index=index, vcpus=vcpus, memory_bytes=mib << 20,
                kernel=self._file(f"{field}.kernel", text.kernel, f"{text.name}/kernel"),
                initrd=self._file(f"{field}.initrd", text.initrd, f"{text.name}/initrd"),
                command_line=text.command_line, priority=priority, cpus=list(text.cpu), budget_ms=text.budget_ms,
                period_ms=text.period_ms, when_off=text.when_off, when_crashed=text.when_crashed,
                rtc_offset_s=text.rtc_offset_s, first_vcpu=sum(v.vcpus for v in self.vms))
        self.vms.append(vm)
        images = sum(f.bytes for f in (vm.kernel, vm.initrd) if f)
        if images > vm.memory_bytes:
            raise self.error(f"{field}.memory_mib", f"{mib} MiB cannot hold kernel and initrd, {images} bytes")
        disks = [self._disk(f"{field}.disk[{n}]", disk, f"{vm.name}/disk{n}") for n, disk in enumerate(text.disk)]
        networks = [self._network(f"{field}.network[{n}]", network, vm, n) for n, network in enumerate(text.network)]
        for name in DEFAULT_SERVICES:
            if name not in text.without:
                self._add_instance(field, name, vm)
        for disk in disks:
            self._add_instance(f"{field}.disk", DISK_SERVICE, vm, disk=disk)
        for network in networks:
            self._add_instance(f"{field}.network", NETWORK_SERVICE, vm, network=network)
        for number, device in enumerate(text.device):
            self._add_device(f"{field}.device[{number}]", device, vm)
        self._check_vm(field, vm)

    def _add_device(self, field: str, text, vm: Vm):
        name = text.service
        service = self._service(f"{field}.service", name)
        if service.manifest.scope != self.scope["SCOPE_DEVICE"]:
            raise self.error(f"{field}.service", f'"{name}" is not a device service (SCOPE_DEVICE)')
        if name in (DISK_SERVICE, NETWORK_SERVICE):
            raise self.error(f"{field}.service", f'"{name}" comes with a `{"disk" if name == DISK_SERVICE else "network"}`')
        config = config_text.encode(self.schemas, service, text.config,
                                    lambda part, reason: self.error(f"{field}.config{part}", reason))
        self._add_instance(field, name, vm, config=config)

    def _check_schedule(self, field: str, text):
        for cpu in text.cpu:
            if cpu >= MACHINE_CPUS_MAX:
                raise self.error(f"{field}.cpu", f"{cpu} is not in 0..{MACHINE_CPUS_MAX - 1}")
        if text.period_ms > PERIOD_MAX_MS:
            raise self.error(f"{field}.period_ms", f"{text.period_ms} is above {PERIOD_MAX_MS}")
        if text.budget_ms > text.period_ms:
            raise self.error(f"{field}.budget_ms", f"{text.budget_ms} is more than period_ms, {text.period_ms}")
        if text.period_ms and not text.budget_ms:
            raise self.error(f"{field}.period_ms", "is without budget_ms")
        ends = self.schemas.enum("OnEnd")
        for name in ("when_off", "when_crashed"):
            if getattr(text, name) not in ends.values():
                raise self.error(f"{field}.{name}", f"{getattr(text, name)} is not one of {', '.join(ends)}")

    def _file(self, field: str, name: str, archive_name: str, private: bool = False) -> File | None:
        if not name:
            return None
        path = pathlib.Path(self.named.get(name, self.path.parent / name)).resolve()
        if not path.is_file():
            hint = "" if name in self.named else f" (or give it: --file {name}=PATH)"
            raise self.error(field, f'no such file: "{path}"{hint}')
        size = path.stat().st_size
        if not 0 < size <= manifest.IMAGE_MAX:
            raise self.error(field, f'"{path}" has {size} bytes; there must be 1..{manifest.IMAGE_MAX}')
        if private:  # its pages in the archive will be written: shared with nobody
            path_key = archive_name
        else:
            path_key = str(path)
        return self.files.setdefault(path_key, File(archive_name, path, size))

    def _disk(self, field: str, text, name: str) -> Disk:
        kind = text.WhichOneof("content")
        if kind is None:
            raise self.error(field, "needs one of file, zero_mib, null_mib, physical")
        disk_id = text.id or name.replace("/", "-")[:DISK_ID_MAX]
        if len(disk_id.encode()) > DISK_ID_MAX or "\0" in disk_id:
            raise self.error(f"{field}.id", f'"{disk_id}" is longer than {DISK_ID_MAX} bytes')
        if kind == "physical":
            part = text.physical
            for name, mib in (("first_mib", part.first_mib), ("mib", part.first_mib + part.mib)):
                if mib > PHYSICAL_MAX_MIB:
                    raise self.error(f"{field}.physical.{name}", f"it ends beyond {PHYSICAL_MAX_MIB} MiB")
            return Disk(None, 0, False, text.read_only, disk_id, part.first_mib, part.mib)
        if kind != "file":
            mib = getattr(text, kind)
            if not 1 <= mib <= manifest.IMAGE_MAX >> 20:
                raise self.error(f"{field}.{kind}", f"{mib} is not in 1..{manifest.IMAGE_MAX >> 20}")
            return Disk(None, mib << 20, kind == "zero_mib", text.read_only, disk_id)
        file = self._file(f"{field}.file", text.file, name, private=not text.read_only)
        if file is None:
            raise self.error(f"{field}.file", "is empty")
        if file.bytes < SECTOR_BYTES:
            raise self.error(f"{field}.file", f'"{file.path}" has {file.bytes} bytes, less than a sector of {SECTOR_BYTES}')
        return Disk(file, file.bytes, True, text.read_only, disk_id)

    def _network(self, field: str, text, vm: Vm, number: int) -> Network:
        if sum(i.network is not None for i in self.instances) + number >= NETWORKS_MAX:
            raise self.error(field, f"is one more than the {NETWORKS_MAX} networks that all VMs may have")
        mac = MAC_DEFAULT + bytes((vm.index, number))
        if text.mac:
            if not MAC.match(text.mac):
                raise self.error(f"{field}.mac", f'"{text.mac}" is not of the form 52:54:00:01:02:03')
            mac = bytes.fromhex(text.mac.replace(":", ""))
            if mac[0] & 1 or not any(mac):
                raise self.error(f"{field}.mac", f'"{text.mac}" is not the address of one interface')
        mtu = text.mtu if text.HasField("mtu") else MTU_DEFAULT
        if not MTU_MIN <= mtu <= MTU_MAX:
            raise self.error(f"{field}.mtu", f"{mtu} is not in {MTU_MIN}..{MTU_MAX}")
        pairs = text.queue_pairs if text.HasField("queue_pairs") else vm.vcpus
        if not 1 <= pairs <= manifest.MAX_VCPUS:
            raise self.error(f"{field}.queue_pairs", f"{pairs} is not in 1..{manifest.MAX_VCPUS}")
        return Network(mac, mtu, text.mac_filter, pairs)

    def _check_physical_disks(self):
        seen = []
        for instance in self.instances:
            if not instance.disk or not instance.disk.physical:
                continue
            for other in seen:
                if instance.disk.overlaps(other.disk) and not (instance.disk.read_only and other.disk.read_only):
                    raise self.error(f"vm {instance.vm.name}.disk[{instance.virtio_slot}].physical",
                                     f"overlaps vm {other.vm.name}.disk[{other.virtio_slot}]: only read-only disks may")
            seen.append(instance)

    def _check_macs(self):
        seen = {}
        for instance in self.instances:
            if instance.network:
                other = seen.setdefault(instance.network.mac, instance)
                if other is not instance:
                    raise self.error(f"vm {instance.vm.name}.network", f"has the MAC {instance.network.mac.hex(':')}, "
                                     f"as vm {other.vm.name} has")

    def _check_vm(self, field: str, vm: Vm):
        intids, ranges = {}, []
        for instance in vm.instances:
            for handle in instance.manifest.handle:
                if handle.kind == handle.IRQ_LINE:
                    other = intids.setdefault(instance.intid(handle), instance.label)
                    if other != instance.label:
                        raise self.error(field, f"INTID {instance.intid(handle)} of {instance.label} is also {other}'s")
            for mmio in instance.manifest.mmio:
                base, size = instance.range(mmio)
                for other, start, end in ranges:
                    if base < end and start < base + size:
                        raise self.error(field, f"{instance.label} serves {base:#x}..{base + size:#x}, which overlaps "
                                         f"{other} at {start:#x}..{end:#x}")
                ranges.append((instance.label, base, base + size))
        buttons = [i.label for i in vm.instances for s in i.manifest.signal if s.power_button]
        if len(buttons) > 1:
            raise self.error(field, f"{buttons[0]} and {buttons[1]} are both its power button")
        answering = [i.label for i in vm.instances if i.manifest.hypercalls]
        if len(answering) > 1:
            raise self.error(field, f"{answering[0]} and {answering[1]} both answer hypercalls")

    # ---- instances ------------------------------------------------------------------------------
    def _service(self, field: str, name: str) -> manifest.Service:
        if name not in self.services:
            raise self.error(field, f'there is no service "{name}"; there are {", ".join(sorted(self.services))}')
        return self.services[name]

    def _add_instance(self, field: str, name: str, vm: Vm | None, disk: Disk | None = None,
                      network: Network | None = None, config: bytes = b""):
        service = self._service(field, name)
        if vm is None and any(i.service is service for i in self.instances):
            return
        slot = None
        if service.manifest.scope == self.scope["SCOPE_DEVICE"]:
            slot = sum(i.virtio_slot is not None for i in vm.instances)
            if slot >= VIRTIO_SLOTS:
                raise self.error(field, f"has no virtio slot left: there are {VIRTIO_SLOTS}")
        elif not all(m.base for m in service.manifest.mmio):
            raise InputError(f"{service.path}: mmio: base 0 needs SCOPE_DEVICE")
        index = sum(i.service is service for i in self.instances)
        instance = Instance(service, vm, index, slot, disk, network, config)
        self.instances.append(instance)
        if vm:
            vm.instances.append(instance)

    def _add_needed_system_services(self, host_sockets: bool):
        # Drivers are optional peers: a machine without the device can do without. So they are asked for here.
        if any(i.disk and i.disk.physical for i in self.instances):
            self._add_instance("service", DISK_DRIVER, None)
        if any(i.network for i in self.instances):
            self._add_instance("service", NETWORK_DRIVER, None)
        if host_sockets:
            self._add_instance("service", SOCKET_DRIVER, None)
        done = 0
        while done < len(self.instances):  # the list grows while it is read
            instance = self.instances[done]
            done += 1
            for entry in (*instance.manifest.handle, *instance.manifest.mapping):
                peer = self.services.get(entry.peer)
                if entry.peer == "supervisor" or not entry.peer or entry.optional:
                    continue
                if peer is None:
                    raise InputError(f'{instance.service.path}: {entry.name}.peer: there is no service "{entry.peer}"')
                if peer.manifest.scope == self.scope["SCOPE_SYSTEM"]:
                    self._add_instance("service", entry.peer, None)

    def peers(self, instance: Instance, name: str) -> list:
        """Instances of service `name` that `instance` may name: of its VM, or either one a system service."""
        return [i for i in self.instances if i.service.name == name
                and (i.vm is None or instance.vm is None or i.vm is instance.vm) and self._are_connected(i, instance)]

    @staticmethod
    def _are_connected(one: Instance, other: Instance) -> bool:
        """A disk in memory has nothing to do with the driver of the machine's disk."""
        disk = one.disk or other.disk
        return disk is None or disk.physical or DISK_DRIVER not in (one.service.name, other.service.name)
