"""The configuration of a device as its description has it: text of the message that the service's manifest names."""
import pathlib
import sys

from google.protobuf import text_format
from google.protobuf.compiler import plugin_pb2

from schemas import ROOT

sys.path.insert(0, str(ROOT / "ipc"))
import atoll_schema  # noqa: E402

COMMON_FIELDS = 1000  # numbers of proto/start_config.proto, which lies in the same bytes


def encode(schemas, service, text: str, error) -> bytes:
    """The message's bytes. `error(part, reason)` makes what is raised; part is "" or ".FIELD"."""
    name = service.manifest.config
    if not name:
        if text:
            raise error("", f"{service.name} has no configuration")
        return b""
    if not schemas.has(name):
        raise error("", f'there is no message "{name}", which {service.path} names; '
                    f"services/{service.name}/{service.name}.proto should have it")
    message = schemas.message(name)()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as problem:
        raise error("", f"{problem}".replace("\n", " ")) from problem
    model = _model(schemas, message.DESCRIPTOR.file.name)
    _check(model, message, "", error)
    return message.SerializeToString(deterministic=True)


def _model(schemas, file: str):
    """What the generators know of the schema: its bounds."""
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=[file], proto_file=schemas.files)
    return atoll_schema.Schema(atoll_schema.parse_request(request.SerializeToString()), pathlib.Path(ROOT))


def _check(model, message, path: str, error) -> None:
    known = {field.name: field for field in model.messages[f".{message.DESCRIPTOR.full_name}"].fields}
    for descriptor in message.DESCRIPTOR.fields:
        field, value = known[descriptor.name], getattr(message, descriptor.name)
        here = f"{path}.{descriptor.name}"
        absent = descriptor.message_type is not None and not field.repeated and not message.HasField(descriptor.name)
        values = list(value) if field.repeated else [] if absent else [value]
        if descriptor.number >= COMMON_FIELDS:
            raise error(here, f"has number {descriptor.number}: those from {COMMON_FIELDS} up are of proto/start_config.proto")
        bounds = message_bounds(model, field)
        if field.repeated and len(values) > bounds.get("max_count", len(values)):
            raise error(here, f"is there {len(values)} times; at most {bounds['max_count']}")
        for one in values:
            _check_value(model, descriptor, field, bounds, one, here, error)


def message_bounds(model, field) -> dict:
    return {name: int(number) for name, number in field.message.file.bounds_of(field.message.name, field.name).items()
            if number.isdigit()}


def _check_value(model, descriptor, field, bounds: dict, value, here: str, error) -> None:
    if descriptor.message_type is not None:
        _check(model, value, here, error)
    elif isinstance(value, (str, bytes)):
        # nanopb: the size of a string's buffer has room for its NUL.
        size, room = len(value.encode() if isinstance(value, str) else value), bounds.get("max_size")
        most = bounds.get("max_length", room and room - isinstance(value, str))
        if most is not None and size > most:
            raise error(here, f"has {size} bytes; at most {most}")
    elif isinstance(value, int) and not isinstance(value, bool):
        if field.min is not None and value < field.min:
            raise error(here, f"{value} is below {field.min}")
        if field.max is not None and value > field.max:
            raise error(here, f"{value} is above {field.max}")
