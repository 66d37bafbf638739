"""scripts/run --crash-dir and scripts/replay: a service dies in QEMU of what is in guest memory, and here again."""
import contextlib
import importlib
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import types
import unittest
import zipfile
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import crash_file  # noqa: E402
import launch  # noqa: E402
import observe  # noqa: E402

host_run = importlib.import_module("host-run")
replay = importlib.import_module("replay")
SYSTEM = 'vm { name: "guest" memory_mib: 64 kernel: "guest" device { service: "brittle" } }'
BAD_NUMBER, GOOD_NUMBER, NUMBER_AT, GOOD_AT = 0x3000_0000, 7, 0x4100_1000, 0x4100_0000
SECONDS = 60


def run_observed(folder: pathlib.Path, limit: int, record: list | None = None) -> str:
    """What the machine printed. It ends with an error, as its guest does."""
    options = launch.Options(files={"guest": str(launch.TARGET / "tests/host/brittle_guest.bin")}, icount=True, observed=True,
                             services=[(ROOT / "tests/host", launch.TARGET / "tests/host")])
    with launch.Machine(options) as machine:
        options.config = str(machine.folder / "system.textproto")
        pathlib.Path(options.config).write_text(SYSTEM)
        machine.prepare()
        arguments = types.SimpleNamespace(crash_dir=str(folder), crashes=limit, record=record)
        with observe.observer(machine, arguments):
            return subprocess.run(machine.command(["-serial", "stdio"]), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=SECONDS, errors="replace").stdout


def run_replay(path: pathlib.Path, *options: str) -> tuple[int, str, str]:
    output, errors = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["replay", str(path), "--no-build", *options]), \
            contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = replay.main()
    return status, output.getvalue(), errors.getvalue()


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="atoll-replay-"))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            cls.recording = cls.folder / "brittle.guest"
            cls.printed = run_observed(cls.folder, 1, ["brittle.guest.0", str(cls.recording)])
        cls.said = said.getvalue()
        cls.kept = [path.name for path in cls.folder.iterdir()]
        cls.crash = cls.folder / "brittle.guest.0-0.crash"

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def changed(self, change=lambda header: None, members=lambda name, data: data) -> pathlib.Path:
        """A copy of the crash with another header or other members."""
        path = self.folder / "changed.crash"
        with zipfile.ZipFile(self.crash) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "header.json":
                    header = json.loads(data)
                    change(header)
                    data = json.dumps(header).encode()
                data = members(name, data)
                if data is not None:
                    new.writestr(name, data)
        return path

    def test_the_machine_went_on_and_one_crash_was_kept(self):
        self.assertIn("FOUND 49", self.printed)
        self.assertNotIn("NOT REACHED", self.printed)
        self.assertEqual(self.printed.count("brittle.guest.0 died"), 2, self.printed)
        self.assertCountEqual(self.kept, [self.crash.name, self.recording.name], self.said)
        self.assertIn(f"brittle.guest.0 died (fault): {self.crash}", self.said)

    def test_it_dies_again_at_the_same_place(self):
        status, output, trace = run_replay(self.crash)
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"^brittle.guest.0, generation 0, died of fault in .*LookUp\(unsigned int\), esr 0x[0-9a-f]+, far 0x[0-9a-f]+, "
                         rf"with Device.MmioAccess offset=0x0 size=0x4 write=0x1 value={NUMBER_AT:#x}\n")
        self.assertRegex(output, r"brittle.guest.0 died again: it .* in .*LookUp\(unsigned int\) at tests/host/brittle/main.cc:\d+\n$")
        self.assertIn("ServiceMain", trace)

    def by_program(self, *command) -> tuple[int, str]:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
        return done.returncode, done.stdout + done.stderr

    def test_under_gdb_it_stops_where_it_dies(self):
        script = ROOT / "scripts/replay.py"
        status, said = self.by_program(sys.executable, script, self.crash, "--no-build", "--ex", "backtrace")
        self.assertEqual(status, 1, said)
        self.assertIn("received signal SIGABRT", said)
        self.assertRegex(said, rf"#\d+ .*LookUp \(number={BAD_NUMBER}\) at .*tests/host/brittle/main.cc:\d+\n")
        self.assertIn("brittle.guest.0 died again: it stopped under gdb\n", said)
        # A place of one's own, before that.
        said = self.by_program(sys.executable, script, self.crash, "--no-build", "--break", "LookUp", "--ex", "info locals", "--ex", "finish")[1]
        self.assertRegex(said, rf"Breakpoint 1, .*LookUp \(number={BAD_NUMBER}\)")

    def test_a_core_has_what_the_dead_instance_had(self):
        core, elf = self.folder / "core", launch.TARGET / "tests/host/brittle.elf"
        self.assertEqual(run_replay(self.crash, "--core", str(core)), (0, f"gdb-multiarch {elf} {core}\n", ""))
        said = self.by_program("gdb-multiarch", "-q", "-nx", "-batch", "-ex", "backtrace", "-ex", "print squares", elf, core)[1]
        self.assertRegex(said, r"#0 .*LookUp ")
        self.assertRegex(said, r"#1 .*Brittle::Access .*\n")
        self.assertIn("$1 = {0, 1, 4, 9, 16, 25, 36, 49}", said)
        for path, change, problem in ((core, lambda h: h.update(others=7), 'has no "others" that is memory'),
                                      (core, lambda h: h.update(registers=[1]), 'has no "registers" that are those of an AArch64'),
                                      (self.folder / "no/core", lambda h: None, "No such file or directory")):
            status, _, errors = run_replay(self.changed(change), "--core", str(path))
            self.assertEqual(status, 2)
            self.assertIn(problem, errors)

    def test_with_another_number_in_guest_memory_it_goes_on(self):
        good = self.changed(lambda header: header["calls"][0]["words"].__setitem__(3, GOOD_AT))
        self.assertEqual(run_replay(good)[::2], (0, ""))
        self.assertTrue(run_replay(good)[1].endswith("brittle.guest.0 went on and answered OK 0x0\n"))
        # The same call, with the number in memory changed.
        number = self.changed(members=lambda name, data: data.replace(struct.pack("<I", BAD_NUMBER), struct.pack("<I", GOOD_NUMBER))
                              if name != "header.json" else data)
        self.assertEqual(run_replay(number)[0], 0)

    def played(self, *options: str, name: str = "brittle", lines: list | None = None) -> tuple:
        path = self.folder / "played.guest"
        path.write_text("".join(f"{line}\n" for line in lines or self.recording.read_text().splitlines()))
        output = io.StringIO()
        with mock.patch.object(sys, "argv", ["host-run", name, str(path), "--no-build", *options]), contextlib.redirect_stdout(output), \
                contextlib.redirect_stderr(io.StringIO()):
            try:
                return host_run.main(), output.getvalue()
            except SystemExit as end:
                return end.code, ""

    def test_the_recording_gives_the_same_answers_and_dies_at_the_same_place(self):
        lines = self.recording.read_text().splitlines()
        self.assertIn(f"memory guest_ram+0x1000000 {GOOD_NUMBER:02x}{'00' * 15}", lines)
        status, output = self.played()
        self.assertEqual(status, 1)
        self.assertRegex(output, r"line \d+: brittle.guest.0 died of .*LookUp\(unsigned int\) at tests/host/brittle/main.cc:\d+\n$")
        end = next(i for i, line in enumerate(lines) if f"value={NUMBER_AT:#x}" in line)
        self.assertEqual(self.played(lines=lines[:end]), (0, ""))
        # Another number in guest memory gives another answer than the recorded one.
        other = [line.replace(f"guest_ram+0x1000000 {GOOD_NUMBER:02x}", "guest_ram+0x1000000 06") for line in lines[:end]]
        self.assertRegex(self.played(lines=other)[1], r"it is OK value=0x24, not OK value=0x31")

    def test_recordings_that_are_refused(self):
        lines = self.recording.read_text().splitlines()
        self.assertIn("is a recording of brittle.guest.0", self.played(name="sp805")[0])
        self.assertIn("line 2: has a plan of its task that makes no sense", self.played(lines=["# x", "plan {}", *lines[2:]])[0])
        self.assertIn("line 2: ", self.played(lines=["# x", "plan {", *lines[2:]])[0])
        self.assertIn('line 3: "xyz" is no number', self.played(lines=[*lines[:2], "config xyz"])[1])
        for wanted, problem in ((["nobody", "f"], "there is no such service; there are"), (["console", "f"], "uses registers of the machine"),
                                (["brittle.guest.0", "/nowhere/f"], "No such file or directory")):
            with self.assertRaisesRegex(observe.InputError, problem):
                run_observed(self.folder, 1, wanted)

    def refused(self, path: pathlib.Path, problem: str):
        status, output, errors = run_replay(path)
        self.assertEqual((status, output), (2, ""), errors)
        self.assertRegex(errors, rf"^atoll: {path}: [^\n]*\n$")
        self.assertIn(problem, errors)

    def test_files_that_are_none(self):
        bad = self.folder / "bad.crash"
        whole = self.crash.read_bytes()
        self.refused(self.folder / "nothing", "is no file of a crash")
        self.refused(self.folder, "is no file of a crash")
        for content in (b"", b"garbage" * 100, whole[:len(whole) // 2], whole[:-30], whole[100:]):
            bad.write_bytes(content)
            self.refused(bad, "damaged")
        middle = len(whole) // 2
        for at in range(middle, middle + 40, 4):  # a byte of what is compressed
            bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
            status, _, errors = run_replay(bad)
            self.assertEqual(status, 2, f"byte {at}")
        with zipfile.ZipFile(bad, "w") as archive:
            archive.writestr("header.json", "[]")
        self.refused(bad, "its header is no object")

    def test_files_of_others(self):
        self.refused(self.changed(lambda h: h.update(format="atoll-crash-2")), 'is of the format "atoll-crash-2"')
        other = self.changed(lambda h: h.update(build="0" * 64))
        self.refused(other, "is of another build of brittle")
        self.assertEqual(run_replay(other, "--another-build")[0], 1)
        self.refused(self.changed(lambda h: h["plan"].update(service="floppy")), 'is of a service "floppy", which there is not')
        self.refused(self.changed(lambda h: h["plan"].update(service="../brittle")), "which there is not")
        self.refused(self.changed(lambda h: h["plan"].update(service="supervisor")), "only the kernel can start")

    def test_headers_that_make_no_sense(self):
        for change, problem in ((lambda h: h.pop("calls"), 'has no "calls"'), (lambda h: h.update(pc="0"), 'has no "pc" that is a number'),
                                (lambda h: h["calls"][0].pop("token"), 'a call has no "token"'),
                                (lambda h: h["calls"][0].update(words=[1]), "other than six words"),
                                (lambda h: h["calls"][0].update(words=[1 << 64] * 6), "other than six words"),
                                (lambda h: h["calls"][0].update(data="xx"), "no page of bytes"),
                                (lambda h: h["calls"][0].update(token=-1), 'a call has no "token" that is a number'),
                                (lambda h: h.update(ticks=1 << 64), 'has no "ticks"'), (lambda h: h.update(generation=-1), 'has no "generation"'),
                                (lambda h: h.update(plan={}), "makes no sense"), (lambda h: h["plan"].update(regions=[{}]), "makes no sense"),
                                (lambda h: h["plan"]["regions"][0].update(bytes=5), "makes no sense"),
                                (lambda h: h["plan"]["regions"][0].update(address=-4096), "makes no sense"),
                                (lambda h: h["plan"].update(timer_bit=64), "makes no sense"),
                                (lambda h: h["plan"].update(regions=[]), "makes no sense"),
                                (lambda h: h["plan"]["regions"].append(h["plan"]["regions"][0]), "makes no sense"),
                                (lambda h: h["contents"].clear(), "has not the contents"),
                                (lambda h: h["contents"].__setitem__(0, [[0, 1 << 40]]), "has pages outside of"),
                                (lambda h: h["contents"].__setitem__(1, [[0]]), "has pages outside of"),
                                (lambda h: h["contents"].__setitem__(1, 7), "has pages outside of"),
                                (lambda h: h["contents"].__setitem__(1, [[0, 3]]), "has more or less of")):
            with self.subTest(problem):
                self.refused(self.changed(change), problem)
        self.refused(self.changed(members=lambda name, data: None if name == "1" else data), "has not the contents of config")


if __name__ == "__main__":
    unittest.main()
