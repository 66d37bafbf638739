"""Batch scripts in the demo guest: disk, clock, interrupts, power."""
import hashlib
import pathlib
import random
import re
import tempfile
import time
import unittest

from machine import ROOT, run_batch

SHOW = (ROOT / "tests/linux/show.sh").read_text()
CLOCK_TOLERANCE_SECONDS = 300  # the script runs for some time before it reads the clock
SHORT_MIB = 8
DISK_BYTES = 3 << 20


class Batch(unittest.TestCase):
    def check(self, done, status=0):
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertNotRegex(done.stdout, "died|crashed|panic|Oops|I/O error")

    def show(self, *options):
        done = run_batch(f"mib={SHORT_MIB}\n" + SHOW, *options)
        self.check(done)
        clock = int(re.search(r"^rtc: (\d+)$", done.stdout, re.MULTILINE)[1])
        self.assertLess(abs(clock - time.time()), CLOCK_TOLERANCE_SECONDS)
        return done.stdout

    def test_disk_clock_and_interrupts(self):
        self.assertIn("cpus: 1\n", self.show())

    def test_two_vcpus_on_one_cpu(self):
        output = self.show("--vcpus", "2")
        self.assertIn("cpus: 2\n", output)
        calls = re.search(r"^IPI1: +(\d+) +(\d+) +Function call", output, re.MULTILINE)
        self.assertTrue(int(calls[1]) > 0 and int(calls[2]) > 0, output)  # each vCPU got SGIs of the other

    def test_eight_vcpus_and_cpu_hotplug(self):
        done = run_batch("""
            grep -c ^processor /proc/cpuinfo
            for round in 1 2; do
              for cpu in 1 7; do echo 0 >/sys/devices/system/cpu/cpu$cpu/online || exit 1; done
              grep -c ^processor /proc/cpuinfo
              for cpu in 1 7; do echo 1 >/sys/devices/system/cpu/cpu$cpu/online || exit 2; done
            done
            grep -c ^processor /proc/cpuinfo
            """, "--vcpus", "8", "--memory", "256")
        self.check(done)
        self.assertEqual(done.stdout.split(), ["8", "6", "6", "8"])

    def test_status_and_output_are_the_scripts(self):
        done = run_batch("printf 'a\\nb'; exit 37")
        self.check(done, 37)
        self.assertEqual(done.stdout, "a\nb\n")

    def test_reboot_starts_the_guest_afresh(self):
        done = run_batch("""
            mount /dev/vda /mnt
            if [ -e /mnt/second ]; then echo "booted again, up $(cut -d. -f1 /proc/uptime) s"; exit 5; fi
            touch /mnt/second; umount /mnt; sync
            reboot -f
            """)
        self.check(done, 5)
        self.assertRegex(done.stdout, "booted again, up \\d s")

    def test_power_off_in_the_middle_is_told(self):
        done = run_batch("poweroff -f")
        self.assertEqual(done.returncode, 1)
        self.assertIn("atoll: the guest powered off before the script came to its end", done.stderr)

    def test_each_disk_has_its_files_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            disks = [pathlib.Path(folder) / name for name in ("a", "b")]
            for disk in disks:
                disk.write_bytes(random.randbytes(DISK_BYTES))
            done = run_batch("for disk in /dev/vda /dev/vdb; do sha256sum <$disk; done; echo x >/dev/vda",
                             *(part for disk in disks for part in ("--memory-disk", str(disk))))
            self.check(done)
            # The files are as they were, too: the guest wrote to a copy.
            sums = [hashlib.sha256(disk.read_bytes()).hexdigest() + "  -" for disk in disks]
            self.assertEqual(done.stdout.splitlines(), sums)


if __name__ == "__main__":
    unittest.main()
