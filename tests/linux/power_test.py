"""Watchdog and power button under Debian's drivers, while their services die: a VM that feeds its watchdog until its button
is pressed, and one that does not.
"""
import pathlib
import re
import tempfile
import unittest

from scripted import System, Vm

LIMIT = 300
WATCHDOG_DEATHS, BUTTON_DEATHS, STEPS = 25, 12, range(1, 500, 41)
FED = r"""
edges() { sed -n 's/^ *[0-9]*: *\([0-9]*\) .*gpiolib$/\1/p' /proc/interrupts; }  # of the button's pin so far
trap 'sleep 2; echo "edges: $(edges)"; cat /sys/class/watchdog/watchdog0/state; kill $feeder; wait $feeder
      cat /sys/class/watchdog/watchdog0/state; sleep 4; echo "shut down in order"; exit 7' TERM
cat /sys/class/watchdog/watchdog0/identity
watchdog -F -T 2 -t 1 /dev/watchdog & feeder=$!
echo feeding
while :; do sleep 1 & wait $!; done
"""
# Memory of a disk is all that a reset leaves.
STARVED = """
lives=$(($(head -c 1 /dev/vda | tr '\\000' 0) + 1))
echo "life $lives"
[ $lives -eq 3 ] && exit 0
echo $lives | dd of=/dev/vda conv=fsync,notrunc 2>/dev/null
watchdog -F -T 2 -t 1000 /dev/watchdog &
sleep 1000
"""
MONITOR = ('expect fed "feeding"\n' + "wait 150ms\nkill sp805.fed.0\n" * WATCHDOG_DEATHS
           + 'expect starved "life 2"\n' + "wait 300ms\nkill sp805.starved.1\n" * 4
           # Longer than a guest that is not fed has: while it is paused its watchdog stands still.
           + 'expect starved "life 3"\nvm pause fed\nwait 6s\nkill sp805.fed.0\nwait 1s\nvm resume fed\nwait 1500ms\n'
           + '-vm poweroff starved\nkill pl061.fed.1\n'
           # The supervisor repeats the press to an instance that died of it: it is the same press.
           + "".join(f"step pl061.fed.1 {steps}\nvm poweroff fed\nwait 3ms\n" for steps in STEPS)
           + "step pl061.fed.1 0\n" + "wait 10ms\nkill pl061.fed.1\n" * BUTTON_DEATHS + "ps\n")
MACHINE_LINE = re.compile(r"monitor: |\[ *\d+\.\d{6}\] ")


class Power(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        fed = Vm("fed", FED, 'device { service: "sp805" } device { service: "pl061" }')
        starved = Vm("starved", STARVED, 'disk { zero_mib: 2 } device { service: "sp805" }')
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "monitor"
            path.write_text(MONITOR)
            with System(fed, starved, monitor=str(path), icount=True) as system:
                system.start()
                cls.status = system.wait(LIMIT)
                cls.output = system.output
                cls.results = {vm: system.result(vm) for vm in ("fed", "starved")}

    def lines(self, vm: str) -> list[str]:
        return [line for line in self.results[vm][1].splitlines() if not MACHINE_LINE.match(line)]

    def deaths(self, task: str) -> int:
        found = re.search(rf"monitor: {re.escape(task)} +running +(\d+) ", self.output)
        self.assertTrue(found, self.output)
        return int(found[1])

    def test_the_machine_ends_well(self):
        self.assertEqual(self.status, 0, self.output)
        self.assertIn("monitor: the script has ended", self.output)
        self.assertNotRegex(self.output, r"journal is damaged|given up|Oops|panic")

    def test_a_guest_that_feeds_its_watchdog_lives_and_shuts_down_when_its_button_is_pressed(self):
        self.assertEqual((self.results["fed"][0], self.lines("fed")),
                         (7, ["sp805-wdt", "feeding", "init: the power button was pressed", "edges: 2", "active", "inactive",
                              "shut down in order"]), self.output)
        self.assertEqual(self.deaths("sp805.fed.0"), WATCHDOG_DEATHS + 1)
        self.assertGreaterEqual(self.deaths("pl061.fed.1"), BUTTON_DEATHS + 5)

    def test_a_guest_that_does_not_is_started_afresh_each_time(self):
        self.assertEqual(self.results["starved"][0], 0, self.output)
        self.assertEqual(self.lines("starved"), ["life 3"])
        self.assertEqual(len(re.findall(r"VM starved resets$", self.output, re.MULTILINE)), 2)
        self.assertNotIn("VM fed resets", self.output)

    def test_a_vm_without_a_button_says_so(self):
        self.assertRegex(self.output, "VM starved (has no power button; \"vm poweroff starved force\" turns it off at once|is not on)")


if __name__ == "__main__":
    unittest.main()
