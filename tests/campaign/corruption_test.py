#!/usr/bin/python3
"""What scripts/fault-campaign makes of a machine in which things were corrupted: each outcome, whatever the console does."""
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True

import campaign_corruption  # noqa: E402
import campaign_faults  # noqa: E402
import campaign_output  # noqa: E402
import campaign_workloads  # noqa: E402

COMMAND = "corrupt vmm.victim journal 5"
FAULTS = [campaign_faults.Fault(1, 0, "vmm.victim", "journal", COMMAND)]
BEGIN = f"oracle: victim.console line 0\nmonitor: 1.000000 {COMMAND}\n"
END = "[1.200000] VM victim resets\nmonitor: 1.500000 vm reboot victim\n"
DEATH = "[1.000010] vmm.victim died: fault pc 0x1\n"
REPORT = "oracle: victim.rtc ok 60 slowest_us=1\n"


class Judgement(unittest.TestCase):
    def outcome(self, text: str) -> str:
        return campaign_corruption.judge(text, FAULTS)[0][1]

    def test_of_each_outcome(self):
        lost = "oracle: victim.rtc lost the clock is wrong: seconds 4 0 0\n"
        hung = "oracle: victim.disk lost requests never completed 12 0 0\n"
        failed = "oracle: victim.disk lost I/O error 1 0 0\n"
        missed = "monitor: vmm.victim is not running\n"
        for text, outcome in ((REPORT, "harmless"), (DEATH, "detected"), (DEATH + lost, "detected"), (lost, "wrong"),
                              (hung, "hung"), (failed, "failed"), (missed, "missed")):
            with self.subTest(text):
                self.assertEqual(self.outcome(BEGIN + text + END), outcome)
        self.assertEqual(self.outcome(BEGIN + REPORT + "monitor: 1.500000 vm reboot victim\n"), "hung")
        # The reboot's own line is no end of the life: it may come before the order's.
        self.assertEqual(self.outcome(BEGIN + REPORT + "[1.500010] VM victim resets\nmonitor: 1.500000 vm reboot victim\n"), "hung")

    def test_what_came_of_an_order_may_be_told_before_it(self):
        died = "[1.000010] vmm.victim died: exit pc 0x1\n"
        crashed = "[1.000020] VM victim crashed\n"
        order = f"monitor: 1.000000 {COMMAND}\n"
        rebooted = "monitor: 1.500000 vm reboot victim\n"
        self.assertEqual(self.outcome("oracle: victim.console line 0\n" + died + crashed + order + rebooted), "detected")
        self.assertEqual(self.outcome(crashed + order + rebooted), "failed")
        before = died.replace("1.000010", "0.999999")
        self.assertEqual(self.outcome(before + order + REPORT + END), "harmless")

    def test_of_devices_that_not_every_machine_has(self):
        for text, outcome in (("rng lost requests for random bytes never completed 1 0 0", "hung"), ("gpio lost the mask 1 8 0", "wrong"),
                              ("wdog lost no interrupt of the watchdog 0 0 0", "hung"), ("rng lost the same random bytes came twice 1 2 0", "wrong"),
                              ("ports lost the stream is not the peer's: record, its number, its kind 1 2 0", "wrong"),
                              ("ports lost the stream does not end: given, taken, under way 5 4 0", "hung"),
                              ("vsock lost the connection broke 3 0 0", "failed"), ("vsock lost a connection is refused 0 0 0", "failed"),
                              ("vsock lost there never was a connection 0 0 0", "hung")):
            with self.subTest(text):
                self.assertEqual(self.outcome(f"{BEGIN}oracle: victim.{text}\n{REPORT}{END}"), outcome)

    def test_a_device_that_says_that_its_journal_is_lost(self):
        afresh = "[1.000100] the journal is damaged: the device is as after a reset\n"
        fails = "[1.000100] the journal is damaged: the device fails until the guest resets it\n"
        mended = "[1.000100] the journal was damaged and has been mended\n"
        silent = "oracle: victim.gpio lost no interrupt of a level 0 0 0\n"
        wrong = "oracle: victim.rng lost random bytes: came, wanted 0 112 0\n"
        waits = "oracle: victim.rng lost requests for random bytes never completed 1 0 0\n"
        for text, outcome in ((afresh + silent, "detected"), (silent, "hung"), (fails + silent, "hung"), (fails + wrong, "detected"),
                              (mended + wrong, "wrong"), (fails + waits, "hung"), (afresh + waits, "hung")):
            with self.subTest(text):
                self.assertEqual(self.outcome(BEGIN + text + REPORT + END), outcome)

    def test_a_reset_that_the_guest_did_not_ask_for_is_seen(self):
        reset = "[1.100000] VM victim resets\n"  # a watchdog's
        self.assertEqual(self.outcome(BEGIN + reset + REPORT + END), "failed")
        self.assertEqual(self.outcome(BEGIN + REPORT + END.replace("monitor", reset + "monitor")), "failed")
        self.assertEqual(self.outcome(REPORT + BEGIN + reset + REPORT + END), "harmless")  # it was at its end

    def test_lines_that_were_broken_for_others_are_put_together(self):
        broken = "oracle: victim.r\n[1.1] VM right is there\n[right] oracle: right.net ok 1\ntc ok 60 slowest_us=1\n"
        self.assertEqual(self.outcome(BEGIN + broken + END), "harmless")
        begun_before = f"oracle: victim.cons\nmonitor: 1.000000 {COMMAND}\nole line 0\n"
        self.assertEqual(self.outcome(begun_before + REPORT + END), "harmless")

    def test_a_report_that_is_cut_where_the_life_ends_is_none(self):
        self.assertEqual(self.outcome(BEGIN + REPORT + "oracle: victim.vc\n" + END), "harmless")
        self.assertEqual(self.outcome(BEGIN + REPORT + "ora\n" + END), "harmless")
        next_life = "[1.3] VM victim starts afresh: start 2\noracle: victim.console line 0\nora\n"
        cut = END.replace("monitor", next_life + "[1.5] VM victim resets\nmonitor")
        self.assertEqual(self.outcome(BEGIN + REPORT + cut), "harmless")

    def test_what_no_guest_prints_is_wrong(self):
        for text in ("oracle: victim.rtcok 60\n", "oracle: left.rtc ok 60x\n", "\x01\x02\n"):
            with self.subTest(text):
                self.assertEqual(self.outcome(BEGIN + text + REPORT + END), "wrong")

    def test_others_lines_are_not_the_victims(self):
        self.assertEqual(self.outcome(BEGIN + "[right] oracle: right.rtc lost x 1 2 3\n[right] noise\n" + REPORT + END), "harmless")

    def test_from_the_last_key_on_the_neighbour_has_no_label(self):
        text = BEGIN + "[right] oracle: right.con\n" + REPORT + END
        last = "\n[console] right\nsole line 1\n[victim] oracle: victim.net ok 2\noracle: right.rtc ok 3\n[2.000000] VM right is off\n"
        self.assertEqual(self.outcome(text + last), "harmless")
        output = campaign_output.parse(campaign_corruption.with_labels(text + last), "victim")
        self.assertEqual(output.broken, [])
        self.assertEqual(output.lines[("right", "console")], [1])
        self.assertEqual([end.count for end in output.ends[("right", "rtc")]], [3])
        self.assertEqual([end.count for end in output.ends[("victim", "net")]], [2])


class Script(unittest.TestCase):
    def test_the_neighbour_says_what_it_saw_when_it_is_told_to(self):
        work = list(campaign_workloads.WORK)
        lines = campaign_corruption.script(FAULTS, work, 1, 10, 10, 50).splitlines()
        self.assertEqual(lines[-4:], [f"-{campaign_corruption.LAST_COMMAND}",
                                      'expect right "oracle: right.console ok" within 1000s', "wait 10ms", "power-off"])
        text = campaign_corruption.describe(work, 10**6, 100).text
        self.assertIn("until=key frames=answer", text.split("vm {")[2])  # the second one, as its key says

    def test_a_victim_needs_nobody_but_one_who_sends_back(self):
        workload = campaign_corruption.describe(list(campaign_workloads.DEVICES), 10**6, 100)
        for vm, numbers in zip(workload.text.split("vm {")[1:], ("own=1 peer=1", "own=0 peer=0")):
            self.assertIn(numbers, vm)
            self.assertIn("name: 'link' loop: true", vm)
            self.assertIn("work=rng,ports,vsock,wdog,gpio ", vm)
        self.assertEqual(workload.services, ["virtio-rng.victim.0", "virtio-console.victim.1", "virtio-vsock.victim.2", "sp805.victim.3",
                                             "pl061.victim.4"])


if __name__ == "__main__":
    unittest.main()
