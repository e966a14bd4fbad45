"""The contract as a page for people: one file without scripts, made from the OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from typing import Any

from adapters.http.contract_text import operations, resolved

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_Part = Mapping[str, Any]


def page(document: _Part) -> str:
    """The whole page. Every text of the document is escaped on its way in."""
    info = document["info"]
    style = (resources.files("adapters.http") / "docs.css").read_text(encoding="utf-8")
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(info['title'])}: the contract</title>\n",
            f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n',
            f"<h1>{escape(info['title'])}</h1>\n<p>{_inline(info['summary'])}</p>\n",
            '<p>For programs: <a href="/openapi.json">OpenAPI</a>, <a href="/asyncapi.json">',
            'AsyncAPI</a> of the WebSocket, <a href="/llms.txt">short text</a>.</p>\n',
            _contents(document),
            _text(info["description"]),
            *(_tag(document, tag) for tag in document["tags"]),
            "<h2>Shapes</h2>\n",
            *(_schema(name, part) for name, part in document["components"]["schemas"].items()),
            "</body>\n</html>\n",
        )
    )


def policy(made: str) -> str:
    """The Content-Security-Policy of this very page: its own style, and nothing else."""
    style = _STYLE.search(made)
    assert style is not None, "the page has one style"  # noqa: S101 (it is our own page)
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def _contents(document: _Part) -> str:
    items = "".join(
        f'<li><a href="#{_anchor(op)}"><code>{method} {escape(path)}</code></a></li>\n'
        for method, path, op in operations(document)
    )
    return f"<nav><ul>\n{items}</ul></nav>\n"


def _tag(document: _Part, tag: _Part) -> str:
    parts = (
        _operation(document, method, path, op)
        for method, path, op in operations(document)
        if tag["name"] in op["tags"]
    )
    title = escape(tag["name"].capitalize())
    return f"<h2>{title}</h2>\n<p>{_inline(tag['description'])}</p>\n{''.join(parts)}"


def _operation(document: _Part, method: str, path: str, op: _Part) -> str:
    signed = "public" if op.get("security") == [] else "signed"
    own = [*document["paths"][path].get("parameters", []), *op.get("parameters", [])]
    parameters = [resolved(document, p) for p in own]
    return "".join(
        (
            f'<section id="{_anchor(op)}">\n<h3><code>{method} {escape(path)}</code></h3>\n',
            f'<p>{_inline(op["summary"])} <span class="soft">({signed})</span></p>\n',
            _text(op.get("description", "")),
            _table(
                ("asks", "where", "form", ""),
                (_asked(p["name"], p["in"], p["schema"], p) for p in parameters),
            )
            if parameters
            else "",
            _body(document, op),
            _table(
                ("answers", "body", ""),
                (_answered(status, resolved(document, a)) for status, a in op["responses"].items()),
            ),
            "</section>\n",
        )
    )


def _body(document: _Part, op: _Part) -> str:
    content = op.get("requestBody", {}).get("content", {})
    schemas = [resolved(document, media["schema"]) for media in content.values()]
    return "".join(_properties(schema, "body") for schema in schemas)


def _schema(name: str, part: _Part) -> str:
    described = f"<p>{_inline(part['description'])}</p>\n" if "description" in part else ""
    shape = _properties(part, "") if "properties" in part else f"<p>{_form(part)}</p>\n"
    return f'<section id="{escape(name)}">\n<h3>{escape(name)}</h3>\n{described}{shape}</section>\n'


def _properties(schema: _Part, where: str) -> str:
    required = schema.get("required", [])
    rows = (
        _asked(name, where, part, {**part, "required": name in required})
        for name, part in schema.get("properties", {}).items()
    )
    return _table(("field", where and "where", "form", ""), rows)


def _asked(name: str, where: str, schema: _Part, about: _Part) -> tuple[str, ...]:
    optional = "" if about.get("required") else ' <span class="soft">optional</span>'
    return (
        f"<code>{escape(name)}</code>{optional}",
        escape(where),
        _form(schema),
        _inline(about.get("description", "")),
    )


def _answered(status: str, answer: _Part) -> tuple[str, ...]:
    bodies = (
        f"{_form(media['schema'])} <span class='soft'>{escape(kind)}</span>"
        for kind, media in answer.get("content", {}).items()
    )
    return f"<code>{escape(status)}</code>", "<br>".join(bodies), _inline(answer["description"])


def _form(schema: _Part) -> str:
    """A schema in a few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_form(part) for part in schema[key])
    return ", ".join(_words(schema)) or "anything"


def _words(schema: _Part) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "array":
        yield f"list of {_form(schema.get('items', {}))}"
    elif kind is not None:
        yield escape(kind if isinstance(kind, str) else " or ".join(kind))
    if "const" in schema:
        yield f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        yield " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    names = {"minimum": "at least", "maximum": "at most", "maxLength": "length at most"}
    for key, word in {**names, "default": "default", "format": ""}.items():
        if key in schema:
            yield f"{word} {escape(str(schema[key]))}".strip()


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def _text(described: str) -> str:
    paragraphs = (block for block in described.strip().split("\n\n") if block)
    return "".join(f"<p>{_inline(block)}</p>\n" for block in paragraphs)


def _inline(text: str) -> str:
    """Escaped first, so that code and bold are all the markup there can be."""
    return _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))


def _anchor(op: _Part) -> str:
    return escape(op["operationId"])
