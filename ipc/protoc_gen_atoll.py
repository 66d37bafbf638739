#!/usr/bin/python3
"""protoc plugin: the C++ of Atoll's interfaces and their reference manual, from proto/*.proto.

protoc --plugin=protoc-gen-atoll=ipc/protoc_gen_atoll.py --atoll_out=PARAMETERS:OUT -I ROOT FILES

PARAMETERS, comma separated:
  header=KIND    writes X.atoll.h for each file X.proto: enums, register messages, clients, servers; and
                 X_calls.atoll.h with the kernel calls of a service marked kernel_calls. KIND: registers, or
                 buffers if nanopb generates X.pb.h too
  manual=PATH    writes the reference of all files as one Markdown page
  options=ROOT   where X.options (bounds of buffer messages, read by nanopb too) are found

Whatever the runtime cannot carry is refused here with a sentence naming file, message and field.
"""
import sys

sys.dont_write_bytecode = True

from google.protobuf.compiler import plugin_pb2  # noqa: E402

import atoll_schema  # noqa: E402
import atoll_cpp  # noqa: E402
import atoll_manual  # noqa: E402
import atoll_sizes  # noqa: E402


def run(data: bytes) -> plugin_pb2.CodeGeneratorResponse:
    response = plugin_pb2.CodeGeneratorResponse()
    response.supported_features = plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    try:
        request = atoll_schema.parse_request(data)
        parameters = dict(p.partition("=")[::2] for p in request.parameter.split(",") if p)
        schema = atoll_schema.Schema(request, parameters.get("options", "."))
        outputs = {}
        for file in schema.files:
            atoll_sizes.check(file)
            if "header" in parameters:
                outputs.update(atoll_cpp.headers(file, parameters["header"]))
        if "manual" in parameters:
            outputs[parameters["manual"]] = atoll_manual.page(schema)
        for name, content in outputs.items():
            response.file.add(name=name, content=content)
    except atoll_schema.SchemaError as error:
        response.error = str(error)
    return response


if __name__ == "__main__":
    sys.stdout.buffer.write(run(sys.stdin.buffer.read()).SerializeToString())
