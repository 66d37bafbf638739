"""What scripts/run and the boot refuse: one sentence that names what is wrong, and a failing status."""
import pathlib
import subprocess
import tempfile
import unittest

from machine import ROOT, run

import launch
import session

GUESTS = launch.TARGET / "guests"
FLAT = str(GUESTS / "bench.bin")
BOOT_SECONDS = 120


class Refused(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def refuse(self, pattern: str, *options: str, status: int = 2):
        done = run(*options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr.splitlines()[-1], pattern)
        return done

    def test_options(self):
        self.refuse("--timeout: invalid number of seconds above 0", "--timeout", "0")
        self.refuse("--timeout: invalid number of seconds above 0", "--timeout", "nan")
        self.refuse("--vcpus 0 is not in 1\\.\\.8", "--vcpus", "0", "--kernel", FLAT)
        self.refuse("--vcpus 9 is not in 1\\.\\.8", "--vcpus", "9", "--kernel", FLAT)
        self.refuse("--vcpus: invalid int value: 'two'", "--vcpus", "two")
        self.refuse("--memory 63 is not an even number", "--memory", "63", "--kernel", FLAT)
        self.refuse("--memory 0 is not", "--memory", "0", "--kernel", FLAT)
        self.refuse("--append: 2048 bytes; at most 2047", "--append", "x" * 2048, "--kernel", FLAT)
        self.refuse("--config describes everything: leave out --vcpus", "--config", "x", "--vcpus", "1")
        self.refuse("--batch runs in the demo guest: leave out --kernel", "--batch", "x", "--kernel", FLAT)
        self.refuse("unrecognized arguments: --no-such", "--no-such")

    def test_devices(self):
        self.refuse('--device: there is no service "floppy"; there are ', "--device", "floppy", "--kernel", FLAT)
        self.refuse('--device: "vmm" is not a device service', "--device", "vmm", "--kernel", FLAT)
        self.refuse('--device: "virtio-blk" comes with a `disk`', "--device", "virtio-blk", "--kernel", FLAT)
        self.refuse("--device: configuration: pl061 has no configuration", "--device", "pl061:lines: 3", "--kernel", FLAT)
        self.refuse("--config describes everything: leave out --device", "--config", "x", "--device", "pl061")

    def test_files_that_are_not_there(self):
        for option in ("--kernel", "--config"):
            self.refuse(f"^atoll: {option} /nowhere: there is no such file", option, "/nowhere")
        for option in ("--initrd", "--memory-disk", "--disk"):
            self.refuse(f"^atoll: {option} /nowhere: there is no such file", option, "/nowhere", "--kernel", FLAT)
        self.refuse("^atoll: --batch /nowhere: there is no such file", "--batch", "/nowhere")
        self.refuse("^atoll: --kernel /tmp: there is no such file", "--kernel", "/tmp")
        self.refuse("^atoll: --kernel : there is no such file", "--kernel", "")

    def test_kernels(self):
        launch.make_images()
        linux = (launch.IMAGES / "vmlinuz").read_bytes()
        self.refuse("is truncated: its header says \\d+ bytes, it has 1000000", "--kernel",
                    self.file("truncated", linux[:1000000]))
        self.refuse("has 3 bytes, which is less than one instruction", "--kernel", self.file("tiny", b"abc"))
        self.refuse("is compressed; unpack it first", "--kernel", self.file("packed", b"\x1f\x8b\x08" + bytes(100)))
        self.refuse("is an ELF file; an arm64 Image", "--kernel", str(launch.TARGET / "kernel/kernel.elf"))
        # A big-endian kernel by its header: vmm refuses it, the VM ends, and the machine with it.
        flags = 24
        done = self.refuse("big-endian|endian", "--kernel",
                           self.file("big", linux[:flags] + b"\x01" + linux[flags + 1:]), status=1)
        self.assertIn("crashed", done.stdout)

    def test_disks(self):
        self.refuse("--memory-disk: .* has 511 bytes, less than a sector", "--kernel", FLAT, "--memory-disk",
                    self.file("small", bytes(511)))
        self.refuse("--memory-disk: .* has 0 bytes", "--kernel", FLAT, "--memory-disk", self.file("empty", b""))
        self.refuse("--disk .*/odd: has 1023 bytes, which are no whole sectors of 512", "--kernel", FLAT, "--disk",
                    self.file("odd", bytes(1023)))
        self.refuse("--disk .*/none: has 0 bytes", "--kernel", FLAT, "--disk", self.file("none", b"") + ",ro")
        self.refuse("--disk .*/odd,rw: there is no such file", "--kernel", FLAT, "--disk", str(self.folder / "odd,rw"))

    def test_machine(self):
        for cpus in ("0", "9", "-1"):
            self.refuse(f"--machine-cpus {cpus} is not in 1\\.\\.8", "--machine-cpus", cpus)
        for text in ("", "80", "80:", ":80", "80:80:80", "80:localhost:80", "80:1.2.3:80", "a:80", "-1:80"):
            self.refuse(f"--forward {text}: is not HOST:GUEST", f"--forward={text}")
        for text in ("0:80", "80:0", "65536:80", "80:10.0.2.15:65536"):
            self.refuse(f"--forward {text}: has a port that is not in 1..65535", "--forward", text)
        self.refuse("--forward 80:10.0.2.256:80: 10.0.2.256 is not an IPv4 address", "--forward", "80:10.0.2.256:80")
        self.refuse("--forward: no VM has a network; --net gives it one", "--kernel", FLAT, "--forward", "8080:80")
        self.refuse("--vsock .*: must have 1..96 bytes", "--kernel", FLAT, "--vsock", str(self.folder / ("x" * 96)))
        self.refuse("--vsock .*/none/vm: No such file or directory", "--kernel", FLAT, "--vsock", str(self.folder / "none/vm"))
        self.refuse("--vsock with --icount: this computer would be too slow", "--vsock", str(self.folder / "vm"), "--icount")

    def test_descriptions(self):
        def refuse(text, pattern):
            self.refuse(f"system.textproto: ?.*{pattern}", "--config", self.file("system.textproto", text.encode()))

        refuse("", "vm: 0 VMs; there must be 1..8")
        refuse("vm {", "1")
        refuse("vm { name: 'a' kernal: 'x' }", "no field named \"kernal\"")
        refuse("vm { name: 'A' kernel: 'x' }", "vm\\[0\\].name: \"A\" must be")
        refuse("vm { name: 'a' kernel: 'x' }", "vm a.kernel: no such file: .*/x\" \\(or give it: --file x=PATH\\)")
        refuse("vm { name: 'a' }", "vm a.kernel: is missing")
        refuse(f"vm {{ name: 'a' kernel: '{FLAT}' vcpus: 900 }}", "vm a.vcpus: 900 is not in 1..8")
        refuse(f"vm {{ name: 'a' kernel: '{FLAT}' disk {{ }} }}", "vm a.disk\\[0\\]: needs one of")
        refuse(f"vm {{ name: 'a' kernel: '{FLAT}' device {{ service: 'tape' }} }}", "there is no service \"tape\"")
        refuse("\xff\xfe", ".")

    def test_cpus(self):
        done = self.refuse("this CPU has no VHE \\(Armv8.1\\); with QEMU use -cpu", "--kernel", FLAT, "--cpu",
                           "cortex-a57", status=1)
        self.assertIn("no VHE", done.stdout)
        self.refuse("QEMU ended with status 1 before anything ran", "--kernel", FLAT, "--cpu", "z80", status=1)


class BootArchive(unittest.TestCase):
    """An archive that was damaged on its way: the supervisor says so and turns the machine off."""

    def boot(self, damage) -> tuple[int, str]:
        with launch.Machine(launch.Options(kernel=FLAT, memory=64)) as machine:
            machine.prepare()
            machine.archive.write_bytes(damage(machine.archive.read_bytes()))
            done = subprocess.run(machine.command(["-serial", "stdio"]), stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=BOOT_SECONDS)
        return done.returncode, done.stdout

    def refuse(self, damage, pattern: str):
        status, output = self.boot(damage)
        self.assertEqual(status, 2, output)
        lines = [found[1] for found in map(session.HYPERVISOR_LINE.match, output.splitlines()) if found]
        reasons = [line for line in lines if not session.NO_REASON.match(line)]
        self.assertEqual(len(reasons), 1, output)
        self.assertRegex(reasons[0], pattern)

    def test_truncated_at_many_places(self):
        whole = len(self.archive())
        for end in (1, 109, 4096, whole // 3, whole - 4096):
            self.refuse(lambda data: data[:end], "archive")

    def test_not_an_archive(self):
        self.refuse(lambda data: bytes(len(data)), "archive")
        self.refuse(lambda data: b"\xff" * len(data), "archive")

    def test_names_that_are_not_there(self):
        self.refuse(lambda data: data.replace(b"plan.pb", b"plan.px"), "there is no \"plan.pb\"")
        self.refuse(lambda data: data.replace(b"pl011.elf\0", b"pl012.elf\0", 1), "pl011.elf")

    def test_sizes_that_lie(self):
        size = 6 + 8 * 6  # newc: c_filesize
        for lie in (b"FFFFFFFF", b"0000ZZZZ", b"00000001"):
            self.refuse(lambda data: data[:size] + lie + data[size + 8:], ".")

    @staticmethod
    def archive() -> bytes:
        with launch.Machine(launch.Options(kernel=FLAT, memory=64)) as machine:
            machine.prepare()
            return machine.archive.read_bytes()


if __name__ == "__main__":
    unittest.main()
