"""scripts/new-service: what it refuses, writing nothing, and that what it writes compiles.

Environment: BUILD, the build folder with generated headers; CXX; PROTOC, PLUGIN and NANOPB for schemas.
"""
import contextlib
import importlib
import io
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import discover
import manifest
from schemas import ROOT, Schemas

new_service = importlib.import_module("new-service")
LOOKED_AT, WRITTEN = ["ipc", "proto", "tests", ".clang-format"], ["docs/devices", "services"]


class NewService(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in LOOKED_AT:
            (self.root / name).symlink_to(ROOT / name)
        for name in WRITTEN:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / name)
        (self.root / "meson.build").write_text("")

    def files(self) -> set:
        return {p for p in self.root.rglob("*") if p.is_file()}

    def run_tool(self, *arguments: str) -> tuple[int, str, set]:
        """(exit status, what it printed, files that are new)."""
        before, printed = self.files(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                status = new_service.main(list(arguments), self.root)
            except SystemExit as end:  # argparse
                status = end.code
        return status, printed.getvalue(), self.files() - before

    def refuse(self, *arguments: str, because: str):
        status, text, files = self.run_tool(*arguments)
        self.assertEqual(status, 2, text)
        self.assertIn(because, text)
        self.assertEqual(text.count("\n"), 1, "one sentence")
        self.assertEqual(files, set(), "nothing is written")

    def test_bad_names(self):
        for name in ("", "Lamp", "1lamp", "la mp", "lamp-", "-lamp".replace("-", "_", 1), "la/mp", "../lamp", "lämp", "lamp\n",
                     "la--mp", "a" * 17):
            self.refuse(name, because="lower case letters")

    def test_taken_names(self):
        self.refuse("pl031", because="services/pl031 is there already")
        self.refuse("net", because="services/net is there already")
        self.refuse("virtio_blk", because="too much like that of services/virtio-blk")
        self.refuse("plan", because="proto/plan.proto is there already")
        self.refuse("uart", because="a test of tests/unit")
        self.refuse("counter", because="ports.h has a Counter already")
        self.refuse("journalled", because="a class Journalled, but services/runtime/journalled.h")
        self.refuse("start", because="StartConfig already")
        (self.root / "docs/devices").mkdir(parents=True, exist_ok=True)
        (self.root / "docs/devices/lamp.md").write_text("")
        self.refuse("lamp", because="docs/devices/lamp.md is there already")

    def test_bad_ids(self):
        for number in ("0", "64", "4.5", "0x4", "rng", "", "99999999999999999999"):
            self.refuse("zz-lamp", "--virtio", number, because="must be a number in 1..63")
        self.refuse("zz-lamp", "--virtio", "4", "--serves", because="--serves is for devices of registers")
        for arguments in (["zz-lamp", "--virtio", "4", "--mmio"], [], ["zz-lamp", "--virtio"]):
            status, _, files = self.run_tool(*arguments)
            self.assertEqual((status, files), (2, set()))

    def test_twice(self):
        self.assertEqual(self.run_tool("zz-lamp")[0], 0)
        self.refuse("zz-lamp", because="services/zz-lamp is there already")
        self.refuse("zz_lamp", because="too much like that of services/zz-lamp")

    def make(self, name: str, *arguments: str) -> pathlib.Path:
        status, text, files = self.run_tool(name, *arguments)
        self.assertEqual(status, 0, text)
        folder = self.root / "services" / name
        self.assertTrue(all(path.parent in (folder, self.root / "docs/devices") for path in files), files)
        service = manifest.load(Schemas("manifest"), folder / "manifest.textproto")
        for path in files:
            self.assertNotRegex(path.read_text(), "@[A-Z]")
        generated = self.root / "generated/services" / name
        generated.mkdir(parents=True)
        (generated / "manifest.h").write_text(manifest.header(service))
        return folder

    def compile(self, folder: pathlib.Path):
        name = folder.name
        if (folder / f"{name}.proto").exists():
            (self.root / "generated/proto").mkdir()
            common = [os.environ["PROTOC"], f"-Iproto={folder}", f"-I{ROOT}", f"proto/{name}.proto"]
            out = self.root / "generated"
            for plugin, options in (("PLUGIN", f"--atoll_out=header=buffers,options={self.root}:{out}"),
                                    ("NANOPB", f"--nanopb_out=-I{ROOT},-xproto/options.proto,-f{folder}/{name}.options:{out}")):
                kind = options[2:].partition("_")[0]
                subprocess.run([*common, f"--plugin=protoc-gen-{kind}={os.environ[plugin]}", options], check=True)
        for source in (f"{name}_test.cc", f"{name}_fuzz.cc"):
            done = subprocess.run(
                [*os.environ["CXX"].split(), "--std=c++2b", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                 "-include", str(ROOT / "cross/c_library_names.h"), f"-I{self.root}", f"-I{self.root / 'generated'}",
                 f"-I{os.environ['BUILD']}", f"-isystem{ROOT / 'subprojects/nanopb-0.4.7'}", str(folder / source)],
                capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr[:4000])

    def test_registers(self):
        folder = self.make("zz-lamp")
        self.assertIn("device", discover.line("zz-lamp", folder).split())
        self.compile(folder)

    def test_registers_with_schema(self):
        folder = self.make("zz-lamp", "--mmio", "--config", "--serves")
        self.assertIn("schema", discover.line("zz-lamp", folder).split())
        self.assertRegex((folder / "zz-lamp.proto").read_text(), r"\(interface\) = [1-9]")
        self.compile(folder)

    def test_virtio_with_configuration(self):
        self.compile(self.make("virtio-zz", "--virtio", "60", "--config"))

    def test_formatted(self):
        folder = self.make("zz-a", "--config")
        subprocess.run(["clang-format-19", "--dry-run", "--Werror", *folder.glob("*.h"), *folder.glob("*.cc")], check=True,
                       cwd=self.root)


if __name__ == "__main__":
    unittest.main()
