"""The checked model of Atoll's schemas: what the generators of C++ and of the manual work from."""
import fnmatch
import pathlib
import re

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.compiler import plugin_pb2

Field = descriptor_pb2.FieldDescriptorProto
MAX_WORDS = 6  # abi::kMessageWords
FIRST_KERNEL_CALL = 8
MAX_KERNEL_CALL = 255
OPTIONS_FILE = "proto/options.proto"

# Scalar types of register messages: protobuf type -> (C++ type, lowest value, highest value).
SCALARS = {
    Field.TYPE_BOOL: ("bool", 0, 1),
    Field.TYPE_UINT32: ("uint32_t", 0, 2**32 - 1),
    Field.TYPE_UINT64: ("uint64_t", 0, 2**64 - 1),
    Field.TYPE_INT32: ("int32_t", -(2**31), 2**31 - 1),
    Field.TYPE_INT64: ("int64_t", -(2**63), 2**63 - 1),
}
BOUNDABLE = (Field.TYPE_UINT32, Field.TYPE_UINT64)

RESERVED = set("""alignas alignof and asm auto bool break case catch char class const constexpr continue decltype
default delete do double else enum explicit export extern false float for friend goto if inline int long mutable
namespace new noexcept not nullptr operator or private protected public register requires return short signed sizeof
static struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile
while xor Pack Unpack InRange kWords""".split())


class SchemaError(Exception):
    pass


def camel(name: str) -> str:
    """FOO_BAR or foo_bar -> FooBar."""
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_") if part)


def parse_request(data: bytes):
    """A CodeGeneratorRequest in which the options of proto/options.proto are known."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(data)
    for file in request.proto_file:
        if file.name == OPTIONS_FILE:
            descriptor_pool.Default().Add(file)
            # Registers the extensions with the classes of descriptor_pb2.
            message_factory.MessageFactory(descriptor_pool.Default()).GetMessages([OPTIONS_FILE])
            return plugin_pb2.CodeGeneratorRequest.FromString(data)
    return request


def option(options, name: str):
    """Value of an Atoll option, or None where it is not set."""
    try:
        extension = descriptor_pool.Default().FindExtensionByName("atoll." + name)
    except KeyError:
        return None
    return options.Extensions[extension] if options.HasExtension(extension) else None


class Comments:
    """Leading and trailing comments of a file's elements by descriptor path."""

    def __init__(self, file):
        self._by_path = {tuple(l.path): l for l in file.source_code_info.location}

    def at(self, *path) -> str:
        location = self._by_path.get(path)
        if location is None:
            return ""
        text = location.leading_comments.rstrip("\n") or location.trailing_comments.rstrip("\n")
        lines = [line[1:] if line.startswith(" ") else line for line in text.split("\n")]
        return "\n".join(line for line in lines if not line.startswith("----")).strip("\n")  # no section rules


class Enum:
    def __init__(self, file, descriptor, path):
        self.name, self.file = descriptor.name, file
        self.full_name = f".{file.package}.{self.name}"
        self.comment = file.comments.at(*path)
        prefix = self._prefix([value.name for value in descriptor.value])
        self.values = [(value.name, "k" + camel(value.name[len(prefix):]), value.number, file.comments.at(*path, 2, i))
                       for i, value in enumerate(descriptor.value)]
        for name, _, number, _ in self.values:
            if number < 0:
                raise SchemaError(f"{file.name}: enum {self.name}: value {name} is negative, which no word can carry; "
                                  "use numbers from 0")
        self.numbers = sorted({number for _, _, number, _ in self.values})

    @staticmethod
    def _prefix(names):
        """The words that all values have in common, such as OBJECT_; at least one word of each stays."""
        split = [name.split("_") for name in names]
        shortest = min(len(words) for words in split)
        count = 0
        while count < shortest - 1 and len({words[count] for words in split}) == 1:
            count += 1
        return "".join(word + "_" for word in split[0][:count])


class MessageField:
    def __init__(self, message, descriptor, path):
        file = message.file
        self.message, self.descriptor = message, descriptor
        self.name, self.type, self.type_name = descriptor.name, descriptor.type, descriptor.type_name
        self.repeated = descriptor.label == Field.LABEL_REPEATED
        self.comment = file.comments.at(*path)
        self.unit = option(descriptor.options, "unit") or ""
        self.min, self.max = option(descriptor.options, "min"), option(descriptor.options, "max")
        self.bounds = {}
        self.where = f"{file.name}: message {message.name}: field {self.name}"
        if self.name in RESERVED:
            raise SchemaError(f"{self.where}: this name is a word of C++ or of the generated code; choose another")
        self._check_range()

    def _check_range(self):
        if self.min is None and self.max is None:
            return
        if self.type not in BOUNDABLE or self.repeated:
            raise SchemaError(f"{self.where}: min and max are for uint32 and uint64 fields only")
        highest = SCALARS[self.type][2]
        low, high = self.min or 0, highest if self.max is None else self.max
        if high > highest:
            raise SchemaError(f"{self.where}: max {high} does not fit its type; the largest value is {highest}")
        if low > high:
            raise SchemaError(f"{self.where}: min {low} is above max {high}, so no value is allowed")

    def enum(self):
        return self.message.file.schema.enums.get(self.type_name) if self.type == Field.TYPE_ENUM else None

    def check_register(self, rpc):
        where, in_rpc = self.where, f"(sent in registers by rpc {rpc})"
        if self.repeated:
            raise SchemaError(f"{where}: a register message {in_rpc} cannot hold a repeated field")
        if self.descriptor.HasField("oneof_index"):
            raise SchemaError(f"{where}: a register message {in_rpc} cannot hold a oneof or optional field")
        if self.type == Field.TYPE_ENUM:
            if self.enum() is None:
                raise SchemaError(f"{where}: enum {self.type_name.lstrip('.')} must be declared at the top level of a "
                                  "schema in package atoll")
        elif self.type not in SCALARS:
            raise SchemaError(f"{where}: a register message {in_rpc} can hold bool, uint32, uint64, int32, int64 and "
                              "enums only")

    def check_buffer(self):
        """A field of a buffer message: its encoded size must have a bound."""
        self.bounds = self.message.file.bounds_of(self.message.name, self.name)
        if self.type in (Field.TYPE_STRING, Field.TYPE_BYTES) and not {"max_size", "max_length"} & set(self.bounds):
            raise SchemaError(f"{self.where}: a string or bytes field needs a bound: add '{self.message.name}."
                              f"{self.name} max_size:N' to {self.message.file.options_name}")
        if self.repeated and "max_count" not in self.bounds:
            raise SchemaError(f"{self.where}: a repeated field needs a bound: add '{self.message.name}.{self.name} "
                              f"max_count:N' to {self.message.file.options_name}")
        if self.type in (Field.TYPE_FLOAT, Field.TYPE_DOUBLE):
            raise SchemaError(f"{self.where}: services do not use floating point; use an integer and a unit")


class Message:
    def __init__(self, file, descriptor, path):
        self.file, self.name, self.descriptor = file, descriptor.name, descriptor
        self.full_name = f".{file.package}.{self.name}"
        self.comment = file.comments.at(*path)
        self.fields = [MessageField(self, f, (*path, 2, i)) for i, f in enumerate(descriptor.field)]
        self.path = path
        self.register_rpc = self.buffer_rpc = None  # an rpc that sends it so

    def nested(self):
        """Messages declared inside this one (not the entries of maps)."""
        return [Message(self.file, m, (*self.path, 3, i)) for i, m in enumerate(self.descriptor.nested_type)
                if not m.options.map_entry]

    def nested_enums(self):
        """(name, comment, [(value, number, comment)]) of the enums declared inside this message."""
        at = self.file.comments.at
        return [(e.name, at(*self.path, 4, i), [(v.name, v.number, at(*self.path, 4, i, 2, j))
                                                for j, v in enumerate(e.value)])
                for i, e in enumerate(self.descriptor.enum_type)]

    @property
    def empty(self) -> bool:
        return not self.fields

    def use_registers(self, rpc):
        if self.register_rpc:
            return
        self.register_rpc = rpc
        if len(self.fields) > MAX_WORDS:
            raise SchemaError(f"{self.file.name}: message {self.name}: field {self.fields[MAX_WORDS].name}: rpc {rpc} "
                              f"sends this message in registers, which hold {MAX_WORDS} fields; it has "
                              f"{len(self.fields)}")
        for field in self.fields:
            field.check_register(rpc)

    def use_buffer(self, rpc, within=()):
        if self.buffer_rpc:
            return
        if self.full_name in within:
            raise SchemaError(f"{self.file.name}: message {self.name}: it contains itself, so its size has no bound")
        for field in self.fields:
            field.check_buffer()
            if field.type == Field.TYPE_MESSAGE:
                inner = self.file.schema.messages.get(field.type_name)
                if inner is None:
                    raise SchemaError(f"{field.where}: message {field.type_name.lstrip('.')} must be declared at the "
                                      "top level of a schema in package atoll")
                inner.use_buffer(rpc, (*within, self.full_name))
        self.buffer_rpc = rpc


class Rpc:
    def __init__(self, service, descriptor, index, path):
        file = service.file
        self.service, self.name, self.index = service, descriptor.name, index
        self.comment = file.comments.at(*path)
        self.where = f"{file.name}: service {service.name}: rpc {self.name}"
        self.call, self.right = option(descriptor.options, "call"), option(descriptor.options, "right")
        self.registers = bool(option(descriptor.options, "registers")) or service.kernel
        if descriptor.client_streaming or descriptor.server_streaming:
            raise SchemaError(f"{self.where}: streams are not supported; use a shared-memory ring")
        self.request = self._message(descriptor.input_type, "request")
        self.reply = self._message(descriptor.output_type, "reply")
        for message in (self.request, self.reply):
            (message.use_registers if self.registers or message.empty else message.use_buffer)(self.name)
            if message.register_rpc and message.buffer_rpc:
                raise SchemaError(f"{message.file.name}: message {message.name} is sent in registers by rpc "
                                  f"{message.register_rpc} and as a buffer by rpc {message.buffer_rpc}; use two messages")
        if service.kernel:
            self._check_kernel_call()
        elif self.call is not None or self.right is not None:
            raise SchemaError(f"{self.where}: call and right are for services marked kernel_calls")

    def _message(self, type_name, role):
        message = self.service.file.schema.messages.get(type_name)
        if message is None:
            raise SchemaError(f"{self.where}: {role} {type_name.lstrip('.')} must be declared at the top level of a "
                              "schema in package atoll")
        return message

    def _check_kernel_call(self):
        if self.call is None:
            raise SchemaError(f"{self.where}: a kernel call needs a number: option (call) = N")
        if not FIRST_KERNEL_CALL <= self.call <= MAX_KERNEL_CALL:
            raise SchemaError(f"{self.where}: call number {self.call} is outside {FIRST_KERNEL_CALL}..{MAX_KERNEL_CALL}"
                              " (lower numbers are the message calls of ipc/abi.h)")
        if self.right is not None:
            right = self.service.file.schema.enums.get(f".{self.service.file.package}.Right")
            if right is None or f"RIGHT_{self.right}" not in [value[0] for value in right.values]:
                raise SchemaError(f"{self.where}: right \"{self.right}\" is not a value of enum Right "
                                  f"(RIGHT_{self.right})")

    @property
    def code(self) -> int:
        return (self.service.interface << 8) | self.index


class Service:
    def __init__(self, file, descriptor, path):
        self.file, self.name = file, descriptor.name
        self.comment = file.comments.at(*path)
        self.where = f"{file.name}: service {self.name}"
        self.kernel = bool(option(descriptor.options, "kernel_calls"))
        self.interface = option(descriptor.options, "interface")
        if not self.kernel:
            if self.interface is None:
                raise SchemaError(f"{self.where}: it needs a number: option (interface) = N, 1..255")
            if not 1 <= self.interface <= 255:
                raise SchemaError(f"{self.where}: interface number {self.interface} is outside 1..255")
        elif self.interface is not None:
            raise SchemaError(f"{self.where}: kernel calls have no interface number; remove one of the two options")
        if len(descriptor.method) > 256:
            raise SchemaError(f"{self.where}: {len(descriptor.method)} rpcs; a label has room for 256")
        self.rpcs = [Rpc(self, m, i, (*path, 2, i)) for i, m in enumerate(descriptor.method)]
        numbers = {}
        for rpc in self.rpcs if self.kernel else []:
            if rpc.call in numbers:
                raise SchemaError(f"{rpc.where}: call number {rpc.call} is taken by rpc {numbers[rpc.call]}")
            numbers[rpc.call] = rpc.name


class File:
    def __init__(self, schema, descriptor, options_root):
        self.schema, self.descriptor = schema, descriptor
        # The schema of a service lies in the service's folder and is proto/NAME.proto to protoc.
        self.path, self.package = descriptor.name, descriptor.package
        self.stem = re.sub(r"\.proto$", "", self.path)
        service = pathlib.PurePath(self.stem).name
        own = f"services/{service}/{service}"
        self.name = f"{own}.proto" if (pathlib.Path(options_root) / f"{own}.proto").exists() else self.path
        self.options_name = re.sub(r"\.proto$", ".options", self.name)
        self.comments = Comments(descriptor)
        self.comment = self.comments.at(2) or self.comments.at(12)
        if self.package != "atoll":
            raise SchemaError(f"{self.name}: package is '{self.package}'; every schema belongs to package atoll")
        if descriptor.syntax != "proto3":
            raise SchemaError(f"{self.name}: syntax must be \"proto3\"")
        self._bounds = self._read_bounds(options_root)
        self.enums = [Enum(self, e, (5, i)) for i, e in enumerate(descriptor.enum_type)]
        self.messages = [Message(self, m, (4, i)) for i, m in enumerate(descriptor.message_type)]
        self.services = []

    def read_services(self):
        self.services = [Service(self, s, (6, i)) for i, s in enumerate(self.descriptor.service)]

    def _read_bounds(self, root):
        path = pathlib.Path(root) / self.options_name
        rules = []
        if path.exists():
            for line in path.read_text().split("\n"):
                words = re.sub(r"(#|//).*", "", line).split()
                if words:
                    rules.append((words[0], dict(re.findall(r"(\w+)\s*:\s*(\S+)", " ".join(words[1:])))))
        return rules

    def bounds_of(self, message, field):
        result = {}
        for pattern, values in self._bounds:
            if fnmatch.fnmatchcase(f"{message}.{field}", pattern) or fnmatch.fnmatchcase(
                    f"{self.package}.{message}.{field}", pattern):
                result.update(values)
        return result

    @property
    def needs_nanopb(self):
        return any(not m.register_rpc for m in self.messages)

    def imports(self):
        return [i for i in self.descriptor.dependency if i != OPTIONS_FILE]


class Schema:
    def __init__(self, request, options_root):
        self.enums, self.messages = {}, {}
        wanted = set(request.file_to_generate) - {OPTIONS_FILE}
        everything = [File(self, f, options_root) for f in request.proto_file
                      if f.name != OPTIONS_FILE and not f.name.startswith("google/")]
        for file in everything:
            self.enums.update({e.full_name: e for e in file.enums})
            self.messages.update({m.full_name: m for m in file.messages})
        for file in everything:
            file.read_services()
        self._check_interfaces(everything)
        self.files = [f for f in everything if f.path in wanted]

    @staticmethod
    def _check_interfaces(files):
        numbers = {}
        for service in (s for f in files for s in f.services if not s.kernel):
            if service.interface in numbers:
                other = numbers[service.interface]
                raise SchemaError(f"{service.where}: interface number {service.interface} is taken by service "
                                  f"{other.name} of {other.file.name}")
            numbers[service.interface] = service
