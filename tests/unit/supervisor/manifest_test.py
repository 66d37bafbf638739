"""scripts/manifest.py: what it refuses and why, and the constants that it generates."""
import unittest

import manifest
from tool_case import SERVICES, ToolCase

GOOD = 'scope: SCOPE_VM rank: 2 priority: 16 stack_bytes: 4096 receive: true '


class BadManifests(ToolCase):
    def refuse(self, text: str, *parts: str):
        if not (self.manifests / "new").exists():
            (self.manifests / "new").mkdir()
        path = self.manifests / "new/manifest.textproto"
        path.write_text(f'name: "new" {text}' if "name_is" not in text else text.replace("name_is", "name"))
        self.assert_refused(lambda: manifest.load(self.schemas, path), "new/manifest.textproto", *parts)

    def test_fields_of_the_service(self):
        self.refuse('name_is: "old" ' + GOOD, "name", 'the name of the folder, "new"')
        self.refuse(GOOD + "colour: 3", "1:", "colour")
        self.refuse(GOOD.replace("SCOPE_VM", "SCOPE_NONE"), "scope", "missing")
        self.refuse(GOOD.replace("rank: 2", "rank: 4"), "rank", "above 3")
        for priority in (0, 20):
            self.refuse(GOOD.replace("priority: 16", f"priority: {priority}"), "priority", "1..19")
        for stack in (0, 100, 4097, 1 << 21):
            self.refuse(GOOD.replace("stack_bytes: 4096", f"stack_bytes: {stack}"), "stack_bytes")
        for journal in (1, 1 << 30):
            self.refuse(GOOD + f"journal_bytes: {journal}", "journal_bytes")
        self.refuse(GOOD + "restart { deaths: 16 }", "restart.deaths", "above 15")
        self.refuse(GOOD.replace("SCOPE_VM", "SCOPE_SYSTEM") + "hypercalls: true", "hypercalls", "within a VM")
        self.refuse(GOOD.replace("receive: true", "") + 'mmio { name: "r" base: 4096 bytes: 4096 }', "mmio", "receive")

    def test_names(self):
        for name in ("", "A", "a b", "1", "a__b", "_a"):
            self.refuse(GOOD + f'signal {{ name: "{name}" }}', "signal.name")
            self.refuse(GOOD + f'handle {{ name: "{name}" kind: IRQ_LINE }}', "handle.name")
        self.refuse(GOOD + 'signal { name: "a" } signal { name: "a" bit: 1 }', "signal.name", "twice")

    def test_direct_memory_access(self):
        system = GOOD.replace("SCOPE_VM", "SCOPE_SYSTEM")
        table = 'mapping { name: "t" what: DMA_TABLE } '
        memory = 'mapping { name: "m" what: DMA bytes: 4096 resource: PHYSICAL_BLOCK } '
        self.refuse(GOOD + table, "mapping t.what", "physical addresses")
        self.refuse(GOOD + table + memory, "mapping t.what", "physical addresses")
        self.refuse(system + memory, "mapping m.what", "needs a mapping DMA_TABLE")
        self.refuse(system + table + table.replace('"t"', '"u"'), "mapping t.what", "twice")
        self.refuse(system + table.replace("}", "bytes: 8192 }"), "mapping t.bytes", "8192 is not 4096")
        self.refuse(system + table + memory.replace("bytes: 4096", ""), "mapping m.bytes", "0 is not a multiple")
        self.refuse(system + table + memory.replace("resource: PHYSICAL_BLOCK", ""), "mapping m.resource", "needed")
        self.refuse(system + table + memory.replace("}", 'peer: "x" }'), "mapping m.peer", "SHARED and DMA_TABLE")

    def test_names_that_would_be_one_constant(self):
        text = GOOD + 'handle { name: "x" kind: IRQ_LINE } handle { name: "x_bit" kind: IRQ_LINE } signal { name: "x" }'
        self.add_manifest("two", text)
        service = manifest.load(self.schemas, self.manifests / "two/manifest.textproto")
        self.assert_refused(lambda: manifest.header(service), "two/manifest.textproto", "kXBit")

    def test_signals(self):
        self.refuse(GOOD + 'signal { name: "a" bit: 64 }', "signal a", "bit 64 is beyond 63")
        self.refuse(GOOD + 'signal { name: "a" bit: 62 count: 3 }', "signal a", "bit 64 is beyond 63")
        self.refuse(GOOD + 'signal { name: "a" bit: 58 count: 5 }', "signal a", "bit 61 is the heartbeat's")
        self.refuse(GOOD + 'signal { name: "a" bit: 3 count: 4 } signal { name: "b" bit: 6 }', "signal b", 'bit 6 is also "a"')
        self.refuse(GOOD + 'signal { name: "a" timer: true } signal { name: "b" bit: 1 timer: true }', "signal b.timer")
        self.refuse(GOOD + 'signal { name: "a" count: 2 timer: true }', "signal a.count", "one bit")
        button = 'signal { name: "%s" bit: %d power_button: true %s }'
        self.refuse(GOOD + button % ("a", 0, "") + button % ("b", 1, ""), "signal b.power_button", '"a" is the power button')
        self.refuse(GOOD + button % ("a", 0, "count: 2"), "signal a.count", "power button has one bit")
        self.refuse(GOOD + button % ("a", 0, "timer: true"), "signal a", "is the timer's")
        pause, resume = 'signal { name: "p%d" bit: %d pause: true }', 'signal { name: "r" bit: 9 resume: true %s}'
        self.refuse(GOOD + pause % (1, 1) + pause % (2, 2) + resume % "", "signal p2.pause", '"p1" says so')
        self.refuse(GOOD + pause % (1, 1), "signal", "one bit says pause, one resume")
        self.refuse(GOOD + pause % (1, 1) + resume % "timer: true ", "signal r", "is the timer's, and not the resume's")
        self.refuse(GOOD + pause % (1, 1) + resume % "count: 2 ", "signal r.count", "resume has one bit")

    def test_handles(self):
        def handle(fields, *parts, text=GOOD):
            self.refuse(text + f'handle {{ name: "h" {fields} }}', "handle h", *parts)

        handle("", "kind", "missing")
        handle("kind: SIGNAL", "peer", "missing")
        handle('kind: SIGNAL peer: "x"', "bit", "missing")
        handle('kind: VM peer: "x" right: VM_RIGHT_POWER', "peer", "SIGNAL and ENDPOINT only")
        handle("kind: VM", "right", "missing")
        handle("kind: VCPU count: 7", "count", "8 vCPUs")
        handle("kind: IRQ", "resource", "missing")
        handle('kind: IRQ resource: PHYSICAL_UART bit: "u"', "bit", '"u" is not one of its own')
        for intid in (1, 31, 1020):
            handle(f"kind: IRQ_LINE intid: {intid}", "intid", "not an SPI")
        handle("kind: IRQ_LINE count: 2", "count")
        handle('kind: SIGNAL peer: "x" bit: "b" count: 64', "slot 64 is beyond 63")
        handle("kind: IRQ_LINE", "no VM", text=GOOD.replace("SCOPE_VM", "SCOPE_SYSTEM"))

    def test_mappings(self):
        def mapping(fields, *parts):
            self.refuse(GOOD + f'mapping {{ name: "m" {fields} }}', "mapping m", *parts)

        mapping("", "what", "missing")
        mapping("what: SHARED bytes: 4096", "peer")
        mapping('what: DISK peer: "x"', "peer", "for SHARED")
        mapping("what: DEVICE", "resource")
        mapping("what: DISK resource: PHYSICAL_RTC", "resource", "for DEVICE")
        mapping("what: DISK count: 2", "count")
        mapping("what: KERNEL write: true", "write", "read-only")
        mapping("what: INITRD write: true", "write", "read-only")
        mapping("what: GUEST_RAM bytes: 4096", "no bytes")
        mapping('what: SHARED peer: "x"', "bytes", "0 is not")
        mapping('what: SHARED peer: "x" bytes: 5', "bytes", "5 is not")
        mapping('what: SHARED peer: "x" bytes: 4096 address: 0x20000001', "address", "page aligned")
        mapping('what: SHARED peer: "x" bytes: 4096 address: 0x1ffff000', "address", "not within")
        mapping('what: SHARED peer: "x" bytes: 0x1000000000 count: 4', "address", "not within")

    def test_overlapping_mappings(self):
        self.refuse(GOOD + 'mapping { name: "a" what: SHARED peer: "x" bytes: 8192 address: 0x20000000 count: 2 } '
                    'mapping { name: "b" what: SHARED peer: "x" bytes: 4096 address: 0x20003000 }',
                    "mapping b.address", 'overlaps mapping "a"')

    def test_ranges(self):
        def mmio(fields, *parts):
            self.refuse(GOOD + f'signal {{ name: "q" }} mmio {{ name: "r" {fields} }}', "mmio r", *parts)

        mmio("base: 0x1000", "bytes not 0")
        mmio("base: 0x1001 bytes: 0x1000", "multiples")
        mmio("base: 0x1000 bytes: 0x1000 bytes_per_vcpu: 1", "multiples")
        mmio("base: 0x3ffff000 bytes: 0x2000", "beyond 0x40000000")
        mmio("base: 0x3ffff000 bytes: 0x1000 bytes_per_vcpu: 0x1000", "beyond")
        mmio("base: 0xfffffffffffff000 bytes: 0x2000", "beyond")
        mmio('base: 0x1000 bytes: 0x1000 doorbell { bit: "z" }', 'doorbell.bit', '"z"')
        mmio('base: 0x1000 bytes: 0x1000 doorbell { bit: "q" offset: 2 }', "doorbell.offset", "0x2")
        mmio('base: 0x1000 bytes: 0x1000 doorbell { bit: "q" offset: 0x1000 }', "doorbell.offset")
        mmio('base: 0x1000 bytes: 0x1000 node { name: "n" }', "node", "compatible")
        mmio('base: 0x1000 bytes: 0x1000 node { name: "n" compatible: "c" interrupt: "i" }', "node.interrupt", '"i"')

    def test_device_tree_nodes(self):
        def node(fields, *parts):
            self.refuse(GOOD + f'mmio {{ name: "r" base: 0x1000 bytes: 0x1000 node {{ name: "n" compatible: "c" {fields} }} }}',
                        "mmio r.node", *parts)

        for name in ("", "a b", "x" * 32, "a/b"):
            node(f'property {{ name: "{name}" cell: 1 }}', ".property", f'"{name}"')
        node('property { name: "p" }', '"p" has 0 bytes', "is a flag")
        node(f'property {{ name: "p" text: "{"x" * 64}" }}', "65 bytes")
        node(f'property {{ name: "p" phandle: "r" {"cell: 1 " * 16} }}', "68 bytes")
        node('property { name: "p" text: "a" cell: 1 }', "property p", "text and cells")
        node('property { name: "p" phandle: "q" }', "property p.phandle", '"q" is not one of its mmio ranges')
        node("".join(f'property {{ name: "p{i}" cell: 1 }}' for i in range(8)), "8 properties; at most 7")
        node('compatible: ["1", "2", "3", "4"]', "more than 4 compatible")
        node('beside { name: "b" }', ".beside", "needs name and compatible")
        node('beside { compatible: "b" }', ".beside", "needs name and compatible")
        node('within { compatible: "b" }', ".within", "needs a name")
        node('within { name: "w" beside { name: "b" compatible: "c" } }', ".within", "nothing beside it")
        node('beside { name: "b" compatible: "c" within { name: "w" property { name: "p" phandle: "w" } } }', "w.property p.phandle")
        node('beside { name: "b" compatible: "c" stdout: true }', "b", "stdout")


class Headers(ToolCase):
    def constants(self, text: str) -> dict:
        self.add_manifest("new-one", GOOD + text)
        service = manifest.load(self.schemas, self.manifests / "new-one/manifest.textproto")
        lines = [line.split(" ", 3) for line in manifest.header(service).splitlines() if line.startswith("inline")]
        return {line[3].split(";")[0].split("{")[0].split(" =")[0]: line[2] + " " + line[3] for line in lines}

    def test_constants(self):
        constants = self.constants(
            'journal_bytes: 8192 signal { name: "rx" bit: 3 } signal { name: "queue" bit: 8 count: 4 } '
            'handle { name: "vcpu" kind: VCPU count: 8 } handle { name: "irq_line" kind: IRQ_LINE } '
            'mapping { name: "ring" what: SHARED peer: "x" bytes: 8192 count: 2 } mapping { name: "ram" what: GUEST_RAM } '
            'mmio { name: "a" base: 4096 bytes: 4096 } mmio { name: "b" base: 8192 bytes: 4096 }')
        expected = {"kJournalBytes": "= 8192", "kRxBit": "= 3", "kRxSignal": "= 0x8",
                    "kQueueBit": "= 8", "kQueueBitCount": "= 4", "kQueueSignal": "= 0xf00", "kVcpu": "{1}",
                    "kVcpuHandleCount": "= 8", "kIrqLine": "{9}", "kRingAddress": "{0x20000000}",
                    "kRingBytes": "= 0x2000", "kRingCount": "= 2", "kRingStride": "= 0x2000",
                    "kRamAddress": "{0x2040000000}", "kABadge": "= 0", "kBBadge": "= 1"}
        self.assertEqual(set(constants), set(expected))
        for name, value in expected.items():
            self.assertIn(value, constants[name], name)

    def test_supervisor_has_slots_1_and_2_from_the_kernel(self):
        service = manifest.load(self.schemas, SERVICES / "supervisor/manifest.textproto")
        self.assertEqual(min(service.slots.values()), 3)

    def test_unchanged_header_is_not_written_again(self):
        arguments = ["--out", str(self.folder), str(SERVICES / "pl011/manifest.textproto")]
        manifest.main(arguments)
        header = self.folder / "services/pl011/manifest.h"
        self.assertIn("namespace atoll::pl011_manifest", header.read_text())
        before = header.stat().st_mtime_ns
        manifest.main(arguments)
        self.assertEqual(header.stat().st_mtime_ns, before)

    def test_shipped_manifests_are_good(self):
        for path in sorted(SERVICES.glob("*/manifest.textproto")):
            with self.subTest(path.parent.name):
                manifest.header(manifest.load(self.schemas, path))


if __name__ == "__main__":
    unittest.main()
