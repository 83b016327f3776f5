"""The OpenAPI document and its page, as the edge serves them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib import resources
from typing import Any

from trackops.common.v1.error_reason_pb2 import ErrorReason

from trackops_edge.contract import edge_rpcs
from trackops_edge.page import page, style_hash

from .edge_harness import Edge

COMMITTED = resources.files("trackops_edge").joinpath("openapi.json").read_bytes()
DOCUMENT: dict[str, Any] = json.loads(COMMITTED)


class Page(HTMLParser):
    """Tags, and what they name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.style = ""
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (verb.upper(), path): operation
        for path, verbs in DOCUMENT["paths"].items()
        for verb, operation in verbs.items()
    }


def test_the_committed_document_is_served_to_everybody(edge: Edge) -> None:
    answer = edge.call("GET", "/openapi.json", token=None)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == COMMITTED


def test_the_document_has_every_rpc_on_the_edge_and_no_other() -> None:
    assert {name: one["operationId"] for name, one in operations().items()} == {
        (rpc.verb, rpc.template): rpc.method.name for rpc in edge_rpcs()
    }


def test_the_document_says_who_needs_a_token() -> None:
    without = {one["operationId"] for one in operations().values() if one.get("security") == []}

    assert without == {rpc.method.name for rpc in edge_rpcs() if rpc.public}
    assert DOCUMENT["security"] == [{"token": []}]


def test_every_field_of_a_request_has_its_one_place() -> None:
    for rpc in edge_rpcs():
        operation = operations()[rpc.verb, rpc.template]
        body: dict[str, Any] = {}
        if "requestBody" in operation:
            ((_, content),) = operation["requestBody"]["content"].items()
            body = content["schema"]["properties"]
        parameters = operation.get("parameters", [])
        places = [*(one["name"] for one in parameters), *body]

        assert sorted(places) == sorted(field.name for field in rpc.method.input_type.fields)
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", rpc.template))


def test_every_reference_leads_somewhere() -> None:
    named = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', COMMITTED.decode())

    assert named
    assert set(named) == set(DOCUMENT["components"]["schemas"])


def test_rules_of_the_contract_are_told() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    line = schemas["OrderLine"]
    create = operations()["POST", "/v1/orders"]["requestBody"]["content"]["application/json"]

    assert line["required"] == ["sku", "quantity"]
    assert line["properties"]["quantity"]["maximum"] == 1_000_000
    assert line["properties"]["unit_price_minor"]["type"] == "string"
    assert create["schema"]["properties"]["lines"]["maxItems"] == 500
    assert "request_id" in create["schema"]["required"]
    assert "note" not in create["schema"]["required"]
    watch = operations()["GET", "/v1/orders/{order_id}:watch"]["responses"]["200"]["content"]
    assert list(watch) == ["application/x-ndjson"]


def test_every_reason_is_told() -> None:
    told = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"]

    assert told == [name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()[1:]]


def test_the_page_is_served_and_loads_nothing(edge: Edge) -> None:
    answer = edge.call("GET", "/docs", token=None)
    read = Page(answer.body.decode())

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body.decode() == page(DOCUMENT)
    assert not read.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not {"src", "style", "onclick", "onload"} & {name for name, _ in read.attributes}
    assert "url(" not in read.style
    assert "@import" not in read.style
    assert all(target.startswith(("#", "/openapi.json")) for target in read.values("href"))
    assert f"style-src '{style_hash()}'" in answer.headers["content-security-policy"]


def test_the_page_has_all_of_the_document() -> None:
    read = Page(page(DOCUMENT))
    anchors = read.values("id")

    assert len(anchors) == len(set(anchors))
    wanted = {one["operationId"] for one in operations().values()}
    wanted |= set(DOCUMENT["components"]["schemas"])
    wanted |= set(DOCUMENT["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"])
    assert wanted <= set(anchors)
    assert {target[1:] for target in read.values("href") if target[0] == "#"} <= set(anchors)


def test_the_page_shows_text_as_text() -> None:
    document = json.loads(COMMITTED)
    document["paths"]["/v1/orders"]["post"]["description"] = "<script>alert(1)</script>"

    assert "script" not in Page(page(document)).tags
