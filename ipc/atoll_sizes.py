"""How many bytes a buffer message may have when it is encoded; one that finds no room in the IPC page is refused.

The figures are nanopb's own (encoded_size of its generator), which the generated headers check once more.
"""
from atoll_schema import Field, SchemaError

IPC_BYTES = 4096  # abi::kIpcBytes
SCALAR_BYTES = {Field.TYPE_BOOL: 1, Field.TYPE_UINT32: 5, Field.TYPE_UINT64: 10, Field.TYPE_INT32: 10, Field.TYPE_INT64: 10,
                Field.TYPE_SINT32: 5, Field.TYPE_SINT64: 10, Field.TYPE_FIXED32: 4, Field.TYPE_SFIXED32: 4,
                Field.TYPE_FIXED64: 8, Field.TYPE_SFIXED64: 8}


def varint(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def field_bytes(field) -> int:
    """Of all of its elements, with tags."""
    tag = varint(field.descriptor.number << 3)
    count = int(field.bounds["max_count"]) if field.repeated else 1
    return (_content_bytes(field) + tag) * count + (1 if field.repeated and count == 1 else 0)


def _content_bytes(field) -> int:
    if field.type == Field.TYPE_MESSAGE:
        inner = message_bytes(field.message.file.schema.messages[field.type_name])
        return inner + varint(inner)
    if field.type == Field.TYPE_ENUM:
        enum = field.enum()
        return max(varint(number) for number in enum.numbers) if enum else SCALAR_BYTES[Field.TYPE_UINT64]
    if field.type == Field.TYPE_STRING:
        size = int(field.bounds["max_length"]) + 1 if "max_length" in field.bounds else int(field.bounds["max_size"])
        return varint(size) + size - 1
    if field.type == Field.TYPE_BYTES:
        size = int(field.bounds.get("max_size") or field.bounds["max_length"])
        return varint(size) + size
    return SCALAR_BYTES[field.type]


def message_bytes(message) -> int:
    """Of a oneof the largest of its fields."""
    alternatives, total = {}, 0
    for field in message.fields:
        if field.descriptor.HasField("oneof_index") and not field.descriptor.proto3_optional:
            index = field.descriptor.oneof_index
            alternatives[index] = max(alternatives.get(index, 0), field_bytes(field))
        else:
            total += field_bytes(field)
    return total + sum(alternatives.values())


def check(file) -> None:
    for service in file.services:
        for rpc in service.rpcs:
            for message in (rpc.request, rpc.reply):
                if message.buffer_rpc:
                    _check_message(message, rpc.name)


def _check_message(message, rpc: str) -> None:
    """A message that `rpc` sends by the IPC page."""
    total = message_bytes(message)
    if total <= IPC_BYTES:
        return
    largest = max(message.fields, key=field_bytes)
    bounds = " ".join(f"{name}:{value}" for name, value in largest.bounds.items())
    raise SchemaError(f"{largest.where}: it may have {field_bytes(largest)} bytes ({bounds or 'the bounds of its own fields'}) of the "
                      f"{total} of this message, which rpc {rpc} sends by the IPC page: that holds {IPC_BYTES}; lower the "
                      f"bounds in {largest.message.file.options_name} by {total - IPC_BYTES} bytes")
