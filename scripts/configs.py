"""How the start configuration of each service is filled: message name -> fields, in one table."""
import manifest

RNG_SEED_BYTES = 64          # proto/vmm_config.options


def _device_nodes(vm) -> list:
    nodes = []
    for instance in vm.instances:
        lines = {h.name: h for h in instance.manifest.handle if h.kind == h.IRQ_LINE}
        for mmio in instance.manifest.mmio:
            if not mmio.HasField("node"):
                continue
            base, size = instance.range(mmio)
            interrupt = lines.get(mmio.node.interrupt)
            nodes.append({
                "name": mmio.node.name, "compatible": list(mmio.node.compatible), "address": base, "bytes": size,
                "intid": instance.intid(interrupt) if interrupt else 0, "clock_names": list(mmio.node.clock_name),
                "console": mmio.node.stdout, "properties": [{"name": flag} for flag in mmio.node.flag]})
    return nodes


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
        "devices": _device_nodes(vm)}


def _block(instance, _machine) -> dict:
    disk = instance.disk
    return {"ram_base": manifest.GUEST_RAM_IPA, "ram_bytes": instance.vm.memory_bytes, "disk_bytes": disk.bytes,
            "null_disk": not disk.memory, "read_only": disk.read_only, "id": disk.id}


def _console(_instance, machine) -> dict:
    uarts = sorted((i.index, i.vm.name) for i in machine.instances if i.service.name == "pl011")
    return {"guest": [name for _, name in uarts]}


def _affinities(vm) -> list:
    return [vm.affinity(vcpu) for vcpu in range(vm.vcpus)]


def _vgic(instance, _machine) -> dict:
    return {"vcpu_affinity": _affinities(instance.vm)}


# A service without an entry here has no configuration; a new one is one function.
CONFIGS = {
    "BlockConfig": _block,
    "ConsoleConfig": _console,
    "VgicConfig": _vgic,
    "VmmConfig": _vmm,
}
