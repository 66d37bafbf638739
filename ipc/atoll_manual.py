"""The reference manual of all schemas as one Markdown page: what a reader of the .proto files knows, in one place."""
from atoll_schema import SCALARS, Field

INTRODUCTION = """# Interfaces

Generated from `proto/*.proto` by `ipc/protoc_gen_atoll.py`; `meson compile -C build update-interfaces` writes this page
anew. How calls and messages travel in registers is in `ipc/abi.h`, status codes are in `ipc/status.h`.

A *register message* has one 64-bit word per field, in the order of the table: words 0, 1, ... are x1, x2, ... of a
kernel call and x2, x3, ... of a message to a server. A word outside its field's range is refused with
`INVALID_ARGUMENT`. A *buffer message* is protobuf in the IPC page.
"""

TYPES = {Field.TYPE_STRING: "string", Field.TYPE_BYTES: "bytes", Field.TYPE_DOUBLE: "double", Field.TYPE_FLOAT: "float",
         Field.TYPE_FIXED32: "fixed32", Field.TYPE_FIXED64: "fixed64", Field.TYPE_SINT32: "sint32",
         Field.TYPE_SINT64: "sint64", Field.TYPE_SFIXED32: "sfixed32", Field.TYPE_SFIXED64: "sfixed64"}


def page(schema):
    services = [s for f in schema.files for s in f.services]
    lines = [INTRODUCTION, "| interface | number | methods |", "| --- | ---: | --- |"]
    for service in sorted(services, key=lambda s: (s.interface or 0)):
        methods = ", ".join(f"`{r.name}`" for r in service.rpcs)
        number = "kernel calls" if service.kernel else service.interface
        lines.append(f"| [{service.name}](#{service.name.lower()}) | {number} | {methods} |")
    for file in schema.files:
        lines += ["", f"## {file.name}", ""] + _paragraph(file.comment)
        for service in file.services:
            lines += _service(service)
        shown = {m.full_name for s in file.services for r in s.rpcs for m in (r.request, r.reply)}
        for message in file.messages:
            if message.full_name not in shown:
                lines += _message_section(file, message)
        for enum in file.enums:
            lines += _enum(enum.name, enum.comment, [(n, number, c) for n, _, number, c in enum.values])
    return "\n".join(lines).rstrip("\n") + "\n"


def _paragraph(text):
    return [line.rstrip() for line in text.split("\n")] + [""] if text else []


def _cell(text):
    return " ".join(text.replace("|", "\\|").split())


def _code(text):
    """Comments with a layout of their own (indented lines) stay as they are."""
    if any(line.startswith("  ") for line in text.split("\n")):
        return ["```", text, "```", ""]
    return _paragraph(text)


def _service(service):
    lines = [f"### {service.name}", ""] + _paragraph(service.comment)
    for rpc in service.rpcs:
        if service.kernel:
            right = f", right `{rpc.right}`" if rpc.right else ", no handle"
            lines += [f"#### {rpc.name}", "", f"Kernel call {rpc.call}{right}.", ""]
        else:
            kind = "registers" if rpc.registers else "buffer"
            lines += [f"#### {service.name}.{rpc.name}", "", f"Code `{rpc.code:#06x}`, {kind}.", ""]
        lines += _code(rpc.comment)
        lines += _fields("Request", rpc.request) + _fields("Reply", rpc.reply)
    return lines


def _fields(role, message):
    if message.empty:
        return [f"{role}: nothing.", ""]
    return [f"{role} `{message.name}`:" + (f" {_cell(message.comment)}" if message.comment else ""), ""] + _table(
        message.fields, message.register_rpc is not None)


def _table(fields, registers):
    lines = ["| word | field | type | range | unit | |" if registers else "| field | type | bound | unit | |",
             "| ---: | --- | --- | --- | --- | --- |" if registers else "| --- | --- | --- | --- | --- |"]
    for index, field in enumerate(fields):
        cells = [f"`{field.name}`", _type(field), _range(field), _cell(field.unit), _cell(field.comment)]
        lines.append("| " + " | ".join(([str(index)] if registers else []) + cells) + " |")
    return lines + [""]


def _type(field):
    if field.type in (Field.TYPE_ENUM, Field.TYPE_MESSAGE):
        name = field.type_name.split(".", 2)[-1]
    else:
        name = SCALARS[field.type][0].removesuffix("_t") if field.type in SCALARS else TYPES[field.type]
    return ("repeated " if field.repeated else "") + name


def _range(field):
    if field.min is not None or field.max is not None:
        return f"{field.min or 0}..{'' if field.max is None else field.max}"
    bounds = field.message.file.bounds_of(field.message.name, field.name)
    texts = []
    if "max_count" in bounds:
        texts.append(f"at most {bounds['max_count']}")
    if "max_size" in bounds and field.type == Field.TYPE_STRING:
        texts.append(f"at most {int(bounds['max_size']) - 1} bytes")
    elif "max_size" in bounds or "max_length" in bounds:
        texts.append(f"at most {bounds.get('max_size', bounds.get('max_length'))} bytes")
    return "; ".join(texts)


def _message_section(file, message, prefix=""):
    name = prefix + message.name
    lines = [f"#### {name}", ""] + _code(message.comment)
    lines += _table(message.fields, message.register_rpc is not None) if message.fields else ["No fields.", ""]
    for inner in message.nested():
        lines += _message_section(file, inner, name + ".")
    for inner_name, comment, values in message.nested_enums():
        lines += _enum(f"{name}.{inner_name}", comment, values)
    return lines


def _enum(name, comment, values):
    lines = [f"#### enum {name}", ""] + _code(comment) + ["| value | number | |", "| --- | ---: | --- |"]
    lines += [f"| `{value}` | {number} | {_cell(text)} |" for value, number, text in values]
    return lines + [""]
