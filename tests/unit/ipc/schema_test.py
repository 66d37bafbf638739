#!/usr/bin/python3
"""Schemas that the plugin must refuse, and what it says; and what it makes of good ones."""
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = os.environ["ROOT"]
HEAD = 'syntax = "proto3";\npackage atoll;\nimport "proto/options.proto";\n'
SERVICE = "service S { option (interface) = 9; rpc Do(Ask) returns (Answer) { option (registers) = true; } }\n"
BUFFER_SERVICE = "service S { option (interface) = 9; rpc Do(Ask) returns (Answer); }\n"
ANSWER = "message Answer {}\n"


def run(files, kind="registers", options="", parameters=None):
    """Generates from {name: text below the head}; returns (exit status, message, {output: text})."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "out").mkdir()
        for name, text in files.items():
            (folder / name).write_text(text if text.startswith("syntax") else HEAD + text)
        (folder / "a.options").write_text(options)
        parameters = parameters or f"header={kind},options={folder}"
        process = subprocess.run(
            [os.environ["PROTOC"], f"--plugin=protoc-gen-atoll={os.environ['PLUGIN']}", f"--atoll_out={parameters}:out",
             f"-I{ROOT}", f"-I{folder}", *(str(folder / name) for name in files)],
            cwd=folder, capture_output=True, text=True)
        return process.returncode, process.stderr, {p.name: p.read_text() for p in (folder / "out").iterdir()}


class Refused(unittest.TestCase):
    def refuse(self, text, *words, **arguments):
        files = text if isinstance(text, dict) else {"a.proto": text}
        status, message, outputs = run(files, **arguments)
        self.assertNotEqual(status, 0, "accepted")
        self.assertEqual(outputs, {})
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("Traceback", message)

    def test_repeated_field_in_registers(self):
        self.refuse(SERVICE + "message Ask { repeated uint32 many = 1; }\n" + ANSWER,
                    "a.proto: message Ask: field many", "repeated")

    def test_string_in_registers(self):
        self.refuse(SERVICE + "message Ask { string name = 1; }\n" + ANSWER, "a.proto: message Ask: field name")

    def test_floating_point_in_registers(self):
        self.refuse(SERVICE + "message Ask { double real = 1; }\n" + ANSWER, "a.proto: message Ask: field real")

    def test_message_in_registers(self):
        self.refuse(SERVICE + "message Ask { Answer inner = 1; }\n" + ANSWER, "a.proto: message Ask: field inner")

    def test_oneof_in_registers(self):
        self.refuse(SERVICE + "message Ask { oneof o { uint32 x = 1; uint32 y = 2; } }\n" + ANSWER,
                    "a.proto: message Ask: field x", "oneof")

    def test_optional_in_registers(self):
        self.refuse(SERVICE + "message Ask { optional uint32 x = 1; }\n" + ANSWER, "a.proto: message Ask: field x")

    def test_seven_words(self):
        fields = " ".join(f"uint32 f{i} = {i};" for i in range(1, 8))
        self.refuse(SERVICE + f"message Ask {{ {fields} }}\n" + ANSWER, "a.proto: message Ask: field f7", "6 fields", "has 7")

    def test_reply_is_checked_too(self):
        self.refuse(SERVICE + "message Ask {}\nmessage Answer { bytes b = 1; }\n", "message Answer: field b")

    def test_max_beyond_type(self):
        self.refuse(SERVICE + "message Ask { uint32 x = 1 [(max) = 0x100000000]; }\n" + ANSWER,
                    "a.proto: message Ask: field x", "4294967295")

    def test_min_above_max(self):
        self.refuse(SERVICE + "message Ask { uint32 x = 1 [(min) = 5, (max) = 4]; }\n" + ANSWER,
                    "message Ask: field x", "min 5", "max 4")

    def test_range_of_bool(self):
        self.refuse(SERVICE + "message Ask { bool x = 1 [(max) = 1]; }\n" + ANSWER, "message Ask: field x")

    def test_cpp_keyword(self):
        self.refuse(SERVICE + "message Ask { uint32 register = 1; }\n" + ANSWER, "message Ask: field register")

    def test_negative_enum_value(self):
        self.refuse("enum E { E_ZERO = 0; E_LESS = -1; }\n", "a.proto: enum E: value E_LESS")

    def test_nested_enum_in_registers(self):
        self.refuse(SERVICE + "message Ask { enum E { ZERO = 0; } E x = 1; }\n" + ANSWER, "message Ask: field x")

    def test_service_without_number(self):
        self.refuse("service S { rpc Do(Ask) returns (Ask); }\nmessage Ask {}\n", "a.proto: service S", "interface")

    def test_interface_number_out_of_range(self):
        for number in ("0", "256"):
            self.refuse(SERVICE.replace("9", number) + "message Ask {}\n" + ANSWER, "a.proto: service S", number)

    def test_two_interfaces_of_one_number(self):
        self.refuse({"a.proto": SERVICE + "message Ask {}\n" + ANSWER,
                     "b.proto": "service T { option (interface) = 9; rpc Do(B) returns (B); }\nmessage B {}\n"},
                    "interface number 9", "service S", "service T", "a.proto", "b.proto")

    def test_two_kernel_calls_of_one_number(self):
        self.refuse("service K { option (kernel_calls) = true; rpc A(Ask) returns (Ask) { option (call) = 8; }\n"
                    "rpc B(Ask) returns (Ask) { option (call) = 8; } }\nmessage Ask {}\n", "rpc B", "8", "rpc A")

    def test_kernel_call_without_number(self):
        self.refuse("service K { option (kernel_calls) = true; rpc A(Ask) returns (Ask); }\nmessage Ask {}\n",
                    "service K: rpc A", "number")

    def test_kernel_call_number_of_a_message_call(self):
        self.refuse("service K { option (kernel_calls) = true; rpc A(Ask) returns (Ask) { option (call) = 7; } }\n"
                    "message Ask {}\n", "service K: rpc A", "7")

    def test_unknown_right(self):
        self.refuse("service K { option (kernel_calls) = true; rpc A(Ask) returns (Ask) { option (call) = 8; "
                    'option (right) = "FLY"; } }\nmessage Ask {}\nenum Right { RIGHT_NONE = 0; }\n', "rpc A", "RIGHT_FLY")

    def test_call_number_of_an_endpoint(self):
        self.refuse("service S { option (interface) = 9; rpc Do(Ask) returns (Ask) { option (call) = 8; } }\n"
                    "message Ask {}\n", "service S: rpc Do")

    def test_stream(self):
        self.refuse("service S { option (interface) = 9; rpc Do(stream Ask) returns (Ask); }\nmessage Ask {}\n",
                    "rpc Do", "stream")

    def test_unbounded_string(self):
        self.refuse(BUFFER_SERVICE + "message Ask { string name = 1; }\n" + ANSWER, "a.proto: message Ask: field name",
                    "a.options", kind="buffers")

    def test_unbounded_repeated(self):
        self.refuse(BUFFER_SERVICE + "message Ask { repeated string names = 1; }\n" + ANSWER,
                    "a.proto: message Ask: field names", "max_count", kind="buffers", options="Ask.names max_size:8\n")

    def test_unbounded_inside(self):
        self.refuse(BUFFER_SERVICE + "message Ask { Inner inner = 1; }\nmessage Inner { bytes b = 1; }\n" + ANSWER,
                    "a.proto: message Inner: field b", kind="buffers")

    def test_message_larger_than_the_page_names_the_field_and_by_how_much(self):
        # 2 bytes of length and 1 of tag; "small" has 2 + 1 + 7.
        self.refuse(BUFFER_SERVICE + "message Ask { string small = 1; bytes large = 2; }\n" + ANSWER,
                    "a.proto: message Ask: field large", "4090 bytes", "max_size:4087", "4099", "4096", "by 3 bytes", "a.options",
                    "rpc Do", kind="buffers", options="Ask.small max_size:8\nAsk.large max_size:4087\n")

    def test_inner_message_that_is_too_large(self):
        self.refuse(BUFFER_SERVICE + "message Ask { uint32 x = 1; repeated Inner many = 2; }\nmessage Inner { bytes b = 1; }\n" + ANSWER,
                    "a.proto: message Ask: field many", "max_count:9", kind="buffers",
                    options="Ask.many max_count:9\nInner.b max_size:500\n")

    def test_reply_that_is_too_large(self):
        self.refuse("service S { option (interface) = 9; rpc Do(Ask) returns (Answer); }\nmessage Ask {}\n"
                    "message Answer { repeated uint64 words = 1; }\n", "message Answer: field words", "max_count:500",
                    kind="buffers", options="Answer.words max_count:500\n")

    def test_message_containing_itself(self):
        self.refuse(BUFFER_SERVICE + "message Ask { Ask inner = 1; }\n" + ANSWER, "a.proto: message Ask", "itself",
                    kind="buffers")

    def test_both_encodings(self):
        self.refuse("service S { option (interface) = 9; rpc A(Ask) returns (Answer) { option (registers) = true; }\n"
                    "rpc B(Ask) returns (Answer); }\nmessage Ask { uint32 x = 1; }\n" + ANSWER, "message Ask", "rpc A", "rpc B",
                    kind="buffers")

    def test_buffer_message_in_a_file_of_registers(self):
        self.refuse("message Loose { string name = 1; }\n", "a.proto: message Loose", "proto/meson.build")

    def test_foreign_package(self):
        self.refuse(HEAD.replace("package atoll", "package other") + "message Ask {}\n", "a.proto", "other")


class Accepted(unittest.TestCase):
    def test_bounds_may_be_patterns(self):
        status, message, outputs = run({"a.proto": BUFFER_SERVICE + "message Ask { string name = 1; }\n" + ANSWER},
                                       kind="buffers", options="# bounds\natoll.*.name max_size:8\n")
        self.assertEqual((status, message), (0, ""))
        self.assertIn("atoll_Ask_size <= abi::kIpcBytes", outputs["a.atoll.h"])

    def test_message_as_large_as_the_page(self):
        status, message, _ = run({"a.proto": BUFFER_SERVICE + "message Ask { bytes b = 1; oneof o { uint32 x = 2; uint64 y = 3; } }\n"
                                  + ANSWER}, kind="buffers", options="Ask.b max_size:4082\n")
        self.assertEqual((status, message), (0, ""))

    def test_register_header_needs_no_nanopb(self):
        status, _, outputs = run({"a.proto": SERVICE + "message Ask { uint32 x = 1; }\n" + ANSWER})
        self.assertEqual(status, 0)
        self.assertNotIn(".pb.h", outputs["a.atoll.h"])
        self.assertNotIn("buffer_message.h", outputs["a.atoll.h"])

    def test_manual_tells_range_unit_and_comment(self):
        status, _, outputs = run(
            {"a.proto": SERVICE + "message Ask {\n  // How many.\n  uint32 x = 1 [(unit) = \"bytes\", (min) = 1, (max) = 8];\n}\n"
             + ANSWER}, parameters="manual=manual.md")
        self.assertEqual(status, 0)
        self.assertIn("| 0 | `x` | uint32 | 1..8 | bytes | How many. |", outputs["manual.md"])
        self.assertIn("Code `0x0900`, registers.", outputs["manual.md"])


if __name__ == "__main__":
    unittest.main()
