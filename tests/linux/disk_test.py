"""The machine's disk: what a guest wrote is there after its reboot, on the host, and after a hard stop."""
import hashlib
import pathlib
import random
import re
import subprocess
import tempfile
import time
import unittest

from machine import run, run_batch
from scripted import System, Vm, amount

import machine_devices

MIB = amount(16, 512)
DISK_MIB = amount(128, 1024)
STOPS = amount(2, 20)
STOP_DISK_MIB = 64
LIMIT = amount(300, 3600)
SECONDS_UNTIL_STOP = (0.5, amount(4, 15))
WRITE_AND_REBOOT = f"""
mount /dev/vda /mnt || exit 1
if [ -e /mnt/sum ]; then
  sha256sum -c /mnt/sum || exit 2
  [ "$(stat -c %s /mnt/random)" = {MIB << 20} ] || exit 3
  umount /mnt
  exit 0
fi
dd if=/dev/urandom of=/mnt/random bs=1M count={MIB} 2>/dev/null || exit 4
(cd /mnt && sha256sum /mnt/random >sum)
sync
reboot -f
"""
WRITE_UNTIL_STOPPED = """
mount /dev/vda /mnt || exit 1
n=0
while [ $n -lt 400 ]; do
  n=$((n + 1))
  dd if=/dev/urandom of=/mnt/$n bs=1k count=$((n * 37 % 200 + 1)) conv=fsync 2>/dev/null || exit 2
  sync
  echo "synced $n $(sha256sum </mnt/$n | cut -d' ' -f1)"
  [ $((n % 3)) != 0 ] || mv /mnt/$n /mnt/moved
done
"""


def make_file_system(path: pathlib.Path, mib: int) -> None:
    with path.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", str(path)], check=True)


def read_file(image: pathlib.Path, name: str) -> bytes:
    """A file in an image of ext4, as the host reads it."""
    return subprocess.run(["/sbin/debugfs", "-R", f"cat {name}", str(image)], check=True, capture_output=True).stdout


class Disk(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.image = pathlib.Path(scratch.name) / "disk.ext4"

    def check_file_system(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(["/sbin/e2fsck", *options, str(self.image)], capture_output=True, text=True)

    def test_reboot_and_host_find_what_was_written(self):
        make_file_system(self.image, DISK_MIB)
        done = run_batch(WRITE_AND_REBOOT, "--disk", str(self.image), limit=LIMIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("/mnt/random: OK", done.stdout)
        checked = self.check_file_system("-fn")
        self.assertEqual(checked.returncode, 0, checked.stdout)
        wanted = read_file(self.image, "/sum").decode().split()[0]
        self.assertEqual(hashlib.sha256(read_file(self.image, "/random")).hexdigest(), wanted)

    def test_a_second_run_finds_what_the_first_wrote(self):
        make_file_system(self.image, 16)
        first = run_batch("mount /dev/vda /mnt && echo kept >/mnt/a && umount /mnt", "--disk", str(self.image))
        self.assertEqual(first.returncode, 0, first.stdout + first.stderr)
        second = run_batch("mount -o ro /dev/vda /mnt && cat /mnt/a; echo no >/dev/vda", "--disk", f"{self.image},ro")
        self.assertIn("kept\n", second.stdout, second.stderr)
        self.assertNotEqual(second.returncode, 0, "the disk is read-only")
        self.assertEqual(read_file(self.image, "/a"), b"kept\n")

    def test_hard_stops_lose_nothing_that_was_synced(self):
        for stop in range(STOPS):
            with self.subTest(stop):
                make_file_system(self.image, STOP_DISK_MIB)
                self.stop_hard()

    def stop_hard(self):
        disk = machine_devices.Disk(str(self.image))
        with System(Vm("guest", WRITE_UNTIL_STOPPED, "disk { physical { } }"), machine_disk=disk) as system:
            system.start()
            self.assertTrue(system.wait_for("synced 2 [0-9a-f]{64}$", LIMIT), system.output)
            time.sleep(random.uniform(*SECONDS_UNTIL_STOP))
            system.kill()
            system.reader.join()
            output = system.output
        synced = dict(re.findall(r"synced (\d+) ([0-9a-f]{64})$", output, re.MULTILINE))
        replayed = self.check_file_system("-p")
        self.assertIn(replayed.returncode, (0, 1), replayed.stdout)  # 1: the journal was replayed
        checked = self.check_file_system("-fn")
        self.assertEqual(checked.returncode, 0, checked.stdout)
        for name, digest in synced.items():
            if int(name) % 3:  # the others were moved, the last of them perhaps not yet
                self.assertEqual(hashlib.sha256(read_file(self.image, f"/{name}")).hexdigest(), digest, name)

    def test_discard_reaches_the_image(self):
        make_file_system(self.image, 64)
        script = """
            mount /dev/vda /mnt && dd if=/dev/urandom of=/mnt/a bs=1M count=32 2>/dev/null && sync && umount /mnt || exit 1
            blkdiscard -o 1048576 -l 61865984 /dev/vda || exit 2
            """
        done = run_batch(script, "--disk", str(self.image))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertLess(self.image.stat().st_blocks * 512, 8 << 20, "the file has a hole")

    def test_parts_of_the_disk(self):
        """Two VMs write all of their parts; neither reaches into the other's."""
        with self.image.open("wb") as file:
            file.truncate(5 << 20)
        fill = "[ $(blockdev --getsize64 /dev/vda) = %d ] && dd if=/dev/zero bs=64k | tr '\\0' %s | dd of=/dev/vda bs=64k; sync"
        vms = [Vm("one", fill % (1 << 20, "a"), "disk { physical { first_mib: 1 mib: 1 } }"),
               Vm("two", fill % (2 << 20, "b"), "disk { physical { first_mib: 3 } }")]
        with System(*vms, machine_disk=machine_devices.Disk(str(self.image))) as system:
            system.start()
            self.assertEqual(system.wait(LIMIT), 0, system.output)
        mib = 1 << 20
        self.assertEqual(self.image.read_bytes(), bytes(mib) + b"a" * mib + bytes(mib) + b"b" * 2 * mib)

    def failing(self, part: str, image_mib: int | None) -> tuple[str, str]:
        """(what the guest printed, what the machine printed) with a disk that has less than the description says."""
        script = """
            blockdev --getsz /dev/vda
            dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync; echo "wrote $?"
            dd if=/dev/vda of=/dev/null bs=1M; echo "read $?"
            """
        disk = None
        if image_mib:
            with self.image.open("wb") as file:
                file.truncate(image_mib << 20)
            disk = machine_devices.Disk(str(self.image))
        with System(Vm("guest", script, f"disk {{ physical {{ {part} }} }}"), machine_disk=disk) as system:
            system.start()
            self.assertEqual(system.wait(LIMIT), 0, system.output)
            status, output = system.result("guest")
            self.assertEqual(status, 0, system.output)
            return output, system.output

    def test_a_missing_disk_fails(self):
        # Nobody knows its size if the description does not: then it shows a page.
        for part, image_mib, sectors in (("", None, 8), ("mib: 8", None, 16384), ("first_mib: 8", 4, 8)):
            output, log = self.failing(part, image_mib)
            self.assertRegex(output, rf"(?m)^{sectors}\n")
            self.assertRegex(output, r"Input/output error\nread 1\n")
            self.assertRegex(output, r"(?m)^wrote 1\n")
            self.assertEqual(len(re.findall("(?m)^.* disk fails: the guest gets I/O errors$", log)), 1, log)

    def test_a_short_disk_fails_beyond_its_end(self):
        output, log = self.failing("first_mib: 2 mib: 8", 4)
        self.assertRegex(output, r"(?m)^16384\n")
        self.assertRegex(output, r"Input/output error\nread 1\n")
        self.assertRegex(output, r"(?m)^wrote 1\n")
        self.assertEqual(len(re.findall("(?m)^.* disk fails: the guest gets I/O errors$", log)), 1, log)

    def test_one_image_cannot_be_two_machines_disk(self):
        make_file_system(self.image, 16)
        with System(Vm("guest", "sleep 1000", "disk { physical { } }"),
                    machine_disk=machine_devices.Disk(str(self.image))) as system:
            system.start()
            self.assertTrue(system.wait_for("begin$"), system.output)
            done = run("--disk", str(self.image))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("lock", done.stderr)


if __name__ == "__main__":
    unittest.main()
