#!/usr/bin/python3
"""Checks service manifests (proto/manifest.proto) and generates their constants headers.

Usage: manifest.py --out BUILD_ROOT [--stamp FILE] services/NAME/manifest.textproto ...
writes BUILD_ROOT/services/NAME/manifest.h for each: at the place that the manifest has in the source tree.
"""
import argparse
import dataclasses
import pathlib
import re

from schemas import ROOT, InputError, Schemas, run_tool

PAGE = 4096
BLOCK = 2 << 20
MAX_RANK = 3                   # of tasks; vCPUs have abi::kMaxRank
MAX_PRIORITY = 19           # the supervisor, above, must always be able to stop a service
MAX_VCPUS = 8
HEARTBEAT_BIT = 61             # abi::kHeartbeatBit
GRANT_BASE = 0x2000_0000       # abi::kGrantBase
GUEST_RAM_BASE = 0x20_0000_0000  # abi::kGuestRamBase
GUEST_RAM_IPA = 0x4000_0000    # where a guest's RAM begins
JOURNAL_MAX = GRANT_BASE - 0x1010_0000
STACK_MAX = 1 << 20
IMAGE_MAX = 4 << 30            # default window of an image
HANDLES_MAX = 63               # highest slot of a service's handle table
HANDLES_MIN = 2                # the smallest table that the kernel makes
SUPERVISOR_FIRST_SLOT = 3      # slots 1 and 2: its task and its signal
SERVICE_NAME_MAX = 16
RESTART_DEATHS_MAX = 15        # DeathTimes::kMaxLimit of services/supervisor/tables.h
PROPERTIES_MAX, PROPERTY_BYTES_MAX = 8, 64   # of a device tree node, as the next two: proto/vmm_config.options
COMPATIBLES_MAX, CLOCKS_MAX = 4, 2
PROPERTY_NAME = re.compile(r"[A-Za-z0-9,._+?#-]{1,31}\Z")  # Devicetree Specification 2.2.4
NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*\Z")


@dataclasses.dataclass
class Service:
    """A manifest with what follows from it: slots by handle name, addresses by mapping name."""
    path: pathlib.Path
    manifest: object
    slots: dict
    addresses: dict
    handles: int  # size of the handle table, slot 0 included

    @property
    def name(self):
        return self.manifest.name

    def signal(self, name: str):
        return next((s for s in self.manifest.signal if s.name == name), None)

    def signal_mask(self, name: str, index: int = 0) -> int:
        signal = self.signal(name)
        return 1 << (signal.bit + (index if signal.count else 0))


def align_up(value: int, to: int) -> int:
    return -(-value // to) * to


def load(schemas: Schemas, path: pathlib.Path) -> Service:
    """Reads and checks one manifest on its own (peers are checked by describe.py)."""
    m = schemas.read_text("Manifest", path)

    def refuse(field, reason):
        raise InputError(f"{path}: {field}: {reason}")

    def check_names(field, entries):
        seen = set()
        for entry in entries:
            if not NAME.match(entry.name):
                refuse(f"{field}.name", f'"{entry.name}" must be lower case letters, digits and _')
            if entry.name in seen:
                refuse(f"{field}.name", f'"{entry.name}" is there twice')
            seen.add(entry.name)

    if m.name != path.parent.name:
        refuse("name", f'"{m.name}" must be the name of the folder, "{path.parent.name}"')
    if not NAME.match(m.name) or len(m.name) > SERVICE_NAME_MAX:
        refuse("name", f'"{m.name}" must be at most {SERVICE_NAME_MAX} lower case letters, digits and -')
    for field in ("signal", "handle", "mapping", "mmio"):
        check_names(field, getattr(m, field))
    if not m.scope:
        refuse("scope", "is missing: SCOPE_SYSTEM, SCOPE_VM or SCOPE_DEVICE")
    if m.rank > MAX_RANK:
        refuse("rank", f"{m.rank} is above {MAX_RANK}")
    if m.name != "supervisor" and not 1 <= m.priority <= MAX_PRIORITY:
        refuse("priority", f"{m.priority} is not in 1..{MAX_PRIORITY}")
    if m.stack_bytes % PAGE or not PAGE <= m.stack_bytes <= STACK_MAX:
        refuse("stack_bytes", f"{m.stack_bytes} is not a multiple of {PAGE} in {PAGE}..{STACK_MAX}")
    if m.journal_bytes % PAGE or m.journal_bytes > JOURNAL_MAX:
        refuse("journal_bytes", f"{m.journal_bytes} is not a multiple of {PAGE} up to {JOURNAL_MAX}")
    if (m.mmio or m.hypercalls) and (not m.receive or m.scope == schemas.enum("Scope")["SCOPE_SYSTEM"]):
        refuse("mmio" if m.mmio else "hypercalls", "needs `receive: true` and a scope within a VM")

    if m.restart.deaths > RESTART_DEATHS_MAX:
        refuse("restart.deaths", f"{m.restart.deaths} is above {RESTART_DEATHS_MAX}; for no limit: kind: ALWAYS")

    _check_signals(m, refuse)
    slots, handles = _place_handles(schemas, m, refuse)
    addresses = _place_mappings(schemas, m, refuse)
    _check_mmio(m, refuse)
    return Service(path, m, slots, addresses, handles)


SIGNAL_MEANINGS = {"timer": "timer", "power_button": "power button", "pause": "pause", "resume": "resume"}


def _check_signals(m, refuse):
    taken = {}
    for signal in m.signal:
        for bit in range(signal.bit, signal.bit + max(signal.count, 1)):
            if bit > 63:
                refuse(f"signal {signal.name}", f"bit {bit} is beyond 63")
            if bit == HEARTBEAT_BIT:
                refuse(f"signal {signal.name}", f"bit {bit} is the heartbeat's")
            if bit in taken:
                refuse(f"signal {signal.name}", f'bit {bit} is also "{taken[bit]}"')
            taken[bit] = signal.name
    timers = [s.name for s in m.signal if s.timer]
    if len(timers) > 1:
        refuse(f"signal {timers[1]}.timer", f'"{timers[0]}" is the timer already: a task has one')
    buttons = [s.name for s in m.signal if s.power_button]
    if len(buttons) > 1:
        refuse(f"signal {buttons[1]}.power_button", f'"{buttons[0]}" is the power button already: a VM has one')
    for name in ("pause", "resume"):
        told = [s.name for s in m.signal if getattr(s, name)]
        if len(told) > 1:
            refuse(f"signal {told[1]}.{name}", f'"{told[0]}" says so already')
    if any(s.pause for s in m.signal) != any(s.resume for s in m.signal):
        refuse("signal", "whoever is told of a VM's pause is told of its end, too: one bit says pause, one resume")
    for s in m.signal:
        meanings = [text for name, text in SIGNAL_MEANINGS.items() if getattr(s, name)]
        if meanings and s.count > 1:
            refuse(f"signal {s.name}.count", f"a {meanings[0]} has one bit")
        if len(meanings) > 1:
            refuse(f"signal {s.name}", f"is the {meanings[0]}'s, and not the {meanings[1]}'s as well")


def _place_handles(schemas, m, refuse):
    kind = schemas.enum("ManifestHandle.Kind")
    signals = {s.name for s in m.signal}
    slots, slot = {}, SUPERVISOR_FIRST_SLOT if m.name == "supervisor" else 1
    system = m.scope == schemas.enum("Scope")["SCOPE_SYSTEM"]
    for h in m.handle:
        field = f"handle {h.name}"
        if h.kind == kind["NONE"]:
            refuse(f"{field}.kind", "is missing")
        if system and h.kind in (kind["IRQ_LINE"], kind["VM"], kind["VCPU"]):
            refuse(f"{field}.kind", "a system service has no VM")
        if h.kind in (kind["SIGNAL"], kind["ENDPOINT"]):
            if not h.peer:
                refuse(f"{field}.peer", "is missing")
        elif h.peer:
            refuse(f"{field}.peer", "is for SIGNAL and ENDPOINT only")
        if h.kind == kind["SIGNAL"] and not h.bit:
            refuse(f"{field}.bit", "is missing: the peer's signal bit")
        if h.kind == kind["IRQ"]:
            if not h.resource:
                refuse(f"{field}.resource", "is missing")
            if h.bit not in signals:
                refuse(f"{field}.bit", f'"{h.bit}" is not one of its own signals')
        if h.kind == kind["IRQ_LINE"] and h.intid and not 32 <= h.intid < 1020:
            refuse(f"{field}.intid", f"{h.intid} is not an SPI (32..1019)")
        if h.kind == kind["VM"] and not h.right:
            refuse(f"{field}.right", "is missing")
        if h.kind == kind["VCPU"] and h.count < MAX_VCPUS:
            refuse(f"{field}.count", f"{h.count} is below the {MAX_VCPUS} vCPUs that a VM may have")
        if h.count and h.kind not in (kind["VCPU"], kind["SIGNAL"], kind["ENDPOINT"]):
            refuse(f"{field}.count", "is for VCPU, SIGNAL and ENDPOINT only")
        slots[h.name] = slot
        slot += max(h.count, 1)
        if slot - 1 > HANDLES_MAX:
            refuse(field, f"slot {slot - 1} is beyond {HANDLES_MAX}")
    return slots, max(slot, HANDLES_MIN)


def _place_mappings(schemas, m, refuse):
    what = schemas.enum("ManifestMapping.What")
    images = (what["KERNEL"], what["INITRD"], what["DISK"])
    addresses, ranges, free = {}, [], GRANT_BASE
    for p in m.mapping:
        field = f"mapping {p.name}"
        if p.what == what["NONE"]:
            refuse(f"{field}.what", "is missing")
        if p.peer and p.what not in (what["SHARED"], what["DMA_TABLE"]):
            refuse(f"{field}.peer", "is for SHARED and DMA_TABLE")
        if p.what == what["SHARED"] and not p.peer:
            refuse(f"{field}.peer", "is missing")
        if (p.what in (what["DEVICE"], what["DMA"])) != bool(p.resource):
            refuse(f"{field}.resource", "is for DEVICE and DMA, and needed there")
        if p.what in (what["DMA"], what["DMA_TABLE"]):
            if m.scope != schemas.enum("Scope")["SCOPE_SYSTEM"]:
                refuse(f"{field}.what", "is for system services: a VM's service shall not know physical addresses")
            if what["DMA_TABLE"] not in [other.what for other in m.mapping]:
                refuse(f"{field}.what", "needs a mapping DMA_TABLE")
            if sum(other.what == p.what for other in m.mapping) > 1:
                refuse(f"{field}.what", "is there twice")
        if p.count and p.what != what["SHARED"]:
            refuse(f"{field}.count", "is for SHARED only")
        if p.what in (what["KERNEL"], what["INITRD"]) and p.write:
            refuse(f"{field}.write", "boot images are read-only")
        if p.what in (what["DEVICE"], what["DMA_TABLE"]):
            p.bytes = p.bytes or PAGE
        if p.what == what["DMA_TABLE"] and p.bytes != PAGE:
            refuse(f"{field}.bytes", f"{p.bytes} is not {PAGE}, the size of the table")
        if p.what in images:
            p.bytes = p.bytes or IMAGE_MAX
        if p.what == what["GUEST_RAM"]:
            if p.address or p.bytes:
                refuse(field, "guest RAM has its place and size from the VM: no address, no bytes")
            addresses[p.name] = GUEST_RAM_BASE + GUEST_RAM_IPA
            continue
        if p.bytes % PAGE or not p.bytes:
            refuse(f"{field}.bytes", f"{p.bytes} is not a multiple of {PAGE} above 0")
        total = p.bytes * max(p.count, 1)
        if p.address % PAGE:
            refuse(f"{field}.address", f"{p.address:#x} is not page aligned")
        address = p.address or align_up(free, BLOCK)
        if address < GRANT_BASE or address + total > GUEST_RAM_BASE:
            refuse(f"{field}.address", f"{address:#x} + {total:#x} is not within {GRANT_BASE:#x}..{GUEST_RAM_BASE:#x}")
        for other, start, end in ranges:
            if address < end and start < address + total:
                refuse(f"{field}.address", f'overlaps mapping "{other}" at {start:#x}..{end:#x}')
        ranges.append((p.name, address, address + total))
        addresses[p.name] = address
        free = max(free, address + total)
    return addresses


def _check_mmio(m, refuse):
    signals = {s.name for s in m.signal}
    for r in m.mmio:
        field = f"mmio {r.name}"
        if r.base % PAGE or r.bytes % PAGE or r.bytes_per_vcpu % PAGE or not r.bytes:
            refuse(field, f"base and bytes must be multiples of {PAGE}, bytes not 0")
        if r.base + r.bytes + MAX_VCPUS * r.bytes_per_vcpu > GUEST_RAM_IPA:
            refuse(f"{field}.base", f"ends beyond {GUEST_RAM_IPA:#x}, where guest RAM begins")
        if r.HasField("node"):
            if not r.node.name or not r.node.compatible:
                refuse(f"{field}.node", "needs name and compatible")
            lines = [h.name for h in m.handle if h.kind == h.IRQ_LINE]
            if r.node.interrupt and r.node.interrupt not in lines:
                refuse(f"{field}.node.interrupt", f'"{r.node.interrupt}" is not one of its IRQ_LINE handles')
            _check_tree(r.node, f"{field}.node", {other.name for other in m.mmio if other.HasField("node")}, refuse)
        for d in r.doorbell:
            if d.bit not in signals:
                refuse(f"{field}.doorbell.bit", f'"{d.bit}" is not one of its own signals')
            if d.offset % 4 or d.offset + 4 > r.bytes:
                refuse(f"{field}.doorbell.offset", f"{d.offset:#x} is not a word within the range")


def tree_nodes(node):
    """A node, those within it and those beside it."""
    yield node
    for other in (*node.within, *node.beside):
        yield from tree_nodes(other)


def _check_tree(root, field, ranges, refuse):
    for node in tree_nodes(root):
        field_of = f"{field}{'' if node is root else ' ' + node.name}"
        if node is not root and (node.interrupt or node.stdout):
            refuse(field_of, "interrupt and stdout are for the node of the range itself")
        for inner in node.within:
            if not inner.name or inner.beside:
                refuse(f"{field_of}.within", "needs a name, and has nothing beside it")
        for other in node.beside:
            if not other.name or not other.compatible:
                refuse(f"{field_of}.beside", "needs name and compatible")
        if len(node.compatible) > COMPATIBLES_MAX or len(node.clock_name) > CLOCKS_MAX:
            refuse(field_of, f"has more than {COMPATIBLES_MAX} compatible strings or {CLOCKS_MAX} clocks")
        if len(node.flag) + len(node.property) >= PROPERTIES_MAX:  # and a phandle
            refuse(field_of, f"has {len(node.flag) + len(node.property)} properties; at most {PROPERTIES_MAX - 1}")
        for p in node.property:
            size = sum(len(text.encode()) + 1 for text in p.text) + 4 * (len(p.cell) + bool(p.phandle))
            if not PROPERTY_NAME.match(p.name) or not 0 < size <= PROPERTY_BYTES_MAX:
                refuse(f"{field_of}.property", f'"{p.name}" has {size} bytes; it needs a name of at most 31 characters '
                       f"and 1..{PROPERTY_BYTES_MAX} bytes of text or cells; without a value it is a flag")
            if p.text and (p.cell or p.phandle):
                refuse(f"{field_of}.property {p.name}", "has text and cells")
            if p.phandle and p.phandle not in ranges:
                refuse(f"{field_of}.property {p.name}.phandle", f'"{p.phandle}" is not one of its mmio ranges with a node')


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in re.split("[_-]", name))


def folder(service: Service) -> pathlib.Path:
    """Of its manifest, in the source tree; elsewhere it counts as one of services/."""
    path = service.path.parent
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else pathlib.Path("services", service.name)


def own_config(service: Service) -> bool:
    """Its configuration message is in its own schema."""
    return bool(service.manifest.config) and (service.path.parent / f"{service.name}.proto").is_file()


def summary(service: Service) -> list:
    """What the library of devices (services/runtime/device_service.h) asks of a manifest."""
    m = service.manifest
    line = next((service.slots[h.name] for h in m.handle if h.kind == h.IRQ_LINE), 0)
    vm = next((service.slots[h.name] for h in m.handle if h.kind == h.VM), 0)
    keeper = next((service.slots[h.name] for h in m.handle if h.kind == h.ENDPOINT and h.peer == "vmm"), 0)
    told = {name: next((service.signal_mask(s.name) for s in m.signal if getattr(s, name)), 0)
            for name in ("timer", "pause", "resume")}
    doorbells = 0
    for bell in (bell for r in m.mmio for bell in r.doorbell):
        bits = service.signal(bell.bit)
        doorbells |= ((1 << max(bits.count, 1)) - 1) << bits.bit
    ram = any(p.what == p.GUEST_RAM for p in m.mapping)
    config = [f"  using Config = ::atoll_{m.config};", f"  static constexpr auto kConfigFields = &{'::atoll_' + m.config}_msg;"]
    return ["// The same as types of the library see it (services/runtime/device_service.h).", "struct Manifest {",
            f"  static constexpr size_t kJournalBytes = {m.journal_bytes};",
            f"  static constexpr abi::Handle kLine{{{line}}};  // the first IRQ_LINE; 0: none",
            f"  static constexpr abi::Handle kVm{{{vm}}};  // of the VM, with the rights that the manifest names; 0: none",
            f"  static constexpr abi::Handle kKeeper{{{keeper}}};  // to the VM's vmm; 0: none",
            *(f"  static constexpr uint64_t k{name.capitalize()} = {mask:#x};" for name, mask in told.items()),
            f"  static constexpr uint64_t kDoorbells = {doorbells:#x};",
            f"  static constexpr bool kGuestRam = {'true' if ram else 'false'};",
            *(config if own_config(service) else []), "};", ""]


def header(service: Service) -> str:
    """The text of services/NAME/manifest.h."""
    m = service.manifest
    space = f"{m.name.replace('-', '_')}_manifest"
    guard = f"ATOLL_{'_'.join(folder(service).parts).replace('-', '_').upper()}_MANIFEST_H_"
    constants = [("size_t", "JournalBytes", f" = {m.journal_bytes}")]
    for s in m.signal:
        name, bits = camel(s.name), max(s.count, 1)
        constants.append(("uint32_t", f"{name}Bit", f" = {s.bit}"))
        if s.count:
            constants.append(("uint32_t", f"{name}BitCount", f" = {s.count}"))
        constants.append(("uint64_t", f"{name}Signal", f" = {((1 << bits) - 1) << s.bit:#x}"))
    for h in m.handle:
        kind = {h.SIGNAL: "abi::SignalHandle", h.ENDPOINT: "abi::EndpointHandle"}.get(h.kind)
        slot = f"{{{service.slots[h.name]}}}"
        constants.append((kind or "abi::Handle", camel(h.name), f"{{{slot}}}" if kind else slot))
        if h.count:
            constants.append(("uint32_t", f"{camel(h.name)}HandleCount", f" = {h.count}"))
    for p in m.mapping:
        name = camel(p.name)
        constants.append(("VirtAddr", f"{name}Address", f"{{{service.addresses[p.name]:#x}}}"))
        if p.bytes:
            constants.append(("uint64_t", f"{name}Bytes", f" = {p.bytes:#x}"))
        if p.count:
            constants.append(("uint32_t", f"{name}Count", f" = {p.count}"))
            constants.append(("uint64_t", f"{name}Stride", f" = {p.bytes:#x}"))
    for index, r in enumerate(m.mmio):
        constants.append(("uint64_t", f"{camel(r.name)}Badge", f" = {index}"))

    names = [name for _, name, _ in constants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{service.path}: two entries would both be k{twice[0]}: rename one")
    return "\n".join([
        f"// Generated from {folder(service)}/manifest.textproto by scripts/manifest.py.",
        f"#ifndef {guard}", f"#define {guard}", "", "#include <cstddef>", "#include <cstdint>", "",
        '#include "ipc/abi.h"', *([f'#include "proto/{m.name}.atoll.h"'] if own_config(service) else []),
        "", f"namespace atoll::{space} {{", "",
        *(f"inline constexpr {kind} k{name}{value};" for kind, name, value in constants),
        "", *summary(service), f"}}  // namespace atoll::{space}", "", f"#endif  // {guard}", ""])


def main(arguments) -> None:
    parser = argparse.ArgumentParser(description="Generates the constants headers of services.")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--stamp", type=pathlib.Path)
    parser.add_argument("manifests", type=pathlib.Path, nargs="+")
    options = parser.parse_args(arguments)
    schemas = Schemas("manifest")
    for path in options.manifests:
        service = load(schemas, path.resolve())
        target = options.out / folder(service) / "manifest.h"
        text = header(service)
        if not target.exists() or target.read_text(encoding="utf-8") != text:  # else nothing is rebuilt
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    if options.stamp:
        options.stamp.touch()


if __name__ == "__main__":
    run_tool(main)
