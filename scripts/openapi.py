"""Writes the OpenAPI document of the edge from the contracts.

    python scripts/openapi.py           write edge/trackops_edge/openapi.json
    python scripts/openapi.py --check   exit 1 if it differs from what would be written

What is said about an RPC, a field or a reason is its comment in the contract;
the rules of protovalidate become JSON Schema as far as that can say them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from proto import IMPORTS, PROTOS, lay_out_imports, well_known_imports
from trackops.common.v1 import authorization_pb2, error_reason_pb2

from trackops_edge.contract import EdgeRpc, edge_rpcs

DOCUMENT = Path(__file__).parent.parent / "edge" / "trackops_edge" / "openapi.json"

Json = dict[str, Any]

_INFO: Json = {
    "title": "TrackOps",
    "version": "v1",
    "description": (
        "Orders over HTTPS. Every call but those that say otherwise needs an access token. "
        "Errors are problem details (RFC 9457), by the HTTP status that google.rpc.Code names for "
        "theirs. 64-bit integers are strings in answers; requests may have them as numbers. "
        "Fields that are zero, empty or false are left out."
    ),
}
_TOKEN: Json = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SCALARS: Mapping[int, Json] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "uint32"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: Mapping[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "format": "duration"},
}


class Comments:
    """What the contracts say, by the full name of what it is said of."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._texts: dict[str, str] = {}
        for file in files:
            for location in file.source_code_info.location:
                if location.leading_comments and (name := _name_at(file, location.path)):
                    self._texts[name] = location.leading_comments

    def of(self, name: str) -> str:
        """As paragraphs, each in one line."""
        paragraphs = re.split(r"\n\s*\n", self._texts.get(name, ""))
        return "\n\n".join(" ".join(one.split()) for one in paragraphs).strip()


def _name_at(file: FileDescriptorProto, path: Iterable[int]) -> str:
    """The full name of the element at a path of SourceCodeInfo; empty for what is no element."""
    names, part = [file.package], file
    steps = list(path)
    for field, index in zip(steps[::2], steps[1::2], strict=False):
        descriptor = part.DESCRIPTOR.fields_by_number[field]
        if not descriptor.is_repeated or descriptor.message_type is None:
            return ""
        part = getattr(part, descriptor.name)[index]
        if not hasattr(part, "name"):
            return ""
        names.append(part.name)
    return ".".join(names) if len(steps) % 2 == 0 else ""


class Document:
    """The document, growing with what its operations name."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._schemas: dict[str, Json] = {}
        self._full_names: dict[str, str] = {}

    def build(self, rpcs: Iterable[EdgeRpc]) -> Json:
        paths: dict[str, Json] = {}
        for rpc in rpcs:
            paths.setdefault(rpc.template, {})[rpc.verb.lower()] = self._operation(rpc)
        self._schemas["Problem"] = _problem(self._comments)
        return {
            "openapi": "3.1.0",
            "info": _INFO,
            "security": [{"token": []}],
            "paths": dict(sorted(paths.items())),
            "components": {
                "securitySchemes": {"token": _TOKEN},
                "schemas": dict(sorted(self._schemas.items())),
            },
        }

    def _operation(self, rpc: EdgeRpc) -> Json:
        method = rpc.method
        text = self._comments.of(method.full_name)
        operation: Json = {
            "operationId": method.name,
            "tags": [method.containing_service.name.removesuffix("Service").lower()],
            "summary": re.split(r"(?<=[.:;])\s", text, maxsplit=1)[0].rstrip(".:;"),
            "description": text,
        }
        if rpc.public:
            operation["security"] = []
        else:
            access = method.GetOptions().Extensions[authorization_pb2.authorization]
            operation["x-permission"] = access.permission
        in_path = re.findall(r"{(\w+)}", rpc.template)
        if parameters := list(self._parameters(rpc, in_path)):
            operation["parameters"] = parameters
        if rpc.verb == "POST":
            body = {"schema": self._object(method.input_type, without=in_path)}
            operation["requestBody"] = {"required": True, "content": {"application/json": body}}
        operation["responses"] = self._responses(method)
        return operation

    def _parameters(self, rpc: EdgeRpc, in_path: Iterable[str]) -> Iterator[Json]:
        for field in rpc.method.input_type.fields:
            if field.name in in_path:
                place, required = "path", True
            elif rpc.verb == "GET":
                place, required = "query", _is_required(field)
            else:
                continue
            schema = self._field(field)
            yield {
                "name": field.name,
                "in": place,
                "required": required,
                "description": schema.pop("description", ""),
                "schema": schema,
            }

    def _responses(self, method: MethodDescriptor) -> Json:
        stream = method.server_streaming
        kind = "application/x-ndjson" if stream else "application/json"
        said = "One JSON object a line, as it happens." if stream else "Done."
        schema = self._reference(method.output_type)
        problem = {"$ref": "#/components/schemas/Problem"}
        return {
            "200": {"description": said, "content": {kind: {"schema": schema}}},
            "default": {
                "description": "Not done.",
                "content": {"application/problem+json": {"schema": problem}},
            },
        }

    def _reference(self, message: Descriptor) -> Json:
        self._claim(message)
        if message.name not in self._schemas:
            self._schemas[message.name] = {}  # it may contain itself
            self._schemas[message.name] = self._object(message)
        return {"$ref": f"#/components/schemas/{message.name}"}

    def _claim(self, named: Descriptor | EnumDescriptor) -> None:
        owner = self._full_names.setdefault(named.name, named.full_name)
        if owner != named.full_name:
            sys.exit(f"openapi: {owner} and {named.full_name} would have one schema")

    def _object(self, message: Descriptor, without: Iterable[str] = ()) -> Json:
        fields = [field for field in message.fields if field.name not in without]
        schema: Json = {"type": "object"}
        if text := self._comments.of(message.full_name):
            schema["description"] = text
        schema["properties"] = {field.name: self._field(field) for field in fields}
        if required := [field.name for field in fields if _is_required(field)]:
            schema["required"] = required
        return schema

    def _field(self, field: FieldDescriptor) -> Json:
        schema = self._value(field) | _constraints(_rules(field))
        if text := self._comments.of(field.full_name):
            schema["description"] = text
        return schema

    def _value(self, field: FieldDescriptor) -> Json:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            rules = _rules(field).map.values
            one = self._single(message.fields_by_name["value"]) | _constraints(rules)
            return {"type": "object", "additionalProperties": one}
        if field.is_repeated:
            items = self._single(field) | _constraints(_rules(field).repeated.items)
            return {"type": "array", "items": items}
        return self._single(field)

    def _single(self, field: FieldDescriptor) -> Json:
        if field.message_type is not None:
            known = _WELL_KNOWN.get(field.message_type.full_name)
            return dict(known) if known else self._reference(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, enum: EnumDescriptor) -> Json:
        self._claim(enum)
        names = [value.name for value in enum.values if value.number]
        text = self._comments.of(enum.full_name)
        self._schemas.setdefault(
            enum.name, {"type": "string", "enum": names} | ({"description": text} if text else {})
        )
        return {"$ref": f"#/components/schemas/{enum.name}"}


def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    return field.GetOptions().Extensions[validate_pb2.field]


def _constraints(rules: validate_pb2.FieldRules) -> Json:
    """What JSON Schema can say of the rules."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return {}
    own = getattr(rules, kind)
    given = {
        "pattern": "pattern",
        "min_len": "minLength",
        "max_len": "maxLength",
        "min_items": "minItems",
        "max_items": "maxItems",
        "unique": "uniqueItems",
        "max_pairs": "maxProperties",
    }
    if kind in ("int32", "uint32", "double"):
        given |= {"gte": "minimum", "lte": "maximum"}
    said = {field.name: value for field, value in own.ListFields()}
    found = {schema: said[rule] for rule, schema in given.items() if rule in said}
    formats = [name for name in ("uuid", "email") if said.get(name)]
    return found | ({"format": formats[0]} if formats else {})


def _is_required(field: FieldDescriptor) -> bool:
    """Whether the contract refuses the request without this field."""
    rules = _rules(field)
    if rules.required:
        return True
    if rules.ignore != validate_pb2.IGNORE_UNSPECIFIED:
        return False
    text = rules.string
    return bool(
        text.uuid
        or text.email
        or text.min_len
        or (text.HasField("pattern") and not re.search(text.pattern, ""))
        or rules.int32.gte > 0
        or rules.int64.gte > 0
        or rules.repeated.min_items
        or 0 in rules.enum.not_in
    )


def _problem(comments: Comments) -> Json:
    reasons = error_reason_pb2.ErrorReason.DESCRIPTOR
    texts = {
        value.name.removeprefix("ERROR_REASON_"): comments.of(
            f"{reasons.file.package}.{reasons.name}.{value.name}"
        )
        for value in reasons.values
        if value.number
    }
    violation = {
        "type": "object",
        "properties": {
            "field": {"type": "string", "description": "Its path, such as `lines[0].sku`."},
            "detail": {"type": "string"},
        },
    }
    return {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "For people."},
            "reason": {
                "type": "string",
                "description": "For programs; absent where the status says it all.",
                "enum": list(texts),
                "x-descriptions": texts,
            },
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "errors": {
                "type": "array",
                "items": violation,
                "description": "Every field of the request that is wrong.",
            },
        },
        "required": ["type", "title", "status"],
    }


def document() -> str:
    """The whole file."""
    lay_out_imports()
    built = Document(Comments(_files())).build(edge_rpcs())
    return json.dumps(built, indent=1, ensure_ascii=False) + "\n"


def _files() -> Iterable[FileDescriptorProto]:
    """The contracts as protoc reads them: the stubs have no comments."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contracts"
        includes = [f"-I{path}" for path in (PROTOS, IMPORTS, well_known_imports())]
        names = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
        arguments = [*includes, "--include_source_info", f"--descriptor_set_out={target}", *names]
        if protoc.main(["protoc", *arguments]) != 0:
            sys.exit("openapi: protoc failed; its message stands above")
        return FileDescriptorSet.FromString(target.read_bytes()).file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        DOCUMENT.write_text(document())
    elif not DOCUMENT.exists() or DOCUMENT.read_text() != document():
        sys.exit("openapi: run `make proto` and commit edge/trackops_edge/openapi.json")


if __name__ == "__main__":
    main()
