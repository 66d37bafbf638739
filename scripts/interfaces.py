"""Interfaces and kernel calls of proto/*.proto as tools use them: names, labels, and the words of register messages."""
import sys

from google.protobuf import text_format
from google.protobuf.compiler import plugin_pb2

from schemas import ROOT, InputError, Schemas

sys.path.insert(0, str(ROOT / "ipc"))
import atoll_schema  # noqa: E402

STATUS = ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
          "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
          "INTERNAL", "UNAVAILABLE", "DATA_LOSS")  # ipc/status.h
WORDS = 6


def status_name(number: int) -> str:
    return STATUS[number] if number < len(STATUS) else f"status {number}"


def number_of(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise InputError(f'"{text}" is no number') from None


class Interfaces:
    """All rpcs by "Interface.Method", by their label and, of the kernel, by their call number."""

    def __init__(self, schemas: Schemas):
        self.schemas = schemas
        request = plugin_pb2.CodeGeneratorRequest(file_to_generate=[f.name for f in schemas.files], proto_file=schemas.files)
        checked = atoll_schema.Schema(atoll_schema.parse_request(request.SerializeToString()), ROOT)
        rpcs = [rpc for file in checked.files for service in file.services for rpc in service.rpcs]
        self.by_name = {f"{rpc.service.name}.{rpc.name}": rpc for rpc in rpcs}
        self.by_code = {rpc.code: rpc for rpc in rpcs if not rpc.service.kernel}
        self.by_call = {rpc.call: rpc for rpc in rpcs if rpc.service.kernel}

    def rpc(self, name: str):
        if name not in self.by_name:
            raise InputError(f'"{name}" is no method; some are {", ".join(sorted(self.by_name)[:4])}')
        return self.by_name[name]

    def fill(self, rpc, message, fields: dict) -> tuple[list, bytes]:
        """(words, bytes of a buffer message) of a request or reply with these fields."""
        for name in fields:
            if name not in [f.name for f in message.fields]:
                raise InputError(f"{message.name} has no field \"{name}\"; it has {', '.join(f.name for f in message.fields) or 'none'}")
        if rpc.registers or message.empty:
            words = [number_of(fields[f.name]) % (1 << 64) if f.name in fields else 0 for f in message.fields]
            return words + [0] * (WORDS - len(words)), b""
        text = " ".join(f"{name}: {value}" for name, value in fields.items())
        try:
            return [0] * WORDS, text_format.Parse(text, self.schemas.message(message.name)()).SerializeToString(deterministic=True)
        except text_format.ParseError as error:
            raise InputError(f"{message.name}: {error}") from error

    def show(self, rpc, message, words: list, data: bytes) -> str:
        """The fields of a message as a script has them."""
        if rpc.registers or message.empty:
            return " ".join(f"{f.name}={words[i]:#x}" for i, f in enumerate(message.fields))
        return text_format.MessageToString(self.schemas.message(message.name).FromString(data), as_one_line=True)

    @staticmethod
    def label(rpc, data: bytes = b"") -> int:
        return rpc.code | len(data) << 32
