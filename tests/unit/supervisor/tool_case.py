"""What the tests of the host tools share: a scratch folder, manifests and descriptions to damage."""
import pathlib
import shutil
import tempfile
import unittest

import describe
import task_plan
from schemas import ROOT, InputError

SERVICES = ROOT / "services"


class ToolCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schemas = describe.load_schemas()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.system = self.folder / "system.textproto"
        for name, size in (("kernel", 5000), ("initrd", 300), ("disk", 8192), ("tiny", 100), ("empty", 0)):
            (self.folder / name).write_bytes(b"x" * size)
        self.manifests = self.folder / "services"
        for path in SERVICES.glob("*/manifest.textproto"):
            (self.manifests / path.parent.name).mkdir(parents=True)
            shutil.copy(path, self.manifests / path.parent.name)

    def edit_manifest(self, service: str, old: str, new: str):
        path = self.manifests / service / "manifest.textproto"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new, 1))

    def add_manifest(self, service: str, text: str):
        (self.manifests / service).mkdir()
        (self.manifests / service / "manifest.textproto").write_text(f'name: "{service}" {text}')

    def describe(self, text: str, named=None):
        self.system.write_text(text)
        plan, machine = describe.describe(self.system, [self.manifests], named or {})
        return self.decode(plan), machine

    def decode(self, plan: bytes) -> list:
        """The records of a plan as (kind, message)."""
        records = self.raw_records(plan)
        return [(kind, getattr(record, kind)) for record in records if (kind := record.WhichOneof("record"))]

    def raw_records(self, plan: bytes) -> list:
        return task_plan.records(plan, self.schemas)

    def assert_refused(self, action, *parts: str):
        """`action` raises an InputError whose one line has all of `parts`."""
        with self.assertRaises(InputError) as caught:
            action()
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        for part in parts:
            self.assertIn(part, message)
