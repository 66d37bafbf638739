"""A checked machine as the records of the supervisor's plan (proto/plan.proto)."""
import manifest
from configs import CONFIGS
from machine import VIRTIO_INTID, Instance, Machine
from schemas import InputError

PLAN_VERSION = 1
FIRST_SLOT = 32             # of the supervisor's table; below are the handles of its own manifest
LAST_SLOT = 2047
SUPERVISOR_TASK_SLOT = 1
SUPERVISOR_SIGNAL_SLOT = 2
SERVICE_BADGE = 1 << 16     # of the first service that calls another: above vCPUs and ranges of registers
NO_TIMER_BIT = 63           # a task without a timer never sets one
CONFIG_CHUNK = 1024         # PlanConfig.data, proto/plan.options
CONFIG_MAX = 16384          # abi::kConfigBytes
SEED_BYTES = 32             # proto/start_config.options
JOURNAL_BASE = 0x1010_0000  # abi::kJournalBase
RESTART_DEATHS = 5
RESTART_SECONDS = 1
RESTART_UNLIMITED = 0xffff_ffff
NO_LIMIT = 0xffff_ffff
DEADLINE_MS = 8
START_MS = 50
ANSWER_WITHIN_MS = 2000
EFFECTS = 4096
SUPERVISOR_DEADLINE_MS = 9   # its pieces of work are below 1 ms; many deaths at once take longer
DMA_SIGNAL = "dma"          # of a driver: the supervisor has changed its DMA table
DMA_FIRST_CLIENT = 1        # kFirstClientDmaWindow of ipc/dma.h
PAGE = manifest.PAGE
DMA_WINDOWS = PAGE // 32      # of sizeof(DmaWindow)


def elf_name(service: str) -> str:
    return f"services/{service}.elf"


def limit(value: int, default: int) -> int:
    """A field of Limits as the plan has it."""
    return 0 if value == NO_LIMIT else value or default


def _delimited(data: bytes) -> bytes:
    length, prefix = len(data), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7f | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + data


class Planner:
    """Writes the records of a machine's plan."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.schemas = machine.schemas
        self.type = self.schemas.enum("ObjectType")
        self.right = {name.removeprefix("RIGHT_"): value for name, value in self.schemas.enum("Right").items()}
        self.resource = self.schemas.enum("ResourceKind")
        self.supervisor = machine.services["supervisor"]
        self.records = []
        self.free_slot = FIRST_SLOT
        self.vm_slots, self.ram_slots, self.vcpu_slots = {}, {}, {}
        self.task_slots = {}
        self.endpoint_slots, self.callers = {}, {}
        self.signal_slots = {"supervisor": SUPERVISOR_SIGNAL_SLOT}
        self.file_slots, self.device_slots, self.shared_slots = {}, {}, {}
        self.dma = []  # of each driver: (its instance, {what: (mapping, memory slot)} of DMA and DMA_TABLE)

    def add(self, record: str, owner_vm: int = 0, **fields):
        """`owner_vm`: slot of the VM that it belongs to; 0: it lives as long as the machine."""
        self.records.append(self.schemas.message("PlanRecord")(owner_vm=owner_vm, **{record: fields}))

    def slot(self) -> int:
        if self.free_slot > LAST_SLOT:
            raise self.machine.error("vm", f"the system needs more than {LAST_SLOT} kernel objects")
        self.free_slot += 1
        return self.free_slot - 1

    def object(self, type_name: str, owner_vm: int = 0, **fields) -> int:
        slot = self.slot()
        self.add("object", owner_vm, type=self.type[f"OBJECT_{type_name}"], slot=slot, **fields)
        return slot

    def memory(self, owner_vm: int = 0, **fields) -> int:
        slot = self.slot()
        self.add("memory", owner_vm, slot=slot, **fields)
        return slot

    def plan(self) -> bytes:
        """All records with their lengths."""
        for vm in self.machine.vms:
            self._vm(vm)
        # Lower ranks first: whoever is called exists before its callers. vmm, which lets guests run, is last.
        order = sorted(self.machine.instances, key=lambda i: (i.manifest.hypercalls, i.manifest.rank))
        for instance in order:
            self._task(instance)
        for instance in order:
            self._handles(instance)
            self._mappings(instance.label, instance.service, instance, self.task_slots[instance.label])
            self._bindings(instance)
        self._grants(self.supervisor.name, self.supervisor, None, SUPERVISOR_TASK_SLOT)
        self._mappings(self.supervisor.name, self.supervisor, None, SUPERVISOR_TASK_SLOT)
        self._schedules(order)
        self._dma_windows()
        for instance in order:
            self.add("start", self._vm_slot(instance), task=self.task_slots[instance.label])
        header = self.schemas.message("PlanRecord")()
        header.header.version = PLAN_VERSION
        header.header.records = len(self.records) + 1
        header.header.quiet = self.machine.quiet
        header.header.heartbeat_ms = self.machine.heartbeat_ms * self.machine.patience
        header.header.deadline_ms = SUPERVISOR_DEADLINE_MS * self.machine.patience
        return b"".join(_delimited(record.SerializeToString(deterministic=True))
                        for record in (header, *self.records))

    # ---- objects --------------------------------------------------------------------------------
    def _vm_slot(self, instance: Instance | None) -> int:
        return self.vm_slots[instance.vm.name] if instance and instance.vm else 0

    def _vm(self, vm):
        last = max([h.intid for i in vm.instances for h in i.manifest.handle]
                   + [VIRTIO_INTID + i.virtio_slot for i in vm.instances if i.virtio_slot is not None] + [32])
        intids = max(64, manifest.align_up(last + 1, 32))
        slot = self.slot()
        self.add("object", slot, type=self.type["OBJECT_VM"], slot=slot, a=intids | vm.vcpus << 32,
                 b=self.supervisor.signal_mask("vm_state"))
        self.add("vm", slot=slot, name=vm.name, when_off=vm.when_off, when_crashed=vm.when_crashed)
        ram = self.memory(slot, bytes=vm.memory_bytes, alignment=manifest.BLOCK)
        self.add("mapping", slot, memory=ram, space=slot, address=manifest.GUEST_RAM_IPA, bytes=vm.memory_bytes,
                 rights=self._rights("READ", "WRITE", "EXECUTE"))
        self.vm_slots[vm.name], self.ram_slots[vm.name] = slot, ram
        self.vcpu_slots[vm.name] = [self.object("VCPU", slot, owner=slot, a=i | vm.priority << 8, b=vm.affinity(i))
                                    for i in range(vm.vcpus)]

    def _task(self, instance: Instance):
        m = instance.manifest
        timer = next((s.bit for s in m.signal if s.timer), NO_TIMER_BIT)
        vm = self._vm_slot(instance)
        task = self.object("TASK", vm, owner=vm, a=m.rank | m.priority << 8 | timer << 16 | instance.service.handles << 32,
                           b=self.supervisor.signal_mask("task_death"))
        self.task_slots[instance.label] = task
        config = self._config(instance)
        told = {name: sum(1 << s.bit for s in m.signal if getattr(s, name)) for name in ("power_button", "pause", "resume")}
        unlimited, never = m.restart.kind == m.restart.ALWAYS, m.restart.kind == m.restart.NEVER
        self.add("task", vm, slot=task, name=instance.label, elf=elf_name(m.name), vm=vm, image_slot=self.slot(),
                 private_slot=self.slot(), ipc_slot=self.slot(), stack_bytes=m.stack_bytes, config_bytes=len(config),
                 restart_deaths=RESTART_UNLIMITED if unlimited else 0 if never else m.restart.deaths or RESTART_DEATHS,
                 restart_seconds=m.restart.seconds or RESTART_SECONDS, vital=m.restart.vital,
                 deadline_ms=limit(m.limits.deadline_ms, DEADLINE_MS) * self.machine.patience,
                 answer_within_ms=limit(m.limits.answer_within_ms, ANSWER_WITHIN_MS) * self.machine.patience,
                 effects=limit(m.limits.effects, EFFECTS), start_ms=limit(m.limits.start_ms, START_MS) * self.machine.patience, **told)
        for offset in range(0, len(config), CONFIG_CHUNK):
            self.add("config", vm, task=task, offset=offset, data=config[offset:offset + CONFIG_CHUNK])
        if m.receive:
            self.endpoint_slots[instance.label] = self.object("ENDPOINT", vm, owner=task, a=m.rank)
        # Always: the heartbeat is a signal.
        self.signal_slots[instance.label] = self.object("SIGNAL", vm, owner=task)
        if m.journal_bytes:
            journal = self.memory(vm, bytes=m.journal_bytes, alignment=PAGE, vm=vm)
            self._map(vm, task, journal, JOURNAL_BASE, m.journal_bytes, True)

    def _config(self, instance: Instance) -> bytes:
        name = instance.manifest.config
        if name in CONFIGS:
            try:
                config = self.schemas.message(name)(**CONFIGS[name](instance, self.machine))
            except (KeyError, ValueError, TypeError) as error:
                raise InputError(f"{instance.service.path}: config: {name} cannot be filled: {error}") from error
            data = config.SerializeToString(deterministic=True)
        else:
            if name and not self.schemas.has(name):
                raise InputError(f'{instance.service.path}: config: there is no message "{name}"')
            data = instance.config + self._start_config(instance)
        if len(data) > CONFIG_MAX:
            raise self.machine.error(instance.label, f"its configuration has {len(data)} bytes; at most {CONFIG_MAX}")
        return data

    def _start_config(self, instance: Instance) -> bytes:
        """What services get beside what the description says (proto/start_config.proto)."""
        if not instance.vm:
            return b""
        fields = {"ram_base": manifest.GUEST_RAM_IPA, "ram_bytes": instance.vm.memory_bytes, "vcpus": instance.vm.vcpus,
                  "instance": instance.index, "seed": self.machine.random.randbytes(SEED_BYTES)}
        return self.schemas.message("StartConfig")(**fields).SerializeToString(deterministic=True)

    # ---- grants ---------------------------------------------------------------------------------
    def _rights(self, *names: str) -> int:
        return sum(self.right[name] for name in names)

    def _handles(self, instance: Instance):
        self._grants(instance.label, instance.service, instance, self.task_slots[instance.label])

    def _grants(self, label: str, service, instance: Instance | None, task: int):
        vm = self._vm_slot(instance)
        for h in service.manifest.handle:
            first = service.slots[h.name]

            def grant(target, rights, slot=first, badge=0, optional=False, owner_vm=vm):
                self.add("grant", owner_vm, object=target, task=task, slot=slot, rights=rights, badge=badge,
                         optional=optional)

            if h.kind == h.IRQ_LINE:
                line = self.object("IRQ_LINE", vm, owner=vm, a=instance.intid(h))
                grant(line, self._rights("DRIVE"))
            elif h.kind == h.IRQ:
                irq = self.object("IRQ", owner=self.signal_slots[label], b=service.signal_mask(h.bit),
                                  resource=self._resource(h.resource), optional=h.optional)
                grant(irq, self._rights("DRIVE"), optional=h.optional)
            elif h.kind == h.VM:
                names = {number: name.removeprefix("VM_RIGHT_") for name, number in self.schemas.enum("VmRight").items()}
                grant(vm, self._rights(*(names[r] for r in h.right)))
            elif h.kind == h.VCPU:
                for index, vcpu in enumerate(self.vcpu_slots[instance.vm.name]):
                    grant(vcpu, self._rights("POWER"), slot=first + index)
            else:
                self._peer_grants(service, instance, h, grant)

    def _peer_grants(self, service, instance: Instance | None, h, grant):
        """SIGNAL and ENDPOINT handles: one for the peer, or one for each of its instances."""
        first, own_index = service.slots[h.name], instance.index if instance else 0
        for peer_label, peer, index, peer_vm in self._peers(service, instance, h):
            owner_vm = self._vm_slot(instance) or peer_vm
            if h.kind == h.ENDPOINT:
                if peer.manifest.rank >= service.manifest.rank:
                    raise InputError(f"{service.path}: handle {h.name}: rank {service.manifest.rank} may not call "
                                     f"{peer.name} of rank {peer.manifest.rank}: only lower ranks")
                if peer_label not in self.endpoint_slots:
                    raise InputError(f"{service.path}: handle {h.name}: {peer.name} receives no calls")
                # No two callers of one task have the same: what it keeps for one is out of another's reach.
                caller = self.callers[peer_label] = self.callers.get(peer_label, -1) + 1
                grant(self.endpoint_slots[peer_label], self._rights("SEND"), slot=first + index,
                      badge=SERVICE_BADGE + caller, owner_vm=owner_vm)
                continue
            bit = peer.signal(h.bit)
            if bit is None:
                raise InputError(f'{service.path}: handle {h.name}.bit: {peer.name} has no signal "{h.bit}"')
            if bit.count and own_index >= bit.count:
                raise InputError(f"{peer.path}: signal {bit.name}.count: {bit.count} is too few for instance "
                                 f"{own_index} of {service.name}")
            grant(self.signal_slots[peer_label], self._rights("SEND"), slot=first + index,
                  badge=peer.signal_mask(h.bit, own_index), owner_vm=owner_vm)

    def _peers(self, service, instance: Instance | None, entry) -> list:
        """(label, service, index, slot of its VM or 0) of the instances that a handle or mapping means; index 0 if not
        counted."""
        if entry.peer == "supervisor":
            return [("supervisor", self.supervisor, 0, 0)]
        if instance:
            found = self.machine.peers(instance, entry.peer)
        else:
            found = [i for i in self.machine.instances if i.service.name == entry.peer]
        if entry.count:
            for peer in found:
                if peer.index >= entry.count:
                    raise InputError(f"{service.path}: {entry.name}.count: {entry.count} is too few for {peer.label}")
            return [(i.label, i.service, i.index, self._vm_slot(i)) for i in found]
        if not found and entry.optional:
            return []
        if len(found) != 1:
            raise InputError(f"{service.path}: {entry.name}.peer: needs one instance of {entry.peer}, "
                             f"the system has {len(found)}")
        return [(found[0].label, found[0].service, 0, self._vm_slot(found[0]))]

    # ---- memory ---------------------------------------------------------------------------------
    def _resource(self, physical: int) -> int:
        names = {number: name for name, number in self.schemas.enum("PhysicalDevice").items()}
        return self.resource[names[physical].replace("PHYSICAL_", "RESOURCE_")]

    def _map(self, owner_vm, space, memory, address, size, write, optional=False):
        rights = self._rights("READ", "WRITE") if write else self._rights("READ")
        self.add("mapping", owner_vm, memory=memory, space=space, address=address, bytes=manifest.align_up(size, PAGE),
                 rights=rights, optional=optional)

    def _mappings(self, label: str, service, instance: Instance | None, task: int):
        vm, disk = (instance.vm, instance.disk) if instance else (None, None)
        owner_vm, windows = self._vm_slot(instance), {}
        for p in service.manifest.mapping:
            address = service.addresses[p.name]
            if p.what == p.GUEST_RAM:
                self._map(owner_vm, task, self.ram_slots[vm.name], address, vm.memory_bytes, p.write)
            elif p.what == p.SHARED:
                self._shared(label, service, instance, p, task, address)
            elif p.what == p.DEVICE:
                self._map(owner_vm, task, self._device(p), address, p.bytes, p.write, p.optional)
            elif p.what == p.DISK:
                if disk and disk.memory:
                    self._map(owner_vm, task, self._disk(instance, p), address, disk.bytes,
                              p.write and not disk.read_only)
            elif p.what in (p.DMA, p.DMA_TABLE):
                windows[p.what] = p, self.memory(bytes=p.bytes, alignment=PAGE)
                self._map(0, task, windows[p.what][1], address, p.bytes, p.write)
            else:
                file = vm.kernel if p.what == p.KERNEL else vm.initrd
                if file:
                    self._check_size(instance, p, file.bytes)
                    self._map(owner_vm, task, self._file(file), address, file.bytes, False)
        if windows:
            self.dma.append((instance, windows))

    def _check_size(self, instance: Instance, mapping, size: int):
        if size > mapping.bytes:
            raise InputError(f"{instance.service.path}: mapping {mapping.name}.bytes: {mapping.bytes} is less than "
                             f"the {size} of {instance.label}")

    def _file(self, file) -> int:
        if file.name not in self.file_slots:
            source = self.schemas.enum("PlanMemory.Source")["FILE"]
            self.file_slots[file.name] = self.memory(source=source, bytes=file.bytes, file=file.name)
        return self.file_slots[file.name]

    def _disk(self, instance: Instance, mapping) -> int:
        self._check_size(instance, mapping, instance.disk.bytes)
        if instance.disk.file:
            return self._file(instance.disk.file)
        # The machine's, as a file's pages are: a VM that starts again finds what it wrote.
        return self.memory(bytes=instance.disk.bytes, alignment=manifest.BLOCK)

    def _device(self, mapping) -> int:
        resource = self._resource(mapping.resource)
        if resource not in self.device_slots:
            source = self.schemas.enum("PlanMemory.Source")["DEVICE"]
            self.device_slots[resource] = self.memory(source=source, bytes=mapping.bytes, resource=resource,
                                                      optional=mapping.optional)
        return self.device_slots[resource]

    def _shared(self, label: str, service, instance: Instance | None, mapping, task: int, address: int):
        owner_vm = self._vm_slot(instance)
        for peer_label, peer, index, peer_vm in self._peers(service, instance, mapping):
            other = next((p for p in peer.manifest.mapping if p.name == mapping.name
                          and p.what == p.SHARED and p.peer == service.name), None)
            if other is None or other.bytes != mapping.bytes:
                raise InputError(f'{peer.path}: mapping {mapping.name}: must be SHARED with {service.name}, '
                                 f"{mapping.bytes} bytes, as {service.path} says")
            key = (mapping.name, *sorted((label, peer_label)))
            if key not in self.shared_slots:
                # A reset clears it only if both ends start afresh: one that lives on has its place in it in mind. For
                # the same reason it stays when the VM has ended.
                vm = owner_vm if peer_vm == owner_vm else 0
                self.shared_slots[key] = self.memory(vm, bytes=mapping.bytes, alignment=PAGE, vm=vm)
            self._map(owner_vm, task, self.shared_slots[key], address + index * mapping.bytes, mapping.bytes,
                      mapping.write)

    def _bindings(self, instance: Instance):
        if not instance.vm:
            return
        vm, endpoint = self._vm_slot(instance), self.endpoint_slots.get(instance.label)
        for badge, mmio in enumerate(instance.manifest.mmio):
            base, size = instance.range(mmio)
            self.add("mmio", vm, vm=vm, address=base, bytes=size, endpoint=endpoint, badge=badge)
            for doorbell in mmio.doorbell:
                bit = instance.service.signal(doorbell.bit)
                self.add("doorbell", vm, vm=vm, address=base + doorbell.offset,
                         signal=self.signal_slots[instance.label], first_bit=bit.bit, bits=max(bit.count, 1),
                         patient=doorbell.patient)
        if instance.manifest.hypercalls:
            self.add("hypercall", vm, vm=vm, endpoint=endpoint)

    # ---- where and how long ---------------------------------------------------------------------
    def _schedules(self, order: list):
        for vm in self.machine.vms:
            for index, slot in enumerate(self.vcpu_slots[vm.name]):
                cpu, spread = vm.home(index)
                if cpu or vm.budget_ms:
                    self.add("schedule", self.vm_slots[vm.name], slot=slot, priority=vm.priority, cpu=cpu,
                             spread=spread, budget=vm.budget_ms, period=vm.period_ms)
        # A VM's services are where its vCPUs are, its devices beside different ones. The system's are on CPU 0.
        for instance in order:
            if instance.vm:
                cpu, spread = instance.vm.home((instance.virtio_slot or 0) % instance.vm.vcpus)
                if cpu:
                    self.add("schedule", self._vm_slot(instance), slot=self.task_slots[instance.label],
                             priority=instance.manifest.priority, cpu=cpu, spread=spread)

    # ---- direct memory access -------------------------------------------------------------------
    def _dma_windows(self):
        for driver, windows in self.dma:
            what = driver.manifest.mapping[0]  # for its enumeration
            mapping, table = windows[what.DMA_TABLE]
            tell = next((h for h in self.supervisor.manifest.handle
                         if h.peer == driver.service.name and h.bit == DMA_SIGNAL), None)
            common = {"table": table, "driver": self.task_slots[driver.label],
                      "signal": self.supervisor.slots[tell.name] if tell else 0}
            if what.DMA in windows:
                memory, target = windows[what.DMA]
                self.add("dma", entry=0, target=target, resource=self._resource(memory.resource),
                         optional=memory.optional, **common)
            clients = self.machine.peers(driver, mapping.peer) if mapping.peer else []
            if clients and not tell:
                raise InputError(f'{self.supervisor.path}: handle: needs a SIGNAL to bit "{DMA_SIGNAL}" of '
                                 f"{driver.service.name}, whose DMA table has windows of VMs")
            for client in clients:
                if not client.vm or DMA_FIRST_CLIENT + client.index >= DMA_WINDOWS:
                    raise InputError(f"{driver.service.path}: mapping {mapping.name}.peer: there is no window for the VM "
                                     f"of {client.label}")
                self.add("dma", self._vm_slot(client), entry=DMA_FIRST_CLIENT + client.index,
                         target=self.ram_slots[client.vm.name], guest_base=manifest.GUEST_RAM_IPA,
                         vm=self._vm_slot(client), **common)
