"""scripts/describe.py: what it refuses and why, and the plan that it makes."""
import re
import unittest

import describe
from schemas import ROOT
from tool_case import SERVICES, ToolCase

ONE_VM = 'vm { name: "linux" kernel: "kernel" %s }'


class BadDescriptions(ToolCase):
    def refuse(self, text: str, *parts: str):
        self.assert_refused(lambda: self.describe(text), "system.textproto", *parts)

    def refuse_vm(self, fields: str, *parts: str):
        self.refuse(ONE_VM % fields, *parts)

    def test_syntax(self):
        self.refuse("vm {", "1:")
        self.refuse('vm { name: "a" cpus: 4 }', "1:", "cpus")
        self.refuse_vm('memory_mib: "512"', "memory_mib")
        self.refuse_vm("memory_mib: -1", "-1")
        self.refuse_vm("vcpus: 99999999999", "99999999999")
        self.refuse_vm("vcpus: 1 vcpus: 2", "vcpus")
        self.refuse('log_level: LOUD', "LOUD")
        for milliseconds in (0, 9, 10_001):
            self.refuse(f"heartbeat_ms: {milliseconds} " + ONE_VM % "", "heartbeat_ms", str(milliseconds))

    def test_missing_files(self):
        self.system.unlink(missing_ok=True)
        self.assert_refused(lambda: describe.describe(self.system, [self.manifests], {}),
                            "system.textproto", "cannot be read", "No such file")
        self.refuse('vm { name: "a" kernel: "absent" }', "vm a.kernel", "no such file", "--file absent=PATH")
        self.refuse_vm('initrd: "absent"', "vm linux.initrd", "no such file")
        self.refuse_vm('disk { file: "absent" }', "vm linux.disk[0].file", "no such file")
        self.refuse_vm('initrd: "services"', "vm linux.initrd", "no such file")
        self.refuse_vm('initrd: "empty"', "vm linux.initrd", "0 bytes")
        self.assert_refused(lambda: self.describe(ONE_VM % "", {"kernel": "/absent"}), 'no such file: "/absent"')

    def test_binary_file(self):
        self.system.write_bytes(b"\xff\xfe\x00")
        self.assert_refused(lambda: describe.describe(self.system, [self.manifests], {}), "not a text file")

    def test_number_of_vms(self):
        self.refuse("", "vm: 0 VMs", "1..8")
        self.refuse(" ".join(f'vm {{ name: "v{i}" kernel: "kernel" memory_mib: 2 }}' for i in range(9)), "9 VMs")

    def test_names(self):
        for name in ("", "Linux", "1st", "a b", "a.b", "a/b", "-a", "a-", "a\\n", "x" * 25, "\\303\\244"):
            self.refuse(f'vm {{ name: "{name}" kernel: "kernel" }}', "vm[0].name")
        self.refuse(ONE_VM % "" + ONE_VM % "", "vm[1].name", "twice")

    def test_vcpus(self):
        for count in (0, 9, 4294967295):
            self.refuse_vm(f"vcpus: {count}", "vm linux.vcpus", f"{count} is not in 1..8")

    def test_memory(self):
        for mib in (0, 1, 3, 511, 8194, 4294967295):
            self.refuse_vm(f"memory_mib: {mib}", "vm linux.memory_mib", f"{mib} is not an even number in 2..8192")
        (self.folder / "kernel").write_bytes(b"x" * (3 << 20))
        self.refuse_vm("memory_mib: 2", "vm linux.memory_mib", "cannot hold kernel and initrd")

    def test_kernel(self):
        self.refuse('vm { name: "a" }', "vm a.kernel", "missing")

    def test_command_line(self):
        self.refuse_vm(f'command_line: "{"x" * 2048}"', "vm linux.command_line", "2048")
        self.refuse_vm(r'command_line: "a\000b"', "vm linux.command_line", "NUL")
        self.describe(ONE_VM % f'command_line: "{"x" * 2047}"')

    def test_priority(self):
        for priority in (0, 16):
            self.refuse_vm(f"priority: {priority}", "vm linux.priority", "1..15")

    def test_disks(self):
        self.refuse_vm("disk { }", "vm linux.disk[0]", "one of file, zero_mib, null_mib, physical")
        self.refuse_vm("disk { zero_mib: 0 }", "vm linux.disk[0].zero_mib", "0 is not in")
        self.refuse_vm("disk { null_mib: 5000 }", "vm linux.disk[0].null_mib", "5000 is not in 1..4096")
        self.refuse_vm('disk { file: "tiny" }', "vm linux.disk[0].file", "less than a sector")
        self.refuse_vm('disk { file: "" }', "vm linux.disk[0].file", "is empty")
        self.refuse_vm('disk { file: "disk" zero_mib: 3 }', "oneof")
        self.refuse_vm(f'disk {{ zero_mib: 1 id: "{"x" * 21}" }}', "vm linux.disk[0].id", "20")
        self.refuse_vm("disk { null_mib: 1 } " * 33, "vm linux.disk", "virtio slot")

    def test_parts_of_the_machines_disk(self):
        disk = "disk { physical { first_mib: %d mib: %d } %s }"
        self.refuse_vm(disk % (1 << 33, 1, ""), "vm linux.disk[0].physical.mib", "beyond 8589934592 MiB")
        self.refuse_vm(disk % ((1 << 64) - 1, 0, ""), "vm linux.disk[0].physical.first_mib", "beyond")
        self.refuse_vm("disk { physical { first_mib: -1 } }", "-1")
        self.refuse_vm("disk { physical { } mib: 3 }", "mib")
        overlapping = [((0, 10), (9, 1)), ((9, 0), (0, 10)), ((0, 0), (1000, 1)), ((5, 1), (5, 1)), ((0, 0), (0, 0))]
        for one, other in overlapping:
            second = 'vm { name: "b" kernel: "kernel" disk { null_mib: 1 } %s }'
            self.refuse(ONE_VM % (disk % (*one, "")) + second % (disk % (*other, "")),
                        "vm b.disk[1].physical: overlaps vm linux.disk[0]", "read-only")
            self.refuse_vm(disk % (*one, "") + disk % (*other, "read_only: true"), "vm linux.disk[1].physical: overlaps")

    def test_ports_of_consoles(self):
        console = 'device { service: "virtio-console" config: "%s" }'
        for ports, *parts in (("port { name: 'a' }", 'port "a" is in virtio-console.linux.0', "two ends"),
                              ("port { name: 'a' loop: true } port { name: 'a' }", '"a" is there twice'),
                              ("port { name: 'a/b' loop: true }", '"a/b" must be 1..31'), ("port { }", '"" must be'),
                              (f"port {{ name: '{'x' * 32}' }}", ".name: has 32 bytes; at most 31"),
                              ("port { name: 'a' } " * 7, ".port: is there 7 times; at most 6"),
                              ("rows: 65536", ".rows: 65536 is above 65535")):
            self.refuse_vm(console % ports, *parts)
        self.refuse_vm(3 * (console % "port { name: 'a' }"), 'port "a"', "virtio-console.linux.2")
        self.refuse_vm(8 * (console % ""), "1 pl011 and 8 virtio-console", "8 lines")
        records, _ = self.describe(ONE_VM % (console % "port { name: 'x' loop: true } port { name: 'a' }"
                                             + console % "port { name: 'a' }"))
        tasks = {task.name: task.slot for kind, task in records if kind == "task"}
        configs = {config.task: config.data for kind, config in records if kind == "config"}
        links = self.schemas.message("PortSwitchConfig").FromString(configs[tasks["port-switch"]]).link
        self.assertEqual([(link.device, link.port, link.other_device, link.other_port) for link in links],
                         [(0, 0, 0, 0), (0, 1, 1, 0)])
        names = self.schemas.message("ConsoleConfig").FromString(configs[tasks["console"]])
        self.assertEqual((list(names.guest), list(names.hvc)), (["linux"], ["linux.hvc0", "linux.hvc1"]))

    DEVICE = 'scope: SCOPE_DEVICE rank: 2 priority: 16 stack_bytes: 8192 receive: true config: "%s"'

    def test_configurations_of_devices(self):
        self.add_manifest("lamp", self.DEVICE % "SwitchPort")
        self.add_manifest("plain", self.DEVICE % "")
        self.add_manifest("lost", self.DEVICE % "NobodysConfig")
        self.add_manifest("greedy", self.DEVICE % "StartConfig")

        def refuse(config: str, *parts: str, service="lamp"):
            self.refuse_vm(f'device {{ service: "lamp" }} device {{ service: "{service}" config: "{config}" }}',
                           "vm linux.device[1].config", *parts)

        refuse("colour: 3", "1:1", "colour")
        refuse("present: 3", "present")
        refuse("present: true\\n name: 5", "2:8")
        refuse("present", "1:")
        refuse("present: true }", "1:15")
        refuse(f"name: '{'x' * 32}'", ".name: has 32 bytes; at most 31")
        refuse("mac: 'xxxxxxx'", ".mac: has 7 bytes; at most 6")
        refuse("present: true", "plain has no configuration", service="plain")
        refuse("", 'no message "NobodysConfig"', "services/lost/lost.proto", service="lost")
        refuse("", "those from 1000 up", service="greedy")
        self.refuse_vm('device: "lamp"', "1:", "device")
        self.refuse_vm("device { }", "vm linux.device[0].service", 'no service ""')

        text = f"name: '{'x' * 31}' mac: 'abcdef' present: true"
        records, machine = self.describe(ONE_VM % f'memory_mib: 16 device {{ service: "plain" }} '
                                         f'device {{ service: "lamp" config: "{text}" }} device {{ service: "lamp" }}')
        tasks = {task.name: task.slot for kind, task in records if kind == "task"}
        configs = {config.task: config.data for kind, config in records if kind == "config"}
        port = self.schemas.message("SwitchPort").FromString(configs[tasks["lamp.linux.1"]])
        self.assertEqual((port.present, port.name, port.mac), (True, "x" * 31, b"abcdef"))
        seeds = set()
        for name, instance in (("plain.linux.0", 0), ("lamp.linux.1", 0), ("lamp.linux.2", 1)):
            start = self.schemas.message("StartConfig").FromString(configs[tasks[name]])
            self.assertEqual((start.ram_base, start.ram_bytes, start.vcpus, start.instance),
                             (0x4000_0000, 16 << 20, 1, instance))
            seeds.add(start.seed)
        self.assertEqual([len(seed) for seed in seeds], [32] * 3)

    def test_VSOCK_02_VSOCK_21_sockets(self):
        def device(config: str = "") -> str:
            return f'device {{ service: "virtio-vsock" config: "{config}" }} '

        where = "device virtio-vsock.config.cid"
        self.refuse_vm(device("cid: 2"), where, "2 is not a guest's: these begin with 3")
        self.refuse_vm(device("cid: 4294967295"), "device[0].config.cid", "above 4294967294")
        self.refuse_vm(device("cid: 9") * 2, where, "9 is there twice")
        self.refuse_vm(device("cid: 4") + device(), where, "4 is there twice")
        self.refuse_vm(device("peer: 3 " * 10), "device[0].config.peer", "10 times; at most 9")
        self.refuse_vm(device() * 9, "vm linux.device", "is one more virtio-vsock than the 8")

    def test_networks(self):
        for mac in ("52:54:00:01:02", "52:54:00:01:02:03:04", "52-54-00-01-02-03", "5254.0001.0203", "52:54:00:01:02:0g",
                    " 52:54:00:01:02:03", "52:54:00:01:02:03\\n"):
            self.refuse_vm(f'network {{ mac: "{mac}" }}', "vm linux.network[0].mac", "not of the form")
        for mac in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"):
            self.refuse_vm(f'network {{ }} network {{ mac: "{mac}" }}', "vm linux.network[1].mac", "not the address of one")
        for mtu in (0, 67, 65536, 4294967295):
            self.refuse_vm(f"network {{ mtu: {mtu} }}", "vm linux.network[0].mtu", f"{mtu} is not in 68..65535")
        for pairs in (0, 9):
            self.refuse_vm(f"network {{ queue_pairs: {pairs} }}", "vm linux.network[0].queue_pairs", f"{pairs} is not in 1..8")
        self.refuse_vm('device { service: "virtio-net" }', "vm linux.device[0].service", "comes with a `network`")

    def test_too_many_networks(self):
        text = ONE_VM % ("network { } " * 9)
        self.refuse(text + text.replace("linux", "b"), "vm b.network[7]", "16 networks")
        self.refuse(ONE_VM % 'network { mac: "52:54:00:00:00:01" }'
                    + ONE_VM.replace("linux", "b") % 'network { } network { mac: "52:54:00:00:00:01" }',
                    "vm b.network", "52:54:00:00:00:01", "as vm linux has")

    def test_schedules(self):
        for cpu in (8, 4294967295):
            self.refuse_vm(f"cpu: 0 cpu: {cpu}", "vm linux.cpu", f"{cpu} is not in 0..7")
        self.refuse_vm("budget_ms: 5", "vm linux.budget_ms", "5 is more than period_ms, 0")
        self.refuse_vm("budget_ms: 11 period_ms: 10", "vm linux.budget_ms", "11 is more than period_ms, 10")
        self.refuse_vm("period_ms: 10", "vm linux.period_ms", "without budget_ms")
        self.refuse_vm("budget_ms: 1 period_ms: 1000001", "vm linux.period_ms", "above 1000000")
        self.refuse_vm("when_off: REBOOT", "REBOOT")
        self.refuse_vm("when_crashed: 7", "vm linux.when_crashed", "7 is not one of STAY_OFF, START_AGAIN")

    def test_clock(self):
        for offset in (1 << 32, -(1 << 32), -(1 << 63)):
            self.refuse_vm(f"rtc_offset_s: {offset}", "vm linux.rtc_offset_s", f"{offset} is not in +-4294967295")

    def test_devices_and_services(self):
        self.refuse_vm('device { service: "floppy" }', "vm linux.device[0].service", 'no service "floppy"', "virtio-blk")
        self.refuse_vm('device { service: "pl011" }', "vm linux.device[0].service", "not a device service")
        self.refuse_vm('device { service: "virtio-blk" }', "vm linux.device[0].service", "comes with a `disk`")
        self.refuse_vm('without: "virtio-blk"', "vm linux.without", "vgic, pl011, pl031, vmm")
        self.refuse('service: "pl011" ' + ONE_VM % "", "service", "is a service of VMs")
        self.refuse('service: "x" ' + ONE_VM % "", "service", 'no service "x"')

    def test_too_many_tasks(self):
        text = " ".join(f'vm {{ name: "v{i}" kernel: "kernel" {"disk { null_mib: 1 } " * 32} }}' for i in range(8))
        self.refuse(text, "tasks in all", "128")


class BadManifests(ToolCase):
    """What only shows when manifests meet: their errors name the manifest."""

    def refuse(self, *parts: str):
        self.assert_refused(lambda: self.describe(ONE_VM % "disk { zero_mib: 1 }"), *parts)

    def test_missing(self):
        self.assert_refused(lambda: describe.load_services(self.schemas, self.folder / "none"),
                            "has no NAME/manifest.textproto")
        (self.manifests / "supervisor/manifest.textproto").unlink()
        self.refuse("supervisor/manifest.textproto")

    def test_peer(self):
        self.edit_manifest("pl011", 'peer: "console" bit: "guest"', 'peer: "consul" bit: "guest"')
        self.refuse("pl011/manifest.textproto", "console.peer", 'no service "consul"')

    def test_peer_bit(self):
        self.edit_manifest("pl011", 'bit: "guest"', 'bit: "gast"')
        self.refuse("pl011/manifest.textproto", "handle console.bit", 'console has no signal "gast"')

    def test_peer_bit_count(self):
        self.edit_manifest("console", 'bit: 8 count: 8', 'bit: 8 count: 1')
        self.assert_refused(lambda: self.describe(ONE_VM % "" + ONE_VM.replace("linux", "b") % ""),
                            "console/manifest.textproto", "signal guest.count", "too few")

    def test_handle_count(self):
        self.edit_manifest("console", 'kind: SIGNAL count: 8', 'kind: SIGNAL count: 1')
        self.assert_refused(lambda: self.describe(ONE_VM % "" + ONE_VM.replace("linux", "b") % ""),
                            "console/manifest.textproto", "guest.count", "too few for pl011.b")

    def test_peer_that_is_left_out(self):
        self.edit_manifest("vmm", 'handle { name: "vm"', 'handle { name: "rtc" kind: SIGNAL peer: "pl031" bit: "timer" } '
                           'handle { name: "vm"')
        self.describe(ONE_VM % "")
        self.assert_refused(lambda: self.describe(ONE_VM % 'without: "pl031"'),
                            "vmm/manifest.textproto", "rtc.peer", "needs one instance of pl031, the system has 0")

    def test_rank_order(self):
        for rank in (2, 3):
            self.setUp()
            self.edit_manifest("pl031", "rank: 2", f"rank: {rank}")
            self.edit_manifest("vgic", 'handle {', 'handle { name: "rtc" kind: ENDPOINT peer: "pl031" } handle {')
            self.refuse("vgic/manifest.textproto", "handle rtc", f"rank 2 may not call pl031 of rank {rank}")

    def test_endpoint_that_is_none(self):
        self.edit_manifest("pl011", 'handle {', 'handle { name: "c" kind: ENDPOINT peer: "console" } handle {')
        self.refuse("pl011/manifest.textproto", "handle c", "console receives no calls")

    def test_overlapping_ranges(self):
        self.edit_manifest("pl031", "base: 0x09010000", "base: 0x09000000")
        self.refuse("vm linux", "pl031.linux serves 0x9000000..0x9001000", "overlaps pl011.linux")

    def test_same_interrupt(self):
        self.edit_manifest("pl031", "intid: 34", "intid: 33")
        self.refuse("vm linux", "INTID 33 of pl031.linux", "pl011.linux")
        self.setUp()
        self.edit_manifest("pl031", "intid: 34", "intid: 48")
        self.refuse("vm linux", "INTID 48 of virtio-blk.linux.0", "pl031.linux")

    def test_two_that_answer_hypercalls(self):
        self.edit_manifest("vgic", "receive: true", "receive: true hypercalls: true")
        self.refuse("vm linux", "vgic.linux and vmm.linux both answer hypercalls")

    def test_two_power_buttons(self):
        devices = " ".join(f'device {{ service: "{name}" }}' for name in ("pl061", "sp805", "pl061"))
        self.assert_refused(lambda: self.describe(ONE_VM % devices), "vm linux",
                            "pl061.linux.0 and pl061.linux.2 are both its power button")

    def test_shared_memory_of_one_side(self):
        self.edit_manifest("console", 'mapping { name: "ring"', 'mapping { name: "loop"')
        self.refuse("pl011/manifest.textproto", "mapping loop", "SHARED")
        self.setUp()
        path = self.manifests / "pl011/manifest.textproto"
        path.write_text(re.sub(r"(what: SHARED .*bytes: )\d+", r"\g<1>4096", path.read_text()))
        self.refuse("mapping ring", "must be SHARED with")

    def test_image_that_does_not_fit(self):
        self.edit_manifest("vmm", 'what: KERNEL', 'what: KERNEL bytes: 4096')
        self.refuse("vmm/manifest.textproto", "mapping kernel.bytes", "4096 is less than the 5000 of vmm.linux")

    def test_unknown_config(self):
        self.edit_manifest("vmm", 'config: "VmmConfig"', 'config: "Vmm"')
        self.refuse("vmm/manifest.textproto", "config", 'there is no message "Vmm"')

    def test_slot_of_a_service_without_devices(self):
        self.edit_manifest("pl031", "base: 0x09010000", "base: 0")
        self.refuse("pl031/manifest.textproto", "base 0 needs SCOPE_DEVICE")


class Plans(ToolCase):
    def one(self, fields: str = "", **named):
        return self.describe(ONE_VM % fields, named)

    def of(self, records, kind: str) -> list:
        return [message for k, message in records if k == kind]

    def slot_of(self, records, task: str) -> int:
        return next(t.slot for t in self.of(records, "task") if t.name == task)

    def test_shipped_descriptions(self):
        for path in sorted((ROOT / "guests").glob("*.textproto")):
            with self.subTest(path.name):
                named = {name: str(self.folder / "disk") for name in ("linux", "initramfs", "disk", "bare")}
                plan, machine = describe.describe(path, [SERVICES], named)
                self.assertGreater(len(self.decode(plan)), 20)
                self.assertEqual(len(machine.vms), 2 if path.stem == "two-vms" else 1)

    def test_header_counts_records(self):
        records, _ = self.one()
        self.assertEqual(records[0][0], "header")
        self.assertEqual(records[0][1].records, len(records))
        self.assertEqual(records[0][1].version, 1)
        self.assertFalse(records[0][1].quiet)
        self.assertEqual(records[0][1].heartbeat_ms, 1000)
        self.assertEqual(self.describe("heartbeat_ms: 100 " + ONE_VM % "")[0][0][1].heartbeat_ms, 100)
        self.assertTrue(self.describe("log_level: LOG_WARNING " + ONE_VM % "")[0][0][1].quiet)

    def test_defaults(self):
        records, machine = self.one()
        self.assertEqual([t.name for t in self.of(records, "task")],
                         ["console", "vgic.linux", "pl011.linux", "pl031.linux", "vmm.linux"])
        self.assertEqual((machine.vms[0].vcpus, machine.vms[0].memory_bytes), (1, 512 << 20))

    def test_every_slot_is_made_once_and_before_its_use(self):
        records, _ = self.describe((ONE_VM % 'disk { zero_mib: 1 } disk { null_mib: 1 } vcpus: 8')
                                   + 'vm { name: "b" kernel: "kernel" disk { file: "disk" } }')
        made = {1, 2}

        def make(slot):
            self.assertNotIn(slot, made)
            self.assertTrue(32 <= slot <= 2047)
            made.add(slot)

        for kind, m in records:
            if kind in ("object", "memory"):
                make(m.slot)
                if kind == "object" and m.owner:
                    self.assertIn(m.owner, made)
            elif kind == "task":
                self.assertIn(m.slot, made)
                for slot in (m.image_slot, m.private_slot, m.ipc_slot):
                    make(slot)
            uses = {"vm": ["slot"], "grant": ["object", "task"], "mapping": ["memory", "space"], "config": ["task"],
                    "mmio": ["vm", "endpoint"], "doorbell": ["vm", "signal"], "hypercall": ["vm", "endpoint"],
                    "start": ["task"]}
            for field in uses.get(kind, []):
                self.assertIn(getattr(m, field), made, kind)

    def test_handles_are_where_the_header_says(self):
        records, machine = self.describe((ONE_VM % "vcpus: 3") + 'vm { name: "b" kernel: "kernel" }')
        rights = {name: n for name, n in self.schemas.enum("Right").items()}
        console, uart_b = self.slot_of(records, "console"), self.slot_of(records, "pl011.b")
        vmm = self.slot_of(records, "vmm.linux")
        grants = {(g.task, g.slot): g for g in self.of(records, "grant")}
        service = machine.services["pl011"]
        to_console = grants[uart_b, service.slots["console"]]
        console_signal = next(o.slot for o in self.of(records, "object") if o.type == 6 and o.owner == console)
        self.assertEqual(to_console.object, console_signal)
        self.assertEqual(to_console.badge, machine.services["console"].signal_mask("guest", 1))
        self.assertEqual(to_console.rights, rights["RIGHT_SEND"])
        from_console = grants[console, machine.services["console"].slots["guest"] + 1]
        self.assertEqual(from_console.badge, service.signal_mask("console"))
        vcpus = [grants.get((vmm, machine.services["vmm"].slots["vcpu"] + i)) for i in range(8)]
        self.assertEqual([g.rights for g in vcpus if g], [rights["RIGHT_POWER"]] * 3)
        self.assertIn((1, machine.services["supervisor"].slots["console_flush"]), grants)

    def test_grants_are_only_those_of_the_manifest(self):
        records, machine = self.one("disk { zero_mib: 1 }")
        block = self.slot_of(records, "virtio-blk.linux.0")
        slots = machine.services["virtio-blk"].slots
        self.assertEqual({g.slot for g in self.of(records, "grant") if g.task == block}, {slots["irq_line"], slots["keeper"]})
        addresses = dict(machine.services["virtio-blk"].addresses)
        del addresses["disk_ring"]  # a disk in memory
        self.assertEqual({m.address for m in self.of(records, "mapping") if m.space == block},
                         {0x1010_0000, *addresses.values()})

    def test_no_two_callers_of_a_task_have_the_same_badge(self):
        disks = "disk { zero_mib: 1 } disk { zero_mib: 1 } network { } "
        records, _ = self.describe((ONE_VM % (disks + 'device { service: "virtio-rng" }')) + 'vm { name: "b" kernel: "kernel" %s }' % disks)
        slots = {v.name: v.slot for v in self.of(records, "vm")}
        for vm, callers in (("linux", 4), ("b", 3)):
            endpoint = next(h.endpoint for h in self.of(records, "hypercall") if h.vm == slots[vm])
            badges = [g.badge for g in self.of(records, "grant") if g.object == endpoint]
            self.assertEqual(sorted(badges), [(1 << 16) + i for i in range(callers)])

    def test_bindings(self):
        records, _ = self.one("vcpus: 4 disk { zero_mib: 1 } disk { zero_mib: 1 }")
        ranges = {m.address: m.bytes for m in self.of(records, "mmio")}
        self.assertEqual(ranges, {0x0800_0000: 0xa0000 + 4 * 0x20000, 0x0900_0000: 0x1000, 0x0901_0000: 0x1000,
                                  0x0a00_0000: 0x1000, 0x0a00_1000: 0x1000})
        self.assertEqual([d.address for d in self.of(records, "doorbell")], [0x0a00_0050, 0x0a00_1050])
        self.assertEqual(len(self.of(records, "hypercall")), 1)
        lines = [o.a for o in self.of(records, "object") if o.type == 8]
        self.assertEqual(sorted(lines), [33, 34, 48, 49])

    def test_vmm_configuration(self):
        records, _ = self.one('vcpus: 2 memory_mib: 64 initrd: "initrd" command_line: "quiet" disk { zero_mib: 1 }')
        vmm = self.slot_of(records, "vmm.linux")
        data = b"".join(c.data for c in self.of(records, "config") if c.task == vmm)
        config = self.schemas.message("VmmConfig").FromString(data)
        self.assertEqual((config.ram_base, config.ram_bytes), (0x4000_0000, 64 << 20))
        self.assertEqual((config.kernel_bytes, config.initrd_bytes, config.command_line), (5000, 300, "quiet"))
        self.assertEqual(list(config.vcpu_affinity), [0, 1])
        self.assertEqual((config.gic_distributor, config.gic_redistributors), (0x0800_0000, 0x080a_0000))
        self.assertEqual([(d.name, d.address, d.intid, d.console) for d in config.devices],
                         [("pl011", 0x0900_0000, 33, True), ("pl031", 0x0901_0000, 34, False),
                          ("virtio_mmio", 0x0a00_0000, 48, False)])

    def test_device_tree_nodes_come_from_the_manifest(self):
        records, _ = self.one('device { service: "sp805" } device { service: "pl061" }')
        nodes = self.config_of(records, "vmm.linux", "VmmConfig").devices[2:]
        self.assertEqual([(n.name, n.depth, n.address, n.bytes, n.intid) for n in nodes],
                         [("watchdog", 0, 0x0a00_0000, 0x1000, 48), ("pl061", 0, 0x0a00_1000, 0x1000, 49),
                          ("gpio-keys", 0, 0, 0, 0), ("poweroff", 1, 0, 0, 0)])
        self.assertEqual(list(nodes[0].clock_names), ["wdog_clk", "apb_pclk"])
        values = [{p.name: p.value for p in n.properties} for n in nodes]
        phandle = values[1]["phandle"]
        self.assertEqual(values[1], {"gpio-controller": b"", "interrupt-controller": b"", "#gpio-cells": b"\0\0\0\2",
                                     "#interrupt-cells": b"\0\0\0\2", "phandle": phandle})
        self.assertGreaterEqual(int.from_bytes(phandle, "big"), 16)
        self.assertEqual(values[3], {"label": b"GPIO Key Poweroff\0", "linux,code": b"\0\0\0\x74",
                                     "gpios": phandle + b"\0\0\0\3\0\0\0\0"})
        buttons = {t.name: t.power_button for t in self.of(records, "task") if t.power_button}
        self.assertEqual(buttons, {"pl061.linux.1": 2})

    def config_of(self, records, task: str, message: str):
        slot = self.slot_of(records, task)
        data = b"".join(c.data for c in self.of(records, "config") if c.task == slot)
        return self.schemas.message(message).FromString(data)

    def test_block_configuration(self):
        records, _ = self.one("vcpus: 3 disk { zero_mib: 1 } disk { null_mib: 2 read_only: true }")
        configs = [self.config_of(records, f"virtio-blk.linux.{i}", "BlockConfig") for i in range(2)]
        self.assertEqual([(c.disk_bytes >> 20, c.null_disk, c.read_only, c.queues, c.physical) for c in configs],
                         [(1, False, False, 3, False), (2, True, True, 3, False)])

    def test_VSOCK_02_VSOCK_21_socket_configuration(self):
        device = 'device { service: "virtio-vsock" config: "%s" } '
        records, _ = self.one(device % "" + device % "cid: 10 peer: 3 peer: 2" + device % "")
        switch = self.config_of(records, "vsock-switch", "VsockSwitchConfig")
        self.assertEqual([(p.name, p.cid, p.peers) for p in switch.port],
                         [("linux.0", 3, 0b111), ("linux.1", 10, 0b001), ("linux.2", 5, 0b111)])
        self.assertEqual(switch.patience_ms, 1000)
        self.assertFalse(switch.host.present)
        self.assertNotIn("vsock-driver", [t.name for t in self.of(records, "task")])

    def test_VSOCK_02_VSOCK_21_sockets_to_the_host(self):
        def switch(device: str):
            self.system.write_text(ONE_VM % device + (ONE_VM % "").replace("linux", "b"))
            plan, _ = describe.describe(self.system, [self.manifests], {}, host_sockets=True)
            return self.config_of(self.decode(plan), "vsock-switch", "VsockSwitchConfig")

        config = switch("")  # each VM is given a device
        self.assertEqual([(p.name, p.cid, p.peers) for p in (*config.port, config.host)],
                         [("linux.0", 3, 0b1_0000_0011), ("b.0", 4, 0b1_0000_0011), ("host", 2, 0b11)])
        config = switch('''device { service: "virtio-vsock" config: "peer: 5" }
                           device { service: "virtio-vsock" config: "peer: 2" }''')
        self.assertEqual([p.peers for p in config.port], [0b100, 0b1_0000_0000, 0b1_0000_0111])

    def test_clock_configuration(self):
        for offset in (0, -86400, 4294967295):
            records, _ = self.one(f"rtc_offset_s: {offset}")
            self.assertEqual(self.config_of(records, "pl031.linux", "RtcConfig").offset_s, offset)

    def test_each_record_says_which_vm_it_is_of(self):
        """Executed again alone, the records of a VM name only what they or the system's records made."""
        text = ONE_VM % "vcpus: 2 disk { zero_mib: 1 } disk { file: 'disk' } disk { file: 'disk' read_only: true }"
        self.system.write_text(text + text.replace("linux", "b"))
        plan, _ = describe.describe(self.system, [self.manifests], {})
        records = self.raw_records(plan)
        vms = [r.vm.slot for r in records if r.WhichOneof("record") == "vm"]
        owners = {1: 0, 2: 0}
        uses = {"object": ["owner"], "grant": ["object", "task"], "mapping": ["memory", "space"], "config": ["task"],
                "mmio": ["vm", "endpoint"], "doorbell": ["vm", "signal"], "hypercall": ["vm", "endpoint"],
                "start": ["task"], "schedule": ["slot"], "task": ["slot"]}
        for record in records:
            kind = record.WhichOneof("record")
            self.assertIn(record.owner_vm, (0, *vms))
            if kind == "vm":
                self.assertEqual((record.owner_vm, owners[record.vm.slot]), (0, record.vm.slot))
                continue
            message = getattr(record, kind)
            if kind in ("object", "memory"):
                owners[message.slot] = record.owner_vm
            used = {owners[getattr(message, field)] for field in uses.get(kind, []) if getattr(message, field)}
            if kind == "mapping" and message.space == 1:
                used.discard(0)
            self.assertLessEqual(used, {0, record.owner_vm}, record)
            if kind not in ("memory", "object"):  # what joins a VM's with the system's is the VM's
                self.assertTrue(record.owner_vm in used or not used or kind == "mapping", record)
        files = {r.memory.file: r.owner_vm for r in records if r.WhichOneof("record") == "memory" and r.memory.file}
        self.assertEqual(set(files.values()), {0}, "the archive stays where it is")

    def test_what_a_vm_does_at_its_end(self):
        records, _ = self.describe((ONE_VM % "when_crashed: START_AGAIN")
                                   + 'vm { name: "b" kernel: "kernel" when_off: START_AGAIN }')
        self.assertEqual([(v.when_off, v.when_crashed) for v in self.of(records, "vm")], [(0, 1), (1, 0)])

    def test_long_configurations_come_in_pieces(self):
        records, _ = self.one(f'command_line: "{"x" * 2000}"')
        task = next(t for t in self.of(records, "task") if t.name == "vmm.linux")
        pieces = [c for c in self.of(records, "config") if c.task == task.slot]
        self.assertGreater(len(pieces), 1)
        self.assertEqual([c.offset for c in pieces], [1024 * i for i in range(len(pieces))])
        self.assertEqual(sum(len(c.data) for c in pieces), task.config_bytes)

    def test_disks(self):
        records, machine = self.one('disk { file: "disk" } disk { file: "disk" read_only: true } '
                                    'disk { file: "disk" read_only: true } disk { zero_mib: 4 } disk { null_mib: 8 }')
        files = [(m.file, m.bytes) for m in self.of(records, "memory") if m.file]
        self.assertEqual(sorted(files), [("linux/disk0", 8192), ("linux/disk1", 8192), ("linux/kernel", 5000)],
                         "a writable file is its own copy, read-only ones share theirs")
        address = machine.services["virtio-blk"].addresses["disk"]
        rights = {m.space: m.rights for m in self.of(records, "mapping") if m.address == address and m.rights != 28}
        slots = [self.slot_of(records, f"virtio-blk.linux.{i}") for i in range(5)]
        self.assertEqual([rights.get(slot) for slot in slots], [12, 4, 4, 12, None])

    def test_parts_of_the_machines_disk(self):
        one = ONE_VM % "disk { zero_mib: 1 } disk { physical { first_mib: 1 mib: 2 } read_only: true }"
        records, machine = self.describe(one + 'vm { name: "b" kernel: "kernel" disk { physical { first_mib: 3 } } }')
        config = self.config_of(records, "blk-driver", "BlockDriverConfig")
        self.assertEqual([(r.present, r.first_sector, r.sectors, r.read_only) for r in config.range],
                         [(False, 0, 0, False), (True, 2048, 4096, True), (True, 6144, 0, False)])
        self.assertTrue(self.config_of(records, "virtio-blk.b.0", "BlockConfig").physical)
        # Rings join only these with the driver, part i with instance i, and outlive the VM.
        driver, service = self.slot_of(records, "blk-driver"), machine.services["blk-driver"]
        client = machine.services["virtio-blk"]
        mappings = self.of(records, "mapping")
        ring = next(p for p in service.manifest.mapping if p.name == "disk_ring")
        for instance, task in ((1, "virtio-blk.linux.1"), (2, "virtio-blk.b.0")):
            theirs = next(m for m in mappings if m.space == self.slot_of(records, task)
                          and m.address == client.addresses["disk_ring"])
            ours = next(m for m in mappings if m.space == driver
                        and m.address == service.addresses["disk_ring"] + instance * ring.bytes)
            self.assertEqual(theirs.memory, ours.memory)
            self.assertEqual(next(m.vm for m in self.of(records, "memory") if m.slot == ours.memory), 0)
        self.assertEqual(len([m for m in mappings if m.space == driver and m.bytes == ring.bytes]), 2)
        slots = {g.slot - service.slots["client"] for g in self.of(records, "grant") if g.task == driver}
        self.assertEqual(slots & set(range(16)), {1, 2})

    def test_direct_memory_access_is_to_ram_of_clients(self):
        records, machine = self.describe((ONE_VM % "disk { zero_mib: 1 } disk { physical { mib: 1 } }")
                                         + 'vm { name: "b" kernel: "kernel" disk { zero_mib: 1 } }'
                                         + 'vm { name: "c" kernel: "kernel" disk { physical { first_mib: 1 } } }')
        slots = {v.name: v.slot for v in self.of(records, "vm")}
        ram = {m.space: m.memory for m in self.of(records, "mapping") if m.space in slots.values()}
        windows = {w.entry: w for w in self.of(records, "dma")}
        self.assertEqual(set(windows), {0, 2, 4})  # instances 1 and 3 of virtio-blk
        for entry, name in ((2, "linux"), (4, "c")):
            self.assertEqual((windows[entry].vm, windows[entry].target, windows[entry].guest_base),
                             (slots[name], ram[slots[name]], 0x4000_0000))
        own, driver = windows[0], self.slot_of(records, "blk-driver")
        resource = self.schemas.enum("ResourceKind")["RESOURCE_BLOCK"]
        self.assertEqual((own.vm, own.resource, own.optional, own.driver), (0, resource, True, driver))
        self.assertEqual({w.signal for w in windows.values()}, {machine.services["supervisor"].slots["blk_dma"]})
        spaces = {m.space for m in self.of(records, "mapping") if m.memory in (own.target, own.table)}
        self.assertEqual(spaces, {driver})

    def test_networks(self):
        first = ONE_VM % 'vcpus: 3 disk { null_mib: 1 } network { mtu: 9000 queue_pairs: 2 } network { mac_filter: true }'
        second = 'vm { name: "b" kernel: "kernel" vcpus: 2 network { mac: "52:54:00:AB:cd:01" } }'
        records, machine = self.describe(first + second)
        tasks = ["virtio-net.linux.1", "virtio-net.linux.2", "virtio-net.b.0"]
        configs = [self.config_of(records, task, "NetworkConfig") for task in tasks]
        self.assertEqual([(c.mac.hex(), c.mtu, c.queue_pairs) for c in configs],
                         [("0261746c0000", 9000, 2), ("0261746c0001", 1500, 3), ("525400abcd01", 1500, 2)])
        ports = self.config_of(records, "vswitch", "SwitchConfig").port
        self.assertEqual([(p.name, p.mac.hex(), p.filter, p.present) for p in ports],
                         [("linux.1", "0261746c0000", False, True), ("linux.2", "0261746c0001", True, True),
                          ("b.0", "525400abcd01", False, True)])
        switch, client = machine.services["vswitch"], machine.services["virtio-net"]
        grants = {(g.task, g.slot): g for g in self.of(records, "grant")}
        mappings = {(m.space, m.address): m.memory for m in self.of(records, "mapping")}
        ring = next(p for p in switch.manifest.mapping if p.name == "ring")
        for index, task in enumerate(tasks):
            slot = self.slot_of(records, task)
            self.assertEqual(grants[slot, client.slots["switch"]].badge, switch.signal_mask("port", index))
            self.assertEqual(mappings[slot, client.addresses["ring"]],
                             mappings[self.slot_of(records, "vswitch"), switch.addresses["ring"] + index * ring.bytes])
        # The switch maps rings alone, no memory of a guest.
        spaces = {m.memory: m.space for m in self.of(records, "mapping")}
        rams = {memory for memory, space in spaces.items() if space in {v.slot for v in self.of(records, "vm")}}
        mapped = {m.memory for m in self.of(records, "mapping") if m.space == self.slot_of(records, "vswitch")}
        self.assertFalse(mapped & rams)
        self.assertEqual(len(mapped), 5)  # three ports, one uplink, its journal
        self.assertIn("net-driver", [t.name for t in self.of(records, "task")])

    def test_no_network_no_switch(self):
        records, _ = self.one()
        self.assertFalse({"vswitch", "net-driver"} & {t.name for t in self.of(records, "task")})

    def test_a_network_for_each_vm_that_has_none(self):
        self.system.write_text(ONE_VM % "network { } network { }" + ONE_VM.replace("linux", "b") % "")
        _, machine = describe.describe(self.system, [self.manifests], {}, net=True)
        self.assertEqual([i.label for i in machine.instances if i.network],
                         ["virtio-net.linux.0", "virtio-net.linux.1", "virtio-net.b.0"])

    def test_schedules(self):
        text = ONE_VM % "vcpus: 3 cpu: 1 cpu: 0 budget_ms: 5 period_ms: 20 priority: 3"
        records, _ = self.describe(text + 'vm { name: "b" kernel: "kernel" vcpus: 2 disk { null_mib: 1 } }')
        vms = {v.name: v.slot for v in self.of(records, "vm")}
        schedules = {s.slot: s for s in self.of(records, "schedule")}

        def of(name):
            vcpus = [o.slot for o in self.of(records, "object") if o.type == 4 and o.owner == vms[name]]
            return [(s.cpu, s.spread, s.priority, s.budget, s.period) for s in map(schedules.get, vcpus)]

        self.assertEqual(of("linux"), [(1, False, 3, 5, 20), (0, False, 3, 5, 20), (1, False, 3, 5, 20)])
        self.assertEqual(of("b"), [(3, True, 8, 0, 0), (4, True, 8, 0, 0)])
        vmm, console = self.slot_of(records, "vmm.b"), self.slot_of(records, "console")
        self.assertEqual((schedules[vmm].cpu, schedules[vmm].spread, schedules[vmm].budget), (3, True, 0))
        self.assertNotIn(console, schedules)

    def test_a_table_that_nobody_tells_of(self):
        self.edit_manifest("supervisor", 'bit: "dma"', 'bit: "client"')
        self.assert_refused(lambda: self.one("disk { physical { } }"), "supervisor/manifest.textproto", '"dma"')

    def test_driver_only_for_physical_disks(self):
        for fields, wanted in (("disk { zero_mib: 1 }", False), ("disk { physical { } }", True)):
            records, _ = self.one(fields)
            self.assertEqual("blk-driver" in [t.name for t in self.of(records, "task")], wanted)

    def test_same_kernel_of_two_vms_is_there_once(self):
        records, machine = self.describe(ONE_VM % "" + ONE_VM.replace("linux", "b") % "")
        self.assertEqual([m.file for m in self.of(records, "memory") if m.file], ["linux/kernel"])
        self.assertEqual(len(machine.files), 1)

    def test_reset_clears_journals_of_the_vm_only(self):
        records, _ = self.one()
        vm = self.of(records, "vm")[0].slot
        console = self.slot_of(records, "console")
        mapped = {}
        for m in self.of(records, "mapping"):
            mapped.setdefault(m.memory, []).append(m.space)
        for memory in self.of(records, "memory"):
            spaces = mapped[memory.slot]
            if memory.vm:
                self.assertEqual(memory.vm, vm)
                self.assertNotEqual(spaces, [console])
                self.assertNotIn(vm, spaces, "guest RAM is the guest's")
        tasks = {self.slot_of(records, f"{name}.linux") for name in ("pl011", "pl031", "vmm")}
        cleared = [mapped[m.slot] for m in self.of(records, "memory") if m.vm]
        self.assertEqual({space for spaces in cleared for space in spaces}, tasks)
        self.assertEqual([len(spaces) for spaces in cleared], [1] * 3, "not the ring that the console lives on with")

    def test_reset_clears_what_two_services_of_the_vm_share(self):
        self.edit_manifest("vgic", 'handle {', 'mapping { name: "x" what: SHARED bytes: 4096 peer: "vmm" } handle {')
        self.edit_manifest("vmm", 'handle {', 'mapping { name: "x" what: SHARED bytes: 4096 peer: "vgic" } handle {')
        records, _ = self.one()
        pair = {self.slot_of(records, "vgic.linux"), self.slot_of(records, "vmm.linux")}
        for memory in self.of(records, "memory"):
            if {m.space for m in self.of(records, "mapping") if m.memory == memory.slot} == pair:
                self.assertNotEqual(memory.vm, 0)
                break
        else:
            self.fail("there is no such memory")

    def test_leaving_out_the_uart_leaves_out_the_console(self):
        records, _ = self.one('without: "pl011"')
        self.assertNotIn("console", [t.name for t in self.of(records, "task")])
        self.assertFalse([g for g in self.of(records, "grant") if g.task == 1])
        self.assertFalse([m for m in self.of(records, "mapping") if m.space == 1])

    def test_supervisor_and_console_share_the_log(self):
        records, machine = self.one()
        own = [m for m in self.of(records, "mapping") if m.space == 1]
        self.assertEqual([m.address for m in own], [machine.services["supervisor"].addresses[name] for name in ("log", "vms", "monitor")])
        console = self.slot_of(records, "console")
        log = next(m for m in self.of(records, "mapping") if m.space == console and m.memory == own[0].memory)
        self.assertEqual((log.address, log.bytes), (machine.services["console"].addresses["log"], own[0].bytes))
        self.assertEqual(next(m.vm for m in self.of(records, "memory") if m.slot == log.memory), 0)

    def test_one_sided_log(self):
        self.edit_manifest("console", 'mapping { name: "log"', 'mapping { name: "lag"')
        self.assert_refused(lambda: self.one(), "mapping lag", "must be SHARED with console")

    def test_bare_vm_needs_no_kernel(self):
        records, _ = self.describe('vm { name: "a" without: ["vmm", "vgic", "pl011", "pl031"] }')
        self.assertEqual([t.name for t in self.of(records, "task")], [])

    def test_files_by_name_come_before_the_folder(self):
        (self.folder / "other").write_bytes(b"y" * 7777)
        records, machine = self.one(kernel=str(self.folder / "other"))
        self.assertEqual([f.bytes for f in machine.files.values()], [7777])

    def test_same_input_and_seed_same_plan(self):
        self.system.write_text(ONE_VM % "disk { zero_mib: 1 }")
        plans = [describe.describe(self.system, [self.manifests], {}, seed)[0] for seed in (1, 1, None, None)]
        self.assertEqual(plans[0], plans[1])
        self.assertNotEqual(plans[2], plans[3], "without a seed each guest has its own random numbers")

    def test_vm_has_interrupts_for_its_devices(self):
        for disks, intids in ((0, 64), (1, 64), (16, 64), (17, 96)):
            records, _ = self.one("disk { null_mib: 1 } " * disks)
            vm = next(o for o in self.of(records, "object") if o.type == 3)
            self.assertEqual(vm.a & 0xffff, intids)


class CommandLine(ToolCase):
    def test_services_of_two_folders(self):
        more = self.folder / "more"
        (more / "floppy").mkdir(parents=True)
        text = ('name: "floppy" scope: SCOPE_DEVICE rank: 2 priority: 9 stack_bytes: 4096 receive: true '
                'mmio { name: "r" bytes: 4096 }')
        (more / "floppy/manifest.textproto").write_text(text)
        self.system.write_text(ONE_VM % 'device { service: "floppy" }')
        listing = self.folder / "list"
        options = ["--system", self.system, "--manifests", self.manifests, "--elfs", "/elfs", "--manifests", more,
                   "--elfs", "/other", "--out", self.folder / "plan.pb", "--list", listing]
        self.run_tool(*options)
        lines = dict(line.split("=", 1) for line in listing.read_text().splitlines())
        self.assertEqual((lines["services/vmm.elf"], lines["services/floppy.elf"]), ("/elfs/vmm.elf", "/other/floppy.elf"))
        (more / "floppy").rename(more / "vgic")
        (more / "vgic/manifest.textproto").write_text(text.replace("floppy", "vgic"))
        self.assert_refused(lambda: self.run_tool(*options), "more/vgic", "vgic has a manifest already")

    def run_tool(self, *arguments):
        describe.main([str(a) for a in arguments])

    def test_lists_what_the_archive_needs(self):
        self.system.write_text(ONE_VM % 'disk { file: "disk" }')
        out, listing = self.folder / "plan.pb", self.folder / "list"
        self.run_tool("--system", self.system, "--manifests", self.manifests, "--out", out, "--elfs", "/elfs",
                      "--list", listing, "--file", f"kernel={self.folder / 'initrd'}")
        lines = dict(line.split("=", 1) for line in listing.read_text().splitlines())
        self.assertEqual(lines["plan.pb"], str(out.resolve()))
        self.assertEqual(lines["services/vmm.elf"], "/elfs/vmm.elf")
        self.assertEqual(lines["linux/kernel"], str((self.folder / "initrd").resolve()))
        self.assertEqual(lines["linux/disk0"], str((self.folder / "disk").resolve()))
        self.assertNotIn("services/supervisor.elf", lines)

    def test_bad_options(self):
        self.system.write_text(ONE_VM % "")
        base = ["--system", self.system, "--manifests", self.manifests, "--out", self.folder / "plan.pb"]
        for pair in ("kernel", "=x", "kernel="):
            self.assert_refused(lambda pair=pair: self.run_tool(*base, "--file", pair), "--file", "NAME=PATH")
        self.assert_refused(lambda: self.run_tool(*base, "--list", self.folder / "list"), "--elfs")
        self.assert_refused(lambda: self.run_tool(*base, "--list", self.folder / "list", "--elfs", "/a", "--elfs", "/b"),
                            "as often as --manifests")
        self.assertFalse((self.folder / "plan.pb").exists())


if __name__ == "__main__":
    unittest.main()
