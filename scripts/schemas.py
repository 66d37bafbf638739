"""Message classes of the schemas in proto/ and of services, and text files read into them."""
import pathlib
import subprocess
import sys
import tempfile

import discover
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

ROOT = pathlib.Path(__file__).resolve().parent.parent


class InputError(Exception):
    """What is wrong with the user's files: one line that names file, field and reason."""

    def __init__(self, message: str):  # names in it come from files: no control characters, no second line
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


class Schemas:
    """The messages of proto/*.proto and services/NAME/NAME.proto by name, compiled by protoc when asked for."""

    def __init__(self, *names: str):
        # A service's schema is proto/NAME.proto to protoc, as in proto/meson.build.
        paths = [f"-Iproto={path.parent}" for name, path in discover.schemas(ROOT).items() if name in names]
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "schemas.pb"
            compiled = subprocess.run(["protoc", *paths, f"-I{ROOT}", "--include_imports", f"--descriptor_set_out={out}",
                                       *(f"proto/{name}.proto" for name in names)], stderr=subprocess.PIPE, text=True)
            if compiled.returncode != 0:
                raise InputError(compiled.stderr.strip().partition("\n")[0])
            self.files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
        self._pool = descriptor_pool.DescriptorPool()
        for file in self.files:
            self._pool.Add(file)
        self._classes = {}
        self._factory = message_factory.MessageFactory(self._pool)

    def message(self, name: str):
        """The class of message atoll.NAME; KeyError if there is none."""
        if name not in self._classes:
            self._classes[name] = self._factory.GetPrototype(self._pool.FindMessageTypeByName(f"atoll.{name}"))
        return self._classes[name]

    def has(self, name: str) -> bool:
        try:
            self.message(name)
        except KeyError:
            return False
        return True

    def enum(self, name: str) -> dict:
        """Value names of enum atoll.NAME and their numbers."""
        return {v.name: v.number for v in self._pool.FindEnumTypeByName(f"atoll.{name}").values}

    def read_text(self, name: str, path: pathlib.Path):
        """The text file at `path` as a message atoll.NAME."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: is not a text file: {error.reason} at byte {error.start}") from error
        try:
            return text_format.Parse(text, self.message(name)())
        except text_format.ParseError as error:
            raise InputError(f"{path}:{error}") from error


def run_tool(main) -> None:
    """Runs a tool's main; the user's errors become one line and exit status 1."""
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
