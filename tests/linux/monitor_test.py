"""The monitor under a Linux guest: scripts that kill, hang and crash services, their failures, and a user at the console."""
import re
import tempfile
import unittest

from machine import LIMIT_SECONDS, RUN, Terminal, run

MACHINE_LINE = re.compile(r"monitor: |\[\d+\.\d{6}\] ")
ROUNDS = 12
LINES = 3000
BATCH = f"""
sum=$(sha256sum </dev/vda)
n=0
while [ $n -lt {ROUNDS} ]; do
  n=$((n + 1))
  echo 3 >/proc/sys/vm/drop_caches
  [ "$(sha256sum </dev/vda)" = "$sum" ] || echo "round $n: another sum"
  echo "round $n done"
done
n=0
while [ $n -lt {LINES} ]; do n=$((n + 1)); echo "line $n of the guest"; done
"""


def run_script(lines: str, batch: str = "exit 0", *options: str):
    with tempfile.NamedTemporaryFile("w", suffix=".monitor") as script, \
            tempfile.NamedTemporaryFile("w", suffix=".sh") as shell:
        script.write(lines)
        script.flush()
        shell.write(batch)
        shell.flush()
        return run("--monitor", script.name, "--batch", shell.name, *options)


class Script(unittest.TestCase):
    def test_services_die_and_the_guest_sees_nothing(self):
        blk = "virtio-blk.guest.0"
        disk = "".join(f'expect guest "round {n} done"\n{verb} {who}\nwait 20ms\nwait {who} running\n' for n, (verb, who) in
                       enumerate([("kill", blk), ("hang", blk), ("crash", blk), ("restart", blk), ("exit-task", blk),
                                  ("kill", "vgic.guest"), ("kill", "pl031.guest"), ("kill", "supervisor")], start=1))
        lines = "".join(f'expect guest "line {n} of the guest"\nkill {who}\n' for n, who in
                        zip(range(200, LINES, 400), ["console", "pl011.guest"] * LINES))
        result = run_script(disk + lines + "ps\ncrashes\nvm list\n", BATCH, "--icount")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        output = [line for line in result.stdout.splitlines() if not MACHINE_LINE.match(line)]
        wanted = [f"round {n} done" for n in range(1, ROUNDS + 1)] + [f"line {n} of the guest" for n in range(1, LINES + 1)]
        self.assertEqual(output, wanted)
        self.assertIn("monitor: the script has ended", result.stdout)
        for service, deaths in ((blk, 5), ("console", 4), ("pl011.guest", 3), ("vgic.guest", 1), ("pl031.guest", 1)):
            self.assertRegex(result.stdout, rf"monitor: {re.escape(service)} +running +{deaths} ")
            self.assertEqual(len(re.findall(rf"monitor: #\d+ \S+ {re.escape(service)} generation", result.stdout)), deaths)

    def test_a_paused_vm_that_is_rebooted_runs(self):
        result = run_script('expect "Booting Linux"\nvm pause guest\nvm list\nvm reboot guest\nexpect "Booting Linux"\n'
                            "vm list\npower-off\n", "exit 0", "--icount")
        self.assertRegex(result.stdout, r"(?s)monitor: guest +paused +start 1\n.*monitor: guest +on +start 2\n.*power-off",
                         result.stderr)

    def test_a_text_that_does_not_come_ends_the_machine(self):
        result = run_script('# nobody says that\n\nexpect guest "there is no such text" within 100ms\nps\n', "sleep 100")
        self.assertEqual(result.returncode, 1)
        self.assertIn('atoll: monitor: line 3: expect: "there is no such text" did not come in time', result.stderr)
        self.assertNotIn("NAME", result.stdout)

    def test_a_line_that_is_wrong_ends_the_machine(self):
        result = run_script("vm list\nfrobnicate all\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn('atoll: monitor: line 2: "frobnicate" is no command; "help" tells what there is', result.stderr)

    def test_files_that_are_no_scripts_are_refused(self):
        for text, problem in (("", "has 0 bytes; there must be 1..1048576"),
                              ("ps\nkill \x07\n", "line 2 has a character that is not printable ASCII"),
                              ("x" * 241, "line 1 has 241 characters; at most 240")):
            result = run_script(text)
            self.assertEqual(result.returncode, 2)
            self.assertIn(problem, result.stderr)
        self.assertIn("--monitor /none: there is no such file", run("--monitor", "/none").stderr)
        self.assertIn("--add /none: there is no such file", run("--add", "/none").stderr)

    def test_the_same_script_does_the_same_again(self):
        script = 'expect "Booting Linux"\nkill virtio-blk.guest.0\nkill console\nwait 30ms\ncrashes\nps\npower-off\n'
        first, second = (run_script(script, "exit 0", "--icount") for _ in range(2))
        self.assertIn("virtio-blk.guest.0 generation 0: killed", first.stdout)
        self.assertEqual(first.stdout, second.stdout)


class User(unittest.TestCase):
    def test_commands_at_the_console(self):
        disk = self.enterContext(tempfile.NamedTemporaryFile(suffix=".img"))  # the demo's own may be in use by another test
        disk.truncate(1 << 20)
        shell = Terminal(*RUN, "--timeout", str(LIMIT_SECONDS), "--disk", disk.name)
        self.addCleanup(shell.close)
        shell.expect(b"/ # ")
        shell.type(b"\x01m")
        shell.expect(b"atoll> ")
        shell.type(b"pz\x7fs\r")
        shell.expect(b"NAME ")
        shell.expect(b"virtio-blk.linux.0")
        shell.expect(b"atoll> ")
        for line, answer in ((b"kill nobody", b'nobody'), (b"frob", b'"frob" is no command'),
                             (b"vm list", b"linux "), (b"help", b"power-off")):
            shell.type(line + b"\r")
            shell.expect(answer)
            shell.expect(b"atoll> ")
        for who in (b"console", b"virtio-blk.linux.0", b"supervisor", b"pl011.linux"):
            shell.type(b"kill " + who + b"\r")
            shell.expect(b"\natoll> ")
        shell.type(b"wait 100ms\r")
        shell.expect(b"\natoll> ")
        shell.type(b"crashes\r")
        shell.expect(b"pl011.linux generation 0: killed")
        shell.expect(b"atoll> ")
        shell.type(b"exit\r")
        shell.expect(b"[console] linux")
        shell.type(b"\recho $((6 * 7))\r")
        shell.expect(b"\n42\r")
        shell.type(b"poweroff\r")
        self.assertEqual(shell.wait(), 0)


if __name__ == "__main__":
    unittest.main()
