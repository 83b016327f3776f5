"""The OpenAPI document as a page to read: HTML with its one style sheet inside, and no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["page", "style_hash"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #8888; }
h3 { margin-top: 2rem; } code { font-family: ui-monospace, monospace; font-size: 0.9em; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; }
td, th { padding: 0.25rem 1rem 0.25rem 0; vertical-align: top; border-bottom: 1px solid #8883; }
nav li { list-style: none; } .verb { font-weight: bold; } .note { opacity: 0.7; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee; } a { color: #9cf; } }
"""

Json = Mapping[str, Any]


def style_hash() -> str:
    """The style sheet, as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def page(document: Json) -> str:
    """The whole page. Every operation, schema and reason has an anchor of its name."""
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        + "".join(_body(document))
        + "</body></html>\n"
    )


def _body(document: Json) -> Iterator[str]:
    operations = [
        (verb.upper(), path, operation)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    ]
    schemas = document["components"]["schemas"]
    yield _text(document["info"]["description"])
    yield '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p><nav><ul>'
    for verb, path, operation in operations:
        yield f'<li><a href="#{escape(operation["operationId"])}">{_call(verb, path)}</a>'
    yield "</ul></nav><h2>Operations</h2>"
    for verb, path, operation in operations:
        yield from _operation(verb, path, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in schemas.items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3>'
        yield from _schema(schema)
    yield "<h2>Reasons</h2><table>"
    for reason, text in schemas["Problem"]["properties"]["reason"]["x-descriptions"].items():
        yield f'<tr id="{escape(reason)}"><td><code>{escape(reason)}</code><td>{_text(text)}'
    yield "</table>"


def _operation(verb: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<h3 id="{escape(operation["operationId"])}">{_call(verb, path)}</h3>'
    yield _text(operation["description"])
    permission = operation.get("x-permission")
    needs = f"Needs <code>{escape(permission)}</code>." if permission else "Needs no token."
    yield f'<p class="note">{needs}</p>'
    if parameters := operation.get("parameters"):
        rows = {
            one["name"]: {**one["schema"], "description": one["description"]} for one in parameters
        }
        required = [one["name"] for one in parameters if one["required"]]
        yield from _table("In the path or the query", rows, required)
    if body := operation.get("requestBody"):
        (content,) = body["content"].values()
        schema = content["schema"]
        yield from _table("In the body", schema["properties"], schema.get("required", ()))
    ((kind, answer),) = operation["responses"]["200"]["content"].items()
    yield f"<p>Answers {_type(answer['schema'])} as <code>{escape(kind)}</code>.</p>"


def _schema(schema: Json) -> Iterator[str]:
    yield _text(schema.get("description", ""))
    if names := schema.get("enum"):
        yield f"<p>{', '.join(f'<code>{escape(name)}</code>' for name in names)}</p>"
    if fields := schema.get("properties"):
        yield from _table("Fields", fields, schema.get("required", ()))


def _table(title: str, fields: Json, required: Any) -> Iterator[str]:
    yield f"<table><tr><th>{title}<th>Type<th>"
    for name, field in fields.items():
        must = " <b>required</b>" if name in required else ""
        yield f"<tr><td><code>{escape(name)}</code>{must}<td>{_type(field)}"
        yield f"<td>{_text(field.get('description', ''))}"
    yield "</table>"


def _type(schema: Json) -> str:
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if items := schema.get("items"):
        return f"list of {_type(items)}"
    if values := schema.get("additionalProperties"):
        return f"map to {_type(values)}"
    return escape(schema.get("format") or schema.get("type", ""))


def _call(verb: str, path: str) -> str:
    return f'<span class="verb">{escape(verb)}</span> <code>{escape(path)}</code>'


def _text(text: str) -> str:
    return "".join(f"<p>{escape(one)}</p>" for one in text.split("\n\n") if one)
