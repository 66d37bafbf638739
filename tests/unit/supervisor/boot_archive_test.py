"""scripts/archive.py: the archive that it writes, read by cpio, and what it refuses."""
import struct
import subprocess
import unittest

import archive
from tool_case import ToolCase


def elf(**changes) -> bytes:
    """A small AArch64 ET_EXEC file; `changes` override fields of the headers."""
    f = {"magic": b"\x7fELF\x02\x01\x01", "type": 2, "machine": 183, "entry": 0x400000, "phoff": 64, "phentsize": 56,
         "phnum": 1, "flags": 5, "offset": 120, "address": 0x400000, "filesz": 4, "memsz": 4096} | changes
    header = f["magic"].ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", f["type"], f["machine"], 1, f["entry"],
                                                       f["phoff"], 0, 0, 64, f["phentsize"], f["phnum"], 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, f["flags"], f["offset"], f["address"], f["address"], f["filesz"], f["memsz"], 4096)
    return header + program + b"code"


class Archives(ToolCase):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "boot.cpio"
        (self.folder / "plan").write_bytes(b"plan")
        (self.folder / "good.elf").write_bytes(elf())

    def write(self, *pairs: str):
        archive.main(["--out", str(self.out), *(a for pair in pairs for a in ("--add", pair))])

    def pair(self, name: str, file: str) -> str:
        return f"{name}={self.folder / file}"

    def test_cpio_reads_it(self):
        self.write(self.pair("plan.pb", "plan"), self.pair("services/a.elf", "good.elf"), self.pair("vm/disk0", "disk"))
        listing = subprocess.run(["cpio", "-it", "--quiet"], input=self.out.read_bytes(), capture_output=True, check=True)
        self.assertEqual(listing.stdout.split(), [b"plan.pb", b"services/a.elf", b"vm/disk0"])
        self.assertEqual(self.out.stat().st_size % 4096, 0)

    def test_files_have_pages_of_their_own(self):
        self.write(self.pair("plan.pb", "plan"), self.pair("vm/kernel", "kernel"), self.pair("vm/disk0", "disk"))
        data = self.out.read_bytes()
        offset = 0
        seen = []
        while True:
            self.assertEqual(data[offset:offset + 6], b"070701")
            size = int(data[offset + 54:offset + 62], 16)
            name_size = int(data[offset + 94:offset + 102], 16)
            name = data[offset + 110:offset + 110 + name_size]
            self.assertEqual(name[-1], 0)
            if name == b"TRAILER!!!\0":
                break
            start = offset + 110 + name_size
            self.assertEqual((start % 4096, size % 4096), (0, 0))
            seen.append((name.rstrip(b"\0"), data[start:start + size]))
            offset = start + size
        self.assertEqual([name for name, _ in seen], [b"plan.pb", b"vm/kernel", b"vm/disk0"])
        self.assertEqual(seen[1][1], b"x" * 5000 + bytes(8192 - 5000))

    def test_list_file(self):
        listing = self.folder / "list"
        listing.write_text(self.pair("plan.pb", "plan") + "\n")
        archive.main(["--out", str(self.out), "--list", str(listing), "--add", self.pair("vm/kernel", "kernel")])
        self.assertIn(b"vm/kernel", self.out.read_bytes())
        self.assert_refused(lambda: archive.main(["--out", str(self.out), "--list", "/absent"]), "/absent", "cannot be read")
        listing.write_text("plan.pb\n")
        self.assert_refused(lambda: archive.main(["--out", str(self.out), "--list", str(listing)]), "list", "NAME=PATH")

    def refuse(self, *parts: str, add):
        self.assert_refused(lambda: self.write(*add), *parts)
        self.assertFalse(self.out.exists())
        self.assertEqual(list(self.folder.glob("*.partial")), [])

    def test_bad_files(self):
        plan = self.pair("plan.pb", "plan")
        self.refuse("plan.pb", add=[self.pair("vm/kernel", "kernel")])
        self.refuse("vm/kernel", "twice", add=[plan, self.pair("vm/kernel", "kernel"), self.pair("vm/kernel", "disk")])
        self.refuse("absent", "cannot be read for vm/kernel", add=[plan, self.pair("vm/kernel", "absent")])
        self.refuse("cannot be read", add=[plan, self.pair("vm/kernel", "services")])
        self.refuse("empty", "0 bytes", add=[plan, self.pair("vm/kernel", "empty")])
        for name in ("", "x" * 96, "TRAILER!!!"):
            self.refuse("name", add=[plan, self.pair(name, "kernel")])
        self.refuse("--add", "NAME=PATH", add=[plan, "kernel"])

    def refuse_elf(self, data: bytes, *parts: str):
        (self.folder / "bad.elf").write_bytes(data)
        self.refuse("bad.elf", *parts, add=[self.pair("plan.pb", "plan"), self.pair("services/b.elf", "bad.elf")])

    def test_bad_elf_files(self):
        self.refuse_elf(b"#!/bin/sh\n" * 20, "e_ident", "not an ELF file")
        self.refuse_elf(elf()[:50], "e_ident")
        self.refuse_elf(elf(magic=b"\x7fELF\x01\x01\x01"), "e_ident", "64-bit")
        self.refuse_elf(elf(machine=62), "e_machine", "62")
        self.refuse_elf(elf(type=3), "e_type", "position independent")
        self.refuse_elf(elf(phoff=100), "e_phoff")
        self.refuse_elf(elf(phoff=1 << 63), "e_phoff")
        self.refuse_elf(elf(phnum=2), "e_phoff")
        self.refuse_elf(elf(phentsize=32), "e_phoff")
        self.refuse_elf(elf(filesz=5), "program header 0", "beyond the file")
        self.refuse_elf(elf(offset=1 << 63), "program header 0", "beyond the file")
        self.refuse_elf(elf(memsz=3), "program header 0", "more bytes in the file")
        self.refuse_elf(elf(flags=7), "program header 0", "writable and executable")
        self.refuse_elf(elf(entry=0x500000), "e_entry", "0x500000")
        self.refuse_elf(elf(flags=6), "e_entry")

    def test_every_truncated_elf_is_refused(self):
        good = elf()
        for size in range(1, len(good)):
            with self.subTest(size):
                self.refuse_elf(good[:size])

    def test_an_old_archive_stays_when_the_new_one_is_refused(self):
        self.write(self.pair("plan.pb", "plan"))
        before = self.out.read_bytes()
        self.assert_refused(lambda: self.write(self.pair("plan.pb", "plan"), self.pair("a", "absent")), "absent")
        self.assertEqual(self.out.read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
