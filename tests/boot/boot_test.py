#!/usr/bin/python3
"""Machines and boot archives that Atoll refuses: each with its one sentence and a failing exit status.

Usage: boot_test.py --build FOLDER [NAME ...]
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import archive  # noqa: E402
import qemu_test  # noqa: E402

TIMEOUT_SECONDS = 30
BAD_MACHINE, BAD_INPUT = 1, 2  # exit status: of the kernel's checks, of the supervisor's (kExitBadInput)
GUEST_MIB = 64
MACHINE = "virt,virtualization=on,gic-version=3"
# What a boot says besides the sentence.
ORDINARY = re.compile(r"\[\d+\.\d{6}\] "
                      r"(?:atoll at 0x[0-9a-f]+, device tree at 0x[0-9a-f]+|\d CPUs?|memory 0x[0-9a-f]+, \d+ MiB)")
TIME = re.compile(r"^\[\d+\.\d{6}\] ")
SYSTEM = 'vm { name: "guest" memory_mib: %d kernel: "guest" disk { zero_mib: 1 } }'


class Build:
    """What the cross pass has built, and archives made of it."""
    target: pathlib.Path

    @classmethod
    def archive(cls, folder: pathlib.Path, *, memory_mib: int = GUEST_MIB, without: str = "") -> bytes:
        """A good archive of one VM, less the file `without`."""
        system, plan, listing = folder / "system.textproto", folder / "plan.pb", folder / "files.txt"
        system.write_text(SYSTEM % memory_mib)
        subprocess.run(["/usr/bin/python3", str(ROOT / "scripts/describe.py"), "--system", str(system), "--seed", "1",
                        "--manifests", str(ROOT / "services"), "--elfs", str(cls.target / "services"),
                        "--file", f"guest={cls.target / 'guests/bench.bin'}", "--out", str(plan),
                        "--list", str(listing)], check=True)
        files = [line.partition("=")[::2] for line in listing.read_text().splitlines()]
        out = folder / "boot.cpio"
        archive.write(out, [(name, pathlib.Path(path)) for name, path in files if name != without])
        return out.read_bytes()


def file_data(data: bytes, name: str) -> int:
    """Where the content of a file of the archive begins, of which there is one with this name."""
    header = data.index(name.encode() + b"\0") - archive.HEADER_BYTES
    return header + archive.HEADER_BYTES + int(data[header + 94:header + 102], 16)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new):]


class BootCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="atoll-boot-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refuse(self, sentence: str, status: int, *, initrd: bytes | None = None, machine: str = MACHINE,
               cpu: str = "neoverse-n1", memory_mib: int = 256) -> str:
        """The machine ends with this status and says nothing but the sentence, of which the pattern is given."""
        command = qemu_test.qemu(Build.target / "kernel/atoll.img", memory_mib, cpu=cpu)
        command[command.index("-M") + 1] = machine
        if initrd is not None:
            path = self.folder / "initrd"
            path.write_bytes(initrd)
            command += ["-initrd", str(path)]
        actual, text = qemu_test.run(command, TIMEOUT_SECONDS)
        lines = [line for line in text.splitlines() if not ORDINARY.fullmatch(line)]
        self.assertEqual(len(lines), 1, f"not one sentence:\n{text}")
        self.assertRegex(TIME.sub("", lines[0]), f"^(?:{sentence})$")
        self.assertEqual(actual, status, text)
        return lines[0]

    def refuse_archive(self, data: bytes, sentence: str, **options):
        return self.refuse(sentence, BAD_INPUT, initrd=data, **options)


class Machines(BootCase):
    def test_entry_at_el1(self):
        self.refuse("atoll: entered at EL1, but a hypervisor needs EL2; with QEMU use -M virt,virtualization=on",
                    BAD_MACHINE, machine="virt,gic-version=3")

    def test_cpu_without_vhe(self):
        for cpu in ("cortex-a53", "cortex-a57", "cortex-a72"):
            with self.subTest(cpu):
                self.refuse(r"atoll: this CPU has no VHE \(Armv8\.1\); "
                            "with QEMU use -cpu neoverse-n1, cortex-a76 or max",
                            BAD_MACHINE, cpu=cpu)

    def test_gic_without_system_registers(self):
        self.refuse("atoll: this machine has no GICv3 system registers; with QEMU use -M virt,gic-version=3",
                    BAD_MACHINE, machine="virt,virtualization=on,gic-version=2")

    def test_no_archive(self):
        self.refuse("boot archive: there is none; give it as initrd", BAD_INPUT)


class Archives(BootCase):
    def test_what_is_no_archive(self):
        for name, data in {"zeros": bytes(8192), "text": b"#!/bin/sh\n" * 100, "bytes": bytes(range(1, 256)) * 40,
                           "gzip": b"\x1f\x8b\x08\0" + bytes(996), "other cpio": b"070702" + b"0" * 1000}.items():
            with self.subTest(name):
                self.refuse_archive(data, r"boot archive: header at 0x0: magic is not 070701 \(newc\)")
        with self.subTest("one byte"):
            self.refuse_archive(b"0", "boot archive: header at 0x0: the archive ends before its trailer")

    def test_truncated(self):
        data = Build.archive(self.folder)
        plan, elf = file_data(data, "plan.pb"), file_data(data, "services/vmm.elf")
        elf_header = data.index(b"services/vmm.elf\0") - archive.HEADER_BYTES
        trailer = data.index(archive.TRAILER.encode()) - archive.HEADER_BYTES
        ends = "the archive ends before its trailer"
        name, file = (f"{field} reaches beyond the end of the archive" for field in ("namesize", "filesize"))
        cases = {"in the first header": (60, 0, ends), "in the first name": (archive.HEADER_BYTES + 4, 0, name),
                 "before the plan": (plan, 0, file), "in the plan": (plan + 100, 0, file),
                 "before an ELF file's header": (elf_header, elf_header, ends),
                 "in an ELF file's header": (elf_header + 109, elf_header, ends),
                 "in an ELF file": (elf + 5000, elf_header, file),
                 "before the trailer": (trailer, trailer, ends), "in the trailer": (trailer + 115, trailer, name)}
        for place, (size, header, reason) in cases.items():
            with self.subTest(place):
                self.refuse_archive(data[:size], f"boot archive: header at {header:#x}: {reason}")

    def test_broken_headers(self):
        data = Build.archive(self.folder)
        digits = "header at 0x0: %s is not a hexadecimal number"
        for place, at, new, reason in (
                ("file size", 54, b"0000x000", digits % "filesize"),
                ("name size", 94, b"-0000001", digits % "namesize"),
                ("large file", 54, b"FFFFFFFF", "header at 0x0: filesize reaches beyond the end of the archive"),
                ("large name", 94, b"FFFFFFFF", "header at 0x0: namesize reaches beyond the end of the archive"),
                ("no name", 94, b"00000000", "header at 0x0: namesize reaches beyond the end of the archive"),
                ("short file", 54, b"00000004", r"header at 0x[0-9a-f]+: magic is not 070701 \(newc\)")):
            with self.subTest(place):
                self.refuse_archive(patched(data, at, new), f"boot archive: {reason}")

    def test_no_plan(self):
        data = Build.archive(self.folder)
        self.refuse_archive(data.replace(b"plan.pb\0", b"plan.bp\0", 1), 'boot archive: there is no "plan.pb"')

    def test_missing_files(self):
        for name, task in (("services/vgic.elf", "vgic.guest"), ("services/console.elf", "console")):
            with self.subTest(name):
                self.refuse_archive(Build.archive(self.folder, without=name),
                                    rf'plan\.pb: record \d+: task {task}: boot archive: there is no "{name}"')
        with self.subTest("kernel"):
            self.refuse_archive(Build.archive(self.folder, without="guest/kernel"),
                                r'plan\.pb: record \d+: boot archive: file "guest/kernel": is not there')


class Plans(BootCase):
    def test_broken_plan(self):
        data = Build.archive(self.folder)
        plan = file_data(data, "plan.pb")
        size = (self.folder / "plan.pb").stat().st_size
        first = data[plan]
        self.assertLess(first, 0x80, "the header's length is one byte")
        for place, at, new, reason in (
                ("zeros", plan, bytes(size), "record 0: the plan ends before it"),
                ("ones", plan, b"\xff" * size, "record 0: .+"),
                ("second half", plan + size // 2, bytes(size - size // 2), r"record \d+: .+"),
                ("no header", plan, data[plan + 1 + first:plan + size] + bytes(1 + first),
                 "record 0: is not the header"),
                ("last record", plan + size - 2, bytes(2), r"record \d+: .+")):
            with self.subTest(place):
                self.refuse_archive(patched(data, at, new), rf"plan\.pb: {reason}")

    def test_broken_elf_files(self):
        data = Build.archive(self.folder)
        name = "services/pl031.elf"
        elf = file_data(data, name)
        where = rf"plan\.pb: record \d+: task pl031\.guest: {re.escape(name)}: "
        for place, at, new, reason in (
                ("no ELF file", 0, b"\0", "e_ident: .+"), ("32 bits", 4, b"\x01", "e_ident: .+"),
                ("x86-64", 18, b"\x3e\0", "e_machine: is not AArch64"), ("shared object", 16, b"\x03\0", "e_type: .+"),
                ("program headers beyond the file", 32, b"\xff" * 8, "e_phoff: .+"),
                ("entry outside", 24, b"\xff" * 8, "e_entry: .+")):
            with self.subTest(place):
                self.refuse_archive(patched(data, elf + at, new), where + reason)

    def test_too_little_memory(self):
        data = Build.archive(self.folder, memory_mib=1024)
        self.refuse_archive(data, rf"plan\.pb: record \d+: memory\.bytes: {1 << 30} are wanted, \d+ are free: "
                            "give the machine more memory")


def main() -> None:
    parser = argparse.ArgumentParser(description="Boots what must be refused.")
    parser.add_argument("--build", required=True, help="native build folder")
    options, rest = parser.parse_known_args()
    Build.target = pathlib.Path(os.path.abspath(options.build)) / "target"
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
