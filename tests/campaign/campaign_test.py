#!/usr/bin/python3
"""What scripts/fault-campaign makes of a seed, and what it makes of a machine's output: every loss is seen."""
import os
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

import campaign_faults  # noqa: E402
import campaign_output  # noqa: E402
import campaign_report  # noqa: E402
import campaign_typist  # noqa: E402
import campaign_workloads  # noqa: E402

SERVICES = [f"pl011.vm{i}" for i in range(8)]
GOOD = """[0.002961] atoll at 0x40200000, device tree at 0x48600000
oracle: left.console line 0
oracle: left.con
[0.010000] pl011.left died: killed
monitor: kill pl011.left
sole line 1
[right] oracle: right.net ok 7 sent=5 lost=1 doubled=0
oracle: left.console ok 2
oracle: left.disk ok 40 writes=20 reads=20 flushes=1
[0.119865] VM left is off
[0.119865] VM right is off
"""
EXPECTED = {"left": ["console", "disk"], "right": ["net"]}
RECORD = ("#{} 1.000000500 {} generation 3: {} pc 0x400123; died +{}, detected +80000, started +90000, answered +100000, completed {} "
          "ns; restarted")


class Faults(unittest.TestCase):
    def plan(self, seed=1, count=500, gap=1000, rest=20_000):
        return campaign_faults.plan(SERVICES, list(campaign_faults.FAIL_STOP), count, seed, gap, rest)

    def test_of_one_seed_are_the_same(self):
        self.assertEqual(self.plan(), self.plan())
        self.assertNotEqual(self.plan(1), self.plan(2))

    def test_leave_each_service_its_rest(self):
        last = {}
        for fault in self.plan():
            self.assertGreaterEqual(fault.at_us, last.get(fault.service, 0))
            last[fault.service] = fault.at_us + (campaign_faults.silence_us(fault.service) if fault.kind == "silent" else 20_000)

    def test_leave_what_is_noticed_late_more_rest_where_time_is_the_hosts(self):
        for kind, rest in (("hang", 600), ("lines", 600), ("crash", 300), ("kill", 300)):
            self.assertEqual(campaign_faults.rest_after("pl011.vm0", kind, 300, 5), rest)
            self.assertEqual(campaign_faults.rest_after("pl011.vm0", kind, 300, 1), 300)

    def test_leave_the_kernel_patience_with_the_supervisor(self):
        times = [fault.at_us for fault in campaign_faults.plan(["supervisor"], ["kill"], 50, 1, 1000, 20_000)]
        self.assertLess(max(sum(at <= other < at + 1_000_000 for other in times) for at in times), 9)

    def test_reach_every_service_with_every_kind(self):
        faults = self.plan(count=4000)
        self.assertEqual({fault.service for fault in faults}, set(SERVICES))
        self.assertEqual({fault.kind for fault in faults}, set(campaign_faults.FAIL_STOP))

    def test_script_waits_for_their_times(self):
        faults = self.plan(count=100)
        lines = campaign_faults.script(faults, 5000, 7000, 50).splitlines()
        waits = [int(line[5:-2]) for line in lines if line.startswith("wait ")]
        self.assertEqual(sum(waits), 5000 + faults[-1].at_us + 7000)
        self.assertEqual([line for line in lines if not line.startswith(("wait", "crashes"))],
                         [f"-{fault.command}" for fault in faults])
        self.assertEqual(sum(line.startswith("crashes") for line in lines), 3)

    def test_script_has_other_commands_at_their_times(self):
        faults = self.plan(count=20)
        events = campaign_workloads.presses("left", 2 * campaign_workloads.PRESS_EVERY_US + 1)
        lines = campaign_faults.script(faults, 5000, 7000, 50, events).splitlines()
        now, pressed = -5000, []
        for line in lines:
            if line.startswith("wait "):
                now += int(line[5:-2])
            elif line == "vm poweroff left":
                pressed.append(now)
        self.assertEqual(pressed, [0, campaign_workloads.PRESS_EVERY_US, 2 * campaign_workloads.PRESS_EVERY_US])
        self.assertEqual([line[1:] for line in lines if line.startswith("-")], [fault.command for fault in faults])

    def test_devices_lie_in_the_slots_that_guests_expect(self):
        work = list(reversed(campaign_workloads.IN_SLOTS))  # in whatever order it is named
        workload = campaign_workloads.describe(work, 1_000_000, campaign_workloads.Options())
        slots = [name for name in workload.services if ".left." in name]
        self.assertEqual(slots, [f"{campaign_workloads.VM_SERVICES[kind][0]}.left.{slot}"
                                 for slot, kind in enumerate(campaign_workloads.IN_SLOTS)])
        self.assertIn("port-switch", workload.services)
        self.assertIn("vsock-switch", workload.services)

    def test_a_port_without_a_peer_is_a_loop(self):
        for alone in (False, True):
            text = campaign_workloads.describe(["ports"], 1_000_000, campaign_workloads.Options(alone=alone)).text
            self.assertEqual("loop: true" in text, alone)
            self.assertEqual(text.count("vm {"), 1 if alone else 2)

    def test_script_is_as_long_as_the_supervisor_is_silent(self):
        fault = campaign_faults.Fault(1, 1000, "supervisor", "silent", "inject supervisor never-answer")
        self.assertEqual(campaign_faults.duration_us([fault]), 1000 + campaign_faults.silence_us("supervisor"))
        self.assertEqual(campaign_faults.duration_us([fault], 20), 1000 + 20 * campaign_faults.silence_us("supervisor"))

    def test_what_a_task_cannot_do_to_itself_is_not_asked(self):
        faults = campaign_faults.plan(["supervisor", "console"], list(campaign_faults.FAIL_STOP), 2000, 1, 1000, 1000)
        self.assertFalse({(fault.service, fault.kind) for fault in faults} & set(campaign_faults.UNSUITED))

    def test_services_are_chosen_by_name(self):
        tasks = ["virtio-blk.left.0", "virtio-blk.right.0", "pl011.left", "console"]
        for patterns, found in (([], tasks), (["virtio-blk"], tasks[:2]), (["left.*"], [tasks[0], tasks[2]]),
                                (["console", "pl011.left"], tasks[2:]), (["nothing"], [])):
            self.assertEqual(campaign_workloads.chosen(tasks, patterns), found)


class Output(unittest.TestCase):
    def problems(self, text: str, deaths: int = 1) -> list[str]:
        return campaign_output.problems(campaign_output.parse(text, "left"), EXPECTED, deaths)

    def test_that_is_good(self):
        self.assertEqual(self.problems(GOOD), [])

    def test_lines_that_were_broken_for_others_are_put_together(self):
        self.assertEqual(campaign_output.parse(GOOD, "left").lines, {("left", "console"): [0, 1]})

    def test_every_loss_is_seen(self):
        for what, instead in (
                ("oracle: left.console line 0\n", ""),                     # a line
                ("line 0\n", "line 0\noracle: left.console line 0\n"),    # twice
                ("line 0", "lne 0"),                                      # a byte
                ("line 0", "liine 0"),
                ("oracle: left.console line 0\n", "racle: left.console line 0\n"),
                ("sole line 1", "sole line 2"),
                ("oracle: left.disk", "oracle: left.disk lost I/O error 1 0 3\noracle: left.disk"),
                ("oracle: left.disk ok 40", "oracle: left.disk bad 40"),
                ("oracle: left.disk ok 40", "oracle: left.disk ok 0"),
                ("oracle: left.disk ok 40 writes=20 reads=20 flushes=1\n", ""),
                ("[right] ", ""),
                ("lost=1 doubled=0", "lost=1 doubled=1"),
                ("VM left is off", "VM left crashed"),
                ("VM right is off", "VM right is off\nmonitor: kill console"),
                ("[0.119865] VM left", "[0.1] kernel panic: at 7\n[0.119865] VM left"),
                ("[0.119865] VM left", "[0.100000] kernel panic: at 7\n[0.119865] VM left"),
                ("[0.119865] VM left", "[0.100000] console died: x; given up: more than 5\n[0.119865] VM left")):
            self.assertIn(what, GOOD)
            self.assertNotEqual(self.problems(GOOD.replace(what, instead, 1)), [], (what, instead))

    def test_frames_may_be_lost_or_doubled_only_by_deaths(self):
        self.assertNotEqual(self.problems(GOOD, 0), [])
        self.assertEqual(self.problems(GOOD.replace("doubled=0", "doubled=2"), 3), [])

    def test_frames_that_a_vm_loses_which_may_lose_them_do_not_count(self):
        self.assertEqual(self.problems(GOOD + "[victim] oracle: victim.net ok 26 sent=46 lost=7 doubled=0\n"), [])

    def test_what_was_to_be_counted_is_compared(self):
        output = campaign_output.parse(GOOD, "left")
        for writes, found in ((20, False), (21, True)):
            problems = campaign_output.problems(output, EXPECTED, 1, {("left", "disk"): {"writes": writes}})
            self.assertEqual(problems != [], found)

    def test_what_init_says_of_the_power_button_breaks_no_report(self):
        said = GOOD.replace("oracle: left.console ok 2\n", "oracle: left.console ok 2\ninit: the power button was pressed\n")
        self.assertEqual(self.problems(said), [])

    def test_numbers_as_ranges(self):
        self.assertEqual(campaign_output.ranges([0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8")
        self.assertEqual(campaign_output.ranges([]), "")


class Pipe:
    def __init__(self):
        self.keys = b""

    def write(self, keys: bytes) -> None:
        self.keys += keys

    def flush(self) -> None:
        pass


class Typing(unittest.TestCase):
    """A guest that prints what is typed."""

    def session(self, lines: int, broken=lambda line: line, types=True):
        workload = campaign_workloads.Workload("", {}, [], {}, listener="left", types=types)
        pipe, output = Pipe(), ["oracle: left.echo line 0\n"]
        typist = campaign_typist.Typist(pipe, workload)
        typist.see(output[0], output)
        for number in range(1, lines + 1):
            typed = pipe.keys.split(b"\n")[number - 1].decode()
            output.append("oracle: left.echo line " + broken(typed) + "\n")
            typist.see(output[-1], output)
        typist.end()
        for typed in pipe.keys.split(b"\n")[lines:-2]:
            output.append(f"oracle: left.echo line {typed.decode()}\n")
        parsed = campaign_output.parse("".join(output), "left")
        return typist.problems(parsed) + parsed.broken, pipe.keys

    def test_of_a_guest_that_prints_all(self):
        problems, keys = self.session(9)
        self.assertEqual(problems, [])
        self.assertTrue(keys.endswith(b"\nend\n"))
        self.assertEqual(keys.count(b"\n"), 9 + campaign_typist.AHEAD + 1)

    def test_sees_a_byte_that_is_lost_doubled_or_another(self):
        for broken in (lambda line: line[:-1], lambda line: line + line[-1], lambda line: line[:-1] + "g",
                       lambda line: line.split()[0], lambda line: "", lambda line: line[1:]):
            self.assertNotEqual(self.session(9, lambda line, broken=broken: broken(line) if line.startswith("5 ") else line)[0], [])

    def test_sees_a_line_that_is_doubled_or_missing(self):
        for other in (4, 6):
            self.assertNotEqual(self.session(9, lambda line, other=other: campaign_typist.line(other)
                                             if line.startswith("5 ") else line)[0], [])

    def test_types_nothing_unless_it_is_asked_to(self):
        self.assertEqual(self.session(0, types=False), ([], b"end\n"))


class Report(unittest.TestCase):
    FAULTS = [campaign_faults.Fault(1, 0, "console", "kill", ""), campaign_faults.Fault(2, 9, "console", "step", ""),
              campaign_faults.Fault(3, 19, "console", "hang", ""), campaign_faults.Fault(4, 29, "vgic.left", "crash", "")]

    def test_times(self):
        death, = campaign_report.parse([RECORD.format(7, "console", "killed", 2000, "+150000"), "kill console"])
        self.assertEqual((death.sequence, death.service, death.generation, death.cause, death.outcome),
                         (7, "console", 3, "killed", "restarted"))
        self.assertAlmostEqual(death.detection, 2)
        self.assertAlmostEqual(death.recovery, 148)

    def test_without_requests_recovery_is_the_first_answer(self):
        death, = campaign_report.parse([RECORD.format(7, "console", "killed", 2000, "-")])
        self.assertAlmostEqual(death.recovery, 98)

    def test_deaths_are_matched_with_faults(self):
        records = [RECORD.format(1, "console", "killed", 1, "-"), RECORD.format(2, "console", "deadline", 8_000_000, "-"),
                   RECORD.format(3, "vgic.left", "killed", 1, "-"), RECORD.format(4, "pl031.left", "fault", 1, "-")]
        deaths = campaign_report.parse(records)
        unordered = campaign_report.match(deaths, self.FAULTS)
        self.assertEqual([death.fault and death.fault.number for death in deaths], [1, 3, None, None])
        self.assertEqual([death.sequence for death in unordered], [3, 4])
        table = campaign_report.table(self.FAULTS, deaths)
        self.assertRegex(table, r"hang +1 +0 +1 +8,000 +8,000 +8,000 +8,000")
        self.assertRegex(table, r"console +3 +0 +2 ")
        self.assertEqual(len(campaign_report.report(self.FAULTS, deaths).splitlines()), 5)

    def test_fault_that_nobody_notices_is_a_loss(self):
        def fault(number, service, kind, command):
            return campaign_faults.Fault(number, 0, service, kind, command)

        faults = [fault(1, "console", "silent", "inject console never-answer"), fault(2, "vgic.left", "kill", "kill vgic.left"),
                  fault(3, "vgic.left", "crash", "crash vgic.left"), fault(4, "vgic.left", "step", "step vgic.left 7"),
                  fault(5, "vmm.phoenix", "kill", "kill vmm.phoenix")]
        lines = [f"0.00000{fault.number} {fault.command}" for fault in faults]
        lines.insert(3, "vgic.left is not running")
        refusals = campaign_report.refused(lines, faults)
        self.assertEqual(refusals, {3})
        deaths = campaign_report.parse([RECORD.format(1, "vgic.left", "killed", 1, "-")])
        campaign_report.match(deaths, faults)
        self.assertEqual([fault.number for fault in campaign_report.unnoticed(faults, deaths, refusals)], [1])

    def test_death_is_of_the_last_fault_that_was_ordered(self):
        faults = [campaign_faults.Fault(n, 0, "console", kind, f"{kind} console")
                  for n, kind in enumerate(("crash", "step", "crash", "crash"), start=1)]
        orders = campaign_report.orders([f"0.{fault.number}00000 {fault.command}" for fault in faults], faults)
        deaths = campaign_report.parse([RECORD.format(1, "console", "fault", 0, "-").replace("1.000000500", "0.450000000")])
        self.assertEqual(campaign_report.match(deaths, faults, orders), [])
        self.assertEqual(deaths[0].fault.number, 4)

    def test_fault_whose_order_was_broken_on_its_way_takes_no_death_of_another(self):
        faults = [campaign_faults.Fault(n, 0, "console", "crash", "crash console") for n in (1, 2)]
        deaths = campaign_report.parse([RECORD.format(n, "console", "fault", 0, "-") for n in (1, 2)])
        self.assertEqual(campaign_report.match(deaths, faults, {1: 0.0}), [])
        self.assertEqual([death.fault.number for death in deaths], [1, 2])

    def test_orders_that_are_no_faults_hide_none(self):
        # Of a run with Debian guests, whose script begins with a VM that pauses: #115 is of the second crash, as the steps
        # before ended in #99 together with the overflow that came meanwhile.
        lines = ["1.378025 vm pause phoenix", "10.669414 vm resume phoenix", "13.036749 step pl031.right 1309",
                 "13.417378 overflow pl031.right", "13.800000 crash pl031.", "13.869361 crash pl031.right",
                 "#99 13.417427216 pl031.right generation 3: stepped pc 0x4000a0; died +1995360, detected +2033664, "
                 "started +2223440, answered +165917616, completed - ns; restarted",
                 "#115 13.869424736 pl031.right generation 4: fault pc 0x40008c esr 0x92000046 far 0x0; died +752384, detected "
                 "+1082448, started +1272960, answered +55953120, completed - ns; restarted",
                 "16.031133 crash pl031.right", "16.357932 kill vmm.phoenix", 'there is no service "vmm.phoenix"',
                 "#188 16.031186176 pl031.right generation 8: fault pc 0x40008c esr 0x92000046 far 0x0; died +234320, detected "
                 "+274064, started +454000, answered +19634816, completed - ns; restarted",
                 "16.400000 kill console", "the script has ended"]
        commands = ("step pl031.right 1309", "overflow pl031.right", "crash pl031.right", "crash pl031.right",
                    "kill vmm.phoenix", "kill console")
        faults = [campaign_faults.Fault(number, 0, command.split()[1], command.split()[0], command)
                  for number, command in enumerate(commands, start=1)]
        orders, deaths = campaign_report.orders(lines, faults), campaign_report.parse(lines)
        self.assertEqual(list(orders), [1, 2, 3, 4, 5, 6])
        self.assertEqual(campaign_report.match(deaths, faults, orders), [])
        self.assertEqual([(death.sequence, death.fault.number) for death in deaths], [(99, 1), (115, 3), (188, 4)])
        refusals = campaign_report.refused(lines, faults)
        self.assertEqual(refusals, {5})
        # The last fault is no refusal because the script ends behind it.
        self.assertEqual(campaign_report.unnoticed(faults, deaths, refusals, orders), [faults[5]])

    def test_record_that_cannot_be_read_is_said(self):
        whole, cut = RECORD.format(7, "console", "killed", 2000, "-"), RECORD.format(8, "console", "killed", 2000, "-")[:-12]
        self.assertEqual(campaign_report.unreadable([whole, whole[:-3], cut, cut[:-1], "#hash", "kill console"]), [cut])

    def test_steps_excuse_only_what_came_before_they_ended(self):
        faults = [campaign_faults.Fault(1, 0, "console", "step", "step console 7"),
                  campaign_faults.Fault(2, 0, "console", "crash", "crash console")]
        deaths = campaign_report.parse([RECORD.format(1, "console", "stepped", 0, "-")])
        for at, missed in (("0.900000", []), ("1.100000", [2])):
            orders = campaign_report.orders(["0.800000 step console 7", f"{at} crash console"], faults)
            campaign_report.match(deaths, faults, orders)
            self.assertEqual([fault.number for fault in campaign_report.unnoticed(faults, deaths, set(), orders)], missed)

    def test_supervisor_may_die_of_anything(self):
        faults = [campaign_faults.Fault(1, 0, "supervisor", "kill", "")]
        deaths = campaign_report.parse([RECORD.format(1, "supervisor", "exit", 0, "-")])
        self.assertEqual(campaign_report.match(deaths, faults), [])
        self.assertEqual((deaths[0].fault, deaths[0].detection), (faults[0], None))

    def test_the_last_that_was_said_of_a_death_counts(self):
        lines = [RECORD.format(1, "console", "killed", 1, at) for at in ("-", "+500000")]
        self.assertAlmostEqual(campaign_report.parse(lines)[0].first_completion, 1_000_500.5)

    def test_percentiles(self):
        values = [float(value) for value in range(1, 101)]
        self.assertEqual([campaign_report.percentile(values, share) for share in (0.5, 0.99, 1)], [50, 99, 100])
        self.assertEqual(campaign_report.percentile([3.0], 0.99), 3)


if __name__ == "__main__":
    os.environ.setdefault("ATOLL_BUILD", str(ROOT / "build"))
    unittest.main()
