"""The demo at a terminal: a shell that takes commands, power-off, Ctrl-A X, and nothing left over for the next run."""
import unittest

from machine import LIMIT_SECONDS, ROOT, RUN, Terminal

PROMPT = b"/ # "
LINES = 40


class Interactive(unittest.TestCase):
    def setUp(self):
        self.start()

    def start(self, *options: str):
        self.shell = Terminal(*RUN, "--timeout", str(LIMIT_SECONDS), *options)
        self.addCleanup(self.shell.close)
        self.shell.expect(PROMPT)
        self.shell.type(b"dmesg -n 1\r")  # else a message of the guest's kernel may come in the middle of an answer
        self.shell.expect(PROMPT)

    def leave(self):
        self.shell.type(b"\x01x")
        self.assertEqual(self.shell.wait(), 0)

    def test_commands_then_poweroff(self):
        self.shell.type(b"echo $((6 * 7)) >/mark; uname -m; cat /mark\r")
        self.shell.expect(b"aarch64\r")
        self.shell.expect(b"42\r")
        self.shell.expect(PROMPT)
        self.shell.type(b"poweroff\r")
        self.shell.expect(b"VM linux is off")
        self.assertEqual(self.shell.wait(), 0)

    def test_next_run_starts_clean_and_finds_its_disk(self):
        self.shell.type(b"ls /mark; mount /dev/vda /mnt && echo $((6 * 7)) >/mnt/kept && sync && ls -A /mnt\r")
        self.shell.expect(b"No such file")
        self.shell.expect(b"lost+found")
        self.shell.expect(PROMPT)
        self.leave()
        self.start()
        self.shell.type(b"ls /mark; mount /dev/vda /mnt && cat /mnt/kept && rm /mnt/kept\r")
        self.shell.expect(b"No such file")
        self.shell.expect(b"42\r")
        self.shell.type(b"poweroff\r")
        self.assertEqual(self.shell.wait(), 0)

    def test_network(self):
        self.shell.type(b"ping -c 2 10.0.2.2\r")
        self.shell.expect(b"2 packets transmitted, 2 packets received")
        self.shell.expect(PROMPT)
        self.leave()

    def test_two_vms_and_the_key_that_goes_from_one_to_the_other(self):
        self.leave()
        self.start("--config", str(ROOT / "guests/two-vms.textproto"))
        self.shell.type(b"cat /proc/cmdline\r")
        self.shell.expect(b"10.0.2.15/24")
        self.shell.expect(PROMPT)
        self.shell.type(b"\x012")
        self.shell.type(b"\rcat /proc/cmdline\r")
        self.shell.expect(b"10.0.2.16/24")
        self.shell.expect(PROMPT)
        self.shell.type(b"poweroff\r")
        self.shell.expect(b"VM right is off")
        self.shell.type(b"\x011ping -c 1 -W 1 10.0.2.16\r")
        self.shell.expect(b"0 packets received")
        self.shell.expect(PROMPT)
        self.shell.type(b"poweroff\r")
        self.shell.expect(b"VM left is off")
        self.assertEqual(self.shell.wait(), 0)

    def test_typing_ahead_loses_nothing(self):
        """Whole lines in one go, while the shell is busy with the ones before. What it took of them is looked at later: the
        terminal's echo of the next ones may come in the middle of an answer."""
        for line in range(LINES):
            self.shell.type(b"echo '<%d>' >>/tmp/typed\r" % (line * 1111))
        self.shell.type(b"cat /tmp/typed\r")
        for line in range(LINES):
            self.shell.expect(b"\n<%d>\r" % (line * 1111))
        self.shell.type(b"\x01x")
        self.shell.wait()

    def test_ctrl_c_is_the_guests(self):
        self.shell.type(b"sh -c 'echo begun; sleep 1000'\r")
        self.shell.expect(b"\nbegun\r")  # earlier, the shell itself would take the Ctrl-C
        self.shell.type(b"\x03")
        self.shell.expect(PROMPT)
        self.shell.type(b"poweroff\r")
        self.assertEqual(self.shell.wait(), 0)


if __name__ == "__main__":
    unittest.main()
