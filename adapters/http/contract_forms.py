"""Texts and schemas of a contract as HTML; every text is escaped on its way in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "at least",
    "default": "default",
    "format": "",
}
_INDENT = " " * 4
Part = Mapping[str, Any]


def inline(text: str) -> str:
    """Escaped first, so that code and bold are all the markup there can be."""
    return _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))


def paragraphs(described: str) -> str:
    """Paragraphs; one whose lines are all indented is an example, kept as it is."""
    return "".join(_block(block) for block in described.strip("\n").split("\n\n") if block.strip())


def preformatted(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>\n"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def properties(schema: Part, where: str = "") -> str:
    """The fields of an object; `where` they are asked in, if they are."""
    required = schema.get("required", [])
    rows = (
        asked(name, where, part, {**part, "required": name in required})
        for name, part in schema.get("properties", {}).items()
    )
    heads = ("field", "where", "form", "") if where else ("field", "form", "")
    return table(heads, rows)


def asked(name: str, where: str, schema: Part, about: Part) -> tuple[str, ...]:
    """A row: a field or a parameter, `about` which `required` and `description` say more."""
    optional = "" if about.get("required") else ' <span class="soft">optional</span>'
    place = (escape(where),) if where else ()
    return (
        f"<code>{escape(name)}</code>{optional}",
        *place,
        form(schema),
        inline(about.get("description", "")),
    )


def form(schema: Part) -> str:
    """A schema in a few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema and not schema.get("properties"):
            return " or ".join(form(part) for part in schema[key])
    return ", ".join(_words(schema)) or "anything"


def _block(block: str) -> str:
    lines = block.strip("\n").split("\n")
    if all(line.startswith(_INDENT) for line in lines):
        return preformatted("\n".join(line.removeprefix(_INDENT) for line in lines))
    return f"<p>{inline(block)}</p>\n"


def _words(schema: Part) -> Iterator[str]:
    kind = schema.get("type")
    if kind == "array":
        yield f"list of {form(schema.get('items', {}))}"
    elif schema.get("properties"):
        yield _fields(schema)
    elif kind is not None:
        yield escape(kind if isinstance(kind, str) else " or ".join(kind))
    if "const" in schema:
        yield f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        yield " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    for key, word in _BOUNDS.items():
        if key in schema:
            yield f"{word} {escape(str(schema[key]))}".strip()
    if "pattern" in schema:
        yield f"as <code>{escape(schema['pattern'].encode('unicode_escape').decode())}</code>"


def _fields(schema: Part) -> str:
    """An object within a table: its fields between braces, those that may be absent with `?`."""
    required = schema.get("required", [])
    fields = (
        f"<code>{escape(name)}</code>{'' if name in required else '?'}: {form(part)}"
        for name, part in schema["properties"].items()
    )
    return f"{{{'; '.join(fields)}}}"
