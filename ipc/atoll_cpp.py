"""C++ of one schema file: X.atoll.h and, for kernel calls, X_calls.atoll.h."""
import atoll_schema
from atoll_schema import SCALARS, Field, SchemaError, camel


def headers(file, encoding):
    """{path: text}. encoding: 'registers' if no nanopb header is generated for the file, else 'buffers'."""
    if encoding == "registers":
        for message in file.messages:
            if not message.register_rpc:
                raise SchemaError(f"{file.name}: message {message.name} is not sent in registers by any rpc of this "
                                  "file; list the file with 'buffers': true in proto/meson.build")
    outputs = {f"{file.stem}.atoll.h": _header(file)}
    for service in file.services:
        if service.kernel:
            outputs[f"{file.stem}_calls.atoll.h"] = _kernel_calls_header(file, service)
    return outputs


def _guard(path):
    return "ATOLL_" + "".join(c.upper() if c.isalnum() else "_" for c in path) + "_"


def _wrap(file, path, includes, body):
    guard = _guard(path)
    lines = [f"// Generated from {file.name} by ipc/protoc_gen_atoll.py. Do not edit.",
             f"#ifndef {guard}", f"#define {guard}", ""]
    lines += includes
    lines += ["", "namespace atoll {", ""] + body + ["}  // namespace atoll", "", f"#endif  // {guard}", ""]
    return "\n".join(lines)


def _comment(text, indent=""):
    return [f"{indent}// {line}".rstrip() for line in text.split("\n")] if text else []


def _header(file):
    path = f"{file.stem}.atoll.h"
    servers = [s for s in file.services if not s.kernel]
    buffers = any(not m.register_rpc for m in file.messages)
    buffer_rpcs = any(not r.registers for s in servers for r in s.rpcs)
    includes = ["#include <cstddef>", "#include <cstdint>", ""]
    includes += sorted([f'#include "ipc/{name}"' for name, wanted in [
        ("abi.h", True), ("status.h", True), ("message.h", servers), ("system_call.h", servers),
        ("buffer_message.h", buffer_rpcs)] if wanted] +
        [f'#include "{i[:-len(".proto")]}.atoll.h"' for i in file.imports() if not i.startswith("google/")] +
        ([f'#include "{file.stem}.pb.h"'] if buffers else []))
    body = []
    for enum in file.enums:
        body += _enum(enum)
    for message in file.messages:
        body += _register_message(message) if message.register_rpc else _buffer_message(message)
    for service in file.services:
        body += _kernel_table(service) if service.kernel else _interface(service) + _client(service) + _server(service)
    return _wrap(file, path, includes, body)


# ---- enums and messages ---------------------------------------------------------------------------------------------


def _enum(enum):
    lines = _comment(enum.comment) + [f"enum class {enum.name} : uint32_t {{"]
    for _, name, number, comment in enum.values:
        lines += _comment(comment, "  ") + [f"  {name} = {number},"]
    lines += ["};", "", f"// True if the number is that of a value of {enum.name}.",
              f"constexpr bool Is{enum.name}(uint64_t number) {{"]
    lines += [f"  return {_membership('number', enum.numbers)};", "}", ""]
    return lines


def _membership(word, numbers):
    """Expression that is true for exactly these numbers."""
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    if len(runs) > 4 and numbers[-1] < 64:
        bits = sum(1 << n for n in numbers)
        return f"{word} < 64 && ((uint64_t{{{bits:#x}}} >> {word}) & 1) != 0"
    tests = [f"{word} == {low}" if low == high else
             " && ".join(([f"{word} >= {low}"] if low else []) + [f"{word} <= {high}"]) for low, high in runs]
    return " || ".join(f"({t})" if "&&" in t and len(tests) > 1 else t for t in tests)


def _type(field):
    return field.enum().name if field.type == Field.TYPE_ENUM else SCALARS[field.type][0]


def _default(field):
    if field.type == Field.TYPE_BOOL:
        return "false"
    return "{}" if field.type == Field.TYPE_ENUM else "0"


def _unpacked(field, index):
    word = f"words[{index}]"
    if field.type == Field.TYPE_UINT64:
        return word
    if field.type == Field.TYPE_BOOL:
        return f"{word} != 0"
    return f"static_cast<{_type(field)}>({word})"


def _packed(field):
    if field.type == Field.TYPE_UINT64:
        return field.name
    if field.type == Field.TYPE_INT32:
        return f"static_cast<uint64_t>(int64_t{{{field.name}}})"
    return f"static_cast<uint64_t>({field.name})"


def _range_test(field, index):
    """Expression that is true if the word is a value of the field; None if every word is."""
    word = f"words[{index}]"
    if field.type == Field.TYPE_ENUM:
        return f"Is{field.enum().name}({word})"
    if field.type == Field.TYPE_INT64:
        return None
    if field.type == Field.TYPE_INT32:
        return f"{word} == static_cast<uint64_t>(int64_t{{static_cast<int32_t>({word})}})"
    low, high = field.min or 0, SCALARS[field.type][2] if field.max is None else field.max
    tests = ([f"{word} >= {low:#x}" if low > 9 else f"{word} >= {low}"] if low else [])
    if high != 2**64 - 1:
        tests.append(f"{word} <= {high:#x}" if high > 9 else f"{word} <= {high}")
    return " && ".join(tests) or None


def _register_message(message):
    words = "[[maybe_unused]] const abi::Words& words"
    lines = _comment(message.comment) + [f"struct {message.name} {{",
                                         f"  static constexpr size_t kWords = {len(message.fields)};", ""]
    for field in message.fields:
        lines += _comment(_field_comment(field), "  ")
        lines.append(f"  {_type(field)} {field.name} = {_default(field)};".replace(" = {};", "{};"))
    if message.fields:
        lines.append("")
    tests = [t for t in (_range_test(f, i) for i, f in enumerate(message.fields)) if t]
    tests = [f"({t})" if " || " in t else t for t in tests]
    lines += ["  // True if every word is a value that its field may have.",
              f"  static constexpr bool InRange({words}) {{",
              f"    return {' && '.join(tests) or 'true'};", "  }"]
    lines += ["  // The message in words that are in range.",
              f"  static constexpr {message.name} Unpack({words}) {{", "    return {"]
    lines += [f"        .{f.name} = {_unpacked(f, i)}," for i, f in enumerate(message.fields)]
    lines += ["    };", "  }", "  constexpr abi::Words Pack() const {",
              f"    return {{{', '.join(_packed(f) for f in message.fields)}}};", "  }",
              f"  constexpr bool operator==(const {message.name}&) const = default;", "};", ""]
    return lines


def _field_comment(field):
    notes = [field.unit] if field.unit else []
    if field.min is not None or field.max is not None:
        notes.append(f"{field.min or 0}..{'' if field.max is None else field.max}")
    return "\n".join(([field.comment] if field.comment else []) + ([f"({'; '.join(notes)})"] if notes else []))


def _buffer_message(message):
    c_name = f"atoll_{message.name}"
    lines = _comment(message.comment) + [f"using {message.name} = ::{c_name};"]
    if message.buffer_rpc:
        lines.append(f"static_assert({c_name}_size <= abi::kIpcBytes, \"{message.file.name}: message {message.name} can "
                     "be larger than the IPC page; lower the bounds of its fields\");")
    return lines + [""]


# ---- endpoints ------------------------------------------------------------------------------------------------------


def _interface(service):
    lines = [f"// Interface {service.name}: the codes in the labels of its requests.", f"struct {service.name}Interface {{",
             f"  static constexpr uint32_t kNumber = {service.interface};"]
    lines += [f"  static constexpr uint32_t k{r.name} = {r.code:#06x};" for r in service.rpcs]
    return lines + ["};", ""]


def _client(service):
    lines = [f"// Calls a server of {service.name}.", f"class {service.name}Client {{", " public:",
             f"  constexpr explicit {service.name}Client(abi::Handle endpoint) : endpoint_(endpoint) {{}}", ""]
    for rpc in service.rpcs:
        lines += _comment(rpc.comment, "  ")
        lines += (_register_client if rpc.registers or _both_empty(rpc) else _buffer_client)(service, rpc)
    return lines + [" private:", "  abi::Handle endpoint_;", "};", ""]


def _both_empty(rpc):
    return rpc.request.empty and rpc.reply.empty


def _register_client(service, rpc):
    argument = "" if rpc.request.empty else f"const {rpc.request.name}& request"
    words = "{}" if rpc.request.empty else "request.Pack()"
    result = "Status" if rpc.reply.empty else f"Result<{rpc.reply.name}>"
    fail = (lambda s: s) if rpc.reply.empty else (lambda s: f"std::unexpected({s})")
    lines = [f"  {result} {rpc.name}({argument}) const {{",
             "    const Result<Message> reply = abi::Call(",
             f"        endpoint_, {{.label = abi::MakeLabel({service.name}Interface::k{rpc.name}), .words = {words}}});",
             f"    if (!reply.has_value()) return {fail('reply.error()')};"]
    if rpc.reply.empty:
        lines += ["    return ReplyStatus(*reply);"]
    else:
        lines += [f"    if (!IsOk(ReplyStatus(*reply))) return {fail('ReplyStatus(*reply)')};",
                  f"    if (!{rpc.reply.name}::InRange(reply->words)) return {fail('Status::kDataLoss')};",
                  f"    return {rpc.reply.name}::Unpack(reply->words);"]
    return lines + ["  }", ""]


def _buffer_client(service, rpc):
    arguments = ([] if rpc.request.empty else [f"const {rpc.request.name}& request"]) + (
        [] if rpc.reply.empty else [f"{rpc.reply.name}& reply"])
    request = "nullptr, nullptr" if rpc.request.empty else f"&atoll_{rpc.request.name}_msg, &request"
    reply = "nullptr, nullptr" if rpc.reply.empty else f"&atoll_{rpc.reply.name}_msg, &reply"
    return [f"  Status {rpc.name}({', '.join(arguments)}) const {{",
            f"    return CallWithBuffer(endpoint_, {service.name}Interface::k{rpc.name}, {request},",
            f"                          {reply});", "  }", ""]


def _server(service):
    lines = _comment(service.comment) + [
        f"class {service.name}Server {{", " public:", f"  static constexpr uint32_t kInterface = {service.interface};", ""]
    for rpc in service.rpcs:
        lines += _comment(rpc.comment, "  ")
        lines += [f"  virtual {_server_signature(rpc)} = 0;", ""]
    lines += ["  // Decodes a request, calls the method, encodes its reply. A request that no client generated from the",
              "  // schema would send is refused: UNIMPLEMENTED for its code, INVALID_ARGUMENT for a field.",
              "  Message Dispatch(const CallInfo& call, const Message& request) {",
              "    switch (abi::LabelCode(request.label)) {"]
    for rpc in service.rpcs:
        lines += [f"      case {service.name}Interface::k{rpc.name}: {{"]
        lines += _dispatch_registers(rpc) if rpc.registers or _both_empty(rpc) else _dispatch_buffer(rpc)
        lines += ["      }"]
    return lines + ["      default:", "        return StatusMessage(Status::kUnimplemented);", "    }", "  }", "",
                    " protected:", f"  ~{service.name}Server() = default;", "};", ""]


def _server_signature(rpc):
    arguments = ["const CallInfo& call"] + ([] if rpc.request.empty else [f"const {rpc.request.name}& request"])
    if rpc.registers or rpc.reply.empty:
        result = "Status" if rpc.reply.empty else f"Result<{rpc.reply.name}>"
    else:
        result = "Status"
        arguments.append(f"{rpc.reply.name}& reply")
    return f"{result} {rpc.name}({', '.join(arguments)})"


def _dispatch_registers(rpc):
    request = rpc.request
    lines = []
    if not request.empty:
        lines += [f"        if (!{request.name}::InRange(request.words)) [[unlikely]] {{",
                  "          return StatusMessage(Status::kInvalidArgument);", "        }"]
    unpacked = "" if request.empty else f", {request.name}::Unpack(request.words)"
    return lines + [f"        return RegisterReply({rpc.name}(call{unpacked}));"]


def _dispatch_buffer(rpc):
    lines, arguments = [], ["call"]
    if not rpc.request.empty:
        lines += [f"        {rpc.request.name} message = atoll_{rpc.request.name}_init_zero;",
                  f"        if (!DecodeBuffer(request.label, &atoll_{rpc.request.name}_msg, &message)) {{",
                  "          return StatusMessage(Status::kInvalidArgument);", "        }"]
        arguments.append("message")
    if rpc.reply.empty:
        return lines + [f"        return StatusMessage({rpc.name}({', '.join(arguments)}));"]
    lines += [f"        {rpc.reply.name} reply = atoll_{rpc.reply.name}_init_zero;"]
    arguments.append("reply")
    return lines + [f"        const Status status = {rpc.name}({', '.join(arguments)});",
                    "        if (!IsOk(status)) return StatusMessage(status);",
                    f"        return BufferReply(&atoll_{rpc.reply.name}_msg, &reply);"]


# ---- kernel calls ---------------------------------------------------------------------------------------------------


def _kernel_table(service):
    lines = ["// Numbers of the kernel calls (x8).", "enum class KernelCall : uint32_t {"]
    lines += [f"  k{r.name} = {r.call}," for r in service.rpcs]
    lines += ["};", "", "// Above every call number.",
              f"inline constexpr uint32_t kKernelCallLimit = {max(r.call for r in service.rpcs) + 1};", "",
              "// What a call takes and gives: Request, Reply and the right that the handle in x0 must carry.",
              "template <KernelCall call>", "struct KernelCallTraits;", ""]
    for rpc in service.rpcs:
        right = f"Right::k{camel(rpc.right)}" if rpc.right else "Right::kNone"
        lines += ["template <>", f"struct KernelCallTraits<KernelCall::k{rpc.name}> {{",
                  f"  using Request = {rpc.request.name};", f"  using Reply = {rpc.reply.name};",
                  f"  static constexpr Right kRight = {right};", "};"]
    return lines + [""]


def _kernel_calls_header(file, service):
    path = f"{file.stem}_calls.atoll.h"
    body = ["namespace kernel {", ""]
    for rpc in service.rpcs:
        arguments = (["abi::Handle handle"] if rpc.right else []) + (
            [] if rpc.request.empty else [f"const {rpc.request.name}& request"])
        result = "Status" if rpc.reply.empty else f"Result<{rpc.reply.name}>"
        body += _comment(rpc.comment)
        body += [f"inline {result} {rpc.name}({', '.join(arguments)}) {{",
                 f"  const abi::KernelReply reply = abi::SystemCall(static_cast<uint32_t>(KernelCall::k{rpc.name}),",
                 f"      {'handle' if rpc.right else 'abi::Handle{}'}, "
                 f"{'{}' if rpc.request.empty else 'request.Pack()'});"]
        if rpc.reply.empty:
            body += ["  return reply.status;"]
        else:
            body += ["  if (!IsOk(reply.status)) return std::unexpected(reply.status);",
                     f"  return {rpc.reply.name}::Unpack(reply.words);"]
        body += ["}", ""]
    body += ["}  // namespace kernel", ""]
    includes = ["#include <cstdint>", "", '#include "ipc/abi.h"', '#include "ipc/status.h"',
                '#include "ipc/system_call.h"', f'#include "{file.stem}.atoll.h"']
    return _wrap(file, path, includes, body)
