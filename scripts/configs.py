"""How the start configuration of each service is filled: message name -> fields, in one table."""
import re

import manifest
from machine import DISK_SERVICE, NETWORK_DRIVER, NETWORK_SERVICE, SOCKET_DRIVER, SOCKET_SERVICE

CONSOLE_SERVICE = "virtio-console"
CONSOLE_LINES = 8            # Console::kMaxGuests
PORT_NAME_MAX = 31           # services/virtio-console/virtio-console.options
PORT_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{PORT_NAME_MAX}}}\Z")
SECTORS_PER_MIB = (1 << 20) // 512
VSOCK_FIRST_CID = 3          # 5.10.4: 0, 1 and 2 are not guests'
VSOCK_MAX = 8                # ports of the vsock-switch, and the number of the host's
VSOCK_HOST_CID = 2
VSOCK_PATIENCE_MS = 1000     # with a guest that takes nothing
RNG_SEED_BYTES = 64          # proto/vmm_config.options


NODES_MAX = 40               # proto/vmm_config.options
FIRST_PHANDLE = 16           # vmm's own are below (services/vmm/device_tree.cc)


def _cells(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


class _DeviceTree:
    """The nodes of a VM's devices, as their services' manifests describe them: a DeviceNode each, in the tree's order."""

    def __init__(self, vm):
        self.nodes = []
        self.free_phandle = FIRST_PHANDLE
        for instance in vm.instances:
            self._instance(instance)
        if len(self.nodes) > NODES_MAX:
            raise ValueError(f"{len(self.nodes)} device tree nodes of devices; at most {NODES_MAX}")

    def _instance(self, instance):
        ranges = [mmio for mmio in instance.manifest.mmio if mmio.HasField("node")]
        wanted = {p.phandle for mmio in ranges for node in manifest.tree_nodes(mmio.node) for p in node.property}
        phandles = {}
        for mmio in ranges:
            if mmio.name in wanted:
                phandles[mmio.name] = self.free_phandle
                self.free_phandle += 1
        lines = {h.name: h for h in instance.manifest.handle if h.kind == h.IRQ_LINE}
        for mmio in ranges:
            base, size = instance.range(mmio)
            interrupt = lines.get(mmio.node.interrupt)
            self._node(mmio.node, 0, phandles, own=phandles.get(mmio.name), address=base, bytes=size,
                       intid=instance.intid(interrupt) if interrupt else 0)

    def _node(self, node, depth: int, phandles: dict, own: int | None = None, **place):
        properties = [{"name": flag} for flag in node.flag]
        for p in node.property:
            value = b"".join(text.encode() + b"\0" for text in p.text)
            value += _cells(*([phandles[p.phandle]] if p.phandle else []), *p.cell)
            properties.append({"name": p.name, "value": value})
        if own:
            properties.append({"name": "phandle", "value": _cells(own)})
        self.nodes.append({"name": node.name, "compatible": list(node.compatible), "depth": depth,
                           "clock_names": list(node.clock_name), "console": node.stdout, "properties": properties,
                           **place})
        for child in node.within:
            self._node(child, depth + 1, phandles)
        for other in node.beside:
            self._node(other, depth, phandles)


def _vmm(instance, machine) -> dict:
    vm = instance.vm
    gic = vm.instance("vgic")
    distributor = gic.range(gic.manifest.mmio[0])[0] if gic else 0
    return {
        "ram_base": manifest.GUEST_RAM_IPA, "ram_bytes": vm.memory_bytes,
        "kernel_bytes": vm.kernel.bytes, "initrd_bytes": vm.initrd.bytes if vm.initrd else 0,
        # Linux has no other source of randomness early: without it, it spends 13 million instructions on waiting.
        "rng_seed": machine.random.randbytes(RNG_SEED_BYTES),
        "command_line": vm.command_line, "vcpu_affinity": _affinities(vm),
        "gic_distributor": distributor,
        "gic_redistributors": distributor + gic.manifest.mmio[0].bytes if gic else 0,
        "devices": _DeviceTree(vm).nodes}


def _block(instance, _machine) -> dict:
    disk = instance.disk
    return {"ram_base": manifest.GUEST_RAM_IPA, "ram_bytes": instance.vm.memory_bytes, "disk_bytes": disk.bytes,
            "null_disk": not disk.memory and not disk.physical, "read_only": disk.read_only, "id": disk.id,
            "queues": instance.vm.vcpus, "physical": disk.physical}


def _by_instance(machine, service: str, fill) -> list:
    """A list whose entry i is about instance i of `service`; empty ones at the end are left out."""
    entries = [fill(instance) for instance in machine.instances if instance.service.name == service]
    while entries and not entries[-1]:
        entries.pop()
    return entries


def _block_driver(_instance, machine) -> dict:
    def range_of(client):
        disk = client.disk
        return {"present": True, "first_sector": disk.first_mib * SECTORS_PER_MIB, "sectors": disk.mib * SECTORS_PER_MIB,
                "read_only": disk.read_only} if disk.physical else {}

    return {"range": _by_instance(machine, DISK_SERVICE, range_of)}


def _network(instance, _machine) -> dict:
    network = instance.network
    return {"ram_base": manifest.GUEST_RAM_IPA, "ram_bytes": instance.vm.memory_bytes, "mac": network.mac,
            "mtu": network.mtu, "queue_pairs": network.queue_pairs}


def _switch(_instance, machine) -> dict:
    def port_of(client):
        return {"present": True, "name": f"{client.vm.name}.{client.virtio_slot}", "mac": client.network.mac,
                "filter": client.network.mac_filter}

    return {"port": _by_instance(machine, NETWORK_SERVICE, port_of),
            "uplink": any(i.service.name == NETWORK_DRIVER for i in machine.instances)}


def _vsock_switch(_instance, machine) -> dict:
    clients = [i for i in machine.instances if i.service.name == SOCKET_SERVICE]
    if len(clients) > VSOCK_MAX:
        raise machine.error(f"vm {clients[VSOCK_MAX].vm.name}.device", f"is one more {SOCKET_SERVICE} than the {VSOCK_MAX} that "
                            "all VMs may have")
    texts = [machine.schemas.message("VsockConfig").FromString(i.config) for i in clients]
    cids = [text.cid or VSOCK_FIRST_CID + i.index for i, text in zip(clients, texts)]
    host = any(i.service.name == SOCKET_DRIVER for i in machine.instances)
    ports = []
    for client, text, cid in zip(clients, texts, cids):
        field = f"vm {client.vm.name}.device {SOCKET_SERVICE}.config.cid"
        if cid < VSOCK_FIRST_CID:
            raise machine.error(field, f"{cid} is not a guest's: these begin with {VSOCK_FIRST_CID}")
        if cids.count(cid) > 1:
            raise machine.error(field, f"{cid} is there twice")
        peers = sum(1 << i for i, other in enumerate(cids) if not text.peer or other in text.peer)
        if host and (not text.peer or VSOCK_HOST_CID in text.peer):
            peers |= 1 << VSOCK_MAX
        ports.append({"present": True, "name": f"{client.vm.name}.{client.virtio_slot}", "cid": cid, "peers": peers})
    config = {"port": ports, "patience_ms": VSOCK_PATIENCE_MS * machine.patience}
    if host:
        config["host"] = {"present": True, "name": "host", "cid": VSOCK_HOST_CID, "peers": (1 << len(clients)) - 1}
    return config


def _rtc(instance, _machine) -> dict:
    return {"offset_s": instance.vm.rtc_offset_s}


def _console(_instance, machine) -> dict:
    uarts = sorted((i.index, i.vm.name) for i in machine.instances if i.service.name == "pl011")
    consoles = [i for i in machine.instances if i.service.name == CONSOLE_SERVICE]
    if len(uarts) + len(consoles) > CONSOLE_LINES:
        raise machine.error("vm", f"{len(uarts)} pl011 and {len(consoles)} {CONSOLE_SERVICE} in all VMs; the console has "
                            f"{CONSOLE_LINES} lines (without: \"pl011\")")

    def name_of(console):
        own = [i for i in console.vm.instances if i.service.name == CONSOLE_SERVICE]
        alone = len(own) == 1 and not console.vm.instance("pl011")
        return console.vm.name if alone else f"{console.vm.name}.hvc{own.index(console)}"

    return {"guest": [name for _, name in uarts], "hvc": [name_of(i) for i in consoles]}


def _port_switch(_instance, machine) -> dict:
    """Ports of the same name in two devices are connected; one that is a loop, with itself."""
    ends = {}
    for device in (i for i in machine.instances if i.service.name == CONSOLE_SERVICE):
        field = f"vm {device.vm.name}: {device.service.name} in slot {device.virtio_slot}: port"
        ports = machine.schemas.message(device.manifest.config).FromString(device.config).port
        for number, port in enumerate(ports):
            if not PORT_NAME.match(port.name):
                raise machine.error(field, f'"{port.name}" must be 1..{PORT_NAME_MAX} letters, digits, \'.\', \'_\' or \'-\'')
            if any(p.name == port.name for p in ports[:number]):
                raise machine.error(field, f'"{port.name}" is there twice')
            key = (port.name, device.label) if port.loop else port.name
            ends.setdefault(key, []).extend([(device, number)] * (2 if port.loop else 1))
    for key, found in ends.items():
        if len(found) != 2:
            raise machine.error("vm", f'port "{key}" is in {", ".join(d.label for d, _ in found)}: it needs two ends '
                                "(or loop: true)")
    return {"link": [{"device": one.index, "port": port, "other_device": other.index, "other_port": other_port}
                     for (one, port), (other, other_port) in ends.values()]}


def _affinities(vm) -> list:
    return [vm.affinity(vcpu) for vcpu in range(vm.vcpus)]


def _vgic(instance, _machine) -> dict:
    return {"vcpu_affinity": _affinities(instance.vm)}


# Of services that the planner knows. All others get what their `device` in the description says, and a StartConfig.
CONFIGS = {
    "BlockConfig": _block,
    "BlockDriverConfig": _block_driver,
    "ConsoleConfig": _console,
    "NetworkConfig": _network,
    "PortSwitchConfig": _port_switch,
    "RtcConfig": _rtc,
    "SwitchConfig": _switch,
    "VgicConfig": _vgic,
    "VmmConfig": _vmm,
    "VsockSwitchConfig": _vsock_switch,
}
