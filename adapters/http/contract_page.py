"""The contract as a page for people: one file without scripts, made from its two documents."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib import resources

from adapters.http.contract_forms import (
    Part,
    asked,
    form,
    inline,
    paragraphs,
    preformatted,
    properties,
    table,
)
from adapters.http.contract_stream import ANCHOR, stream
from adapters.http.contract_text import operations, resolved

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_ANSWER = "#/components/responses/"
# On every answer; they are told of once, in the description.
_EVERYWHERE = {
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Cache-Control",
}


def page(document: Part, speech: Part) -> str:
    """The whole page, of the OpenAPI and the AsyncAPI document."""
    info, parts = document["info"], document["components"]
    style = (resources.files("adapters.http") / "docs.css").read_text(encoding="utf-8")
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(info['title'])}: the contract</title>\n",
            f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n',
            f"<h1>{escape(info['title'])}</h1>\n<p>{inline(info['summary'])}</p>\n",
            '<p>For programs: <a href="/openapi.json">OpenAPI</a>, <a href="/asyncapi.json">',
            'AsyncAPI</a> of the WebSocket, <a href="/llms.txt">short text</a>.</p>\n',
            _contents(document),
            paragraphs(info["description"]),
            '<h2 id="signing">Headers that sign</h2>\n',
            _schemes(parts["securitySchemes"]),
            *(_tag(document, tag) for tag in document["tags"]),
            stream(speech),
            '<h2 id="refusals">Refusals</h2>\n',
            *(_refusal(name, answer) for name, answer in parts["responses"].items()),
            '<h2 id="shapes">Shapes</h2>\n',
            *(_schema(name, part) for name, part in parts["schemas"].items()),
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


def _contents(document: Part) -> str:
    groups = "".join(
        f"<li>{escape(tag['name'].capitalize())}\n<ul>\n{_listed(document, tag)}</ul></li>\n"
        for tag in document["tags"]
    )
    rest = "".join(
        f'<li><a href="#{anchor}">{title}</a></li>\n'
        for anchor, title in (
            ("signing", "Headers that sign"),
            (ANCHOR, "The WebSocket"),
            ("refusals", "Refusals"),
            ("shapes", "Shapes"),
        )
    )
    return f"<nav><ul>\n{groups}{rest}</ul></nav>\n"


def _listed(document: Part, tag: Part) -> str:
    return "".join(
        f'<li><a href="#{_anchor(op)}"><code>{method} {escape(path)}</code></a></li>\n'
        for method, path, op in operations(document)
        if tag["name"] in op["tags"]
    )


def _schemes(schemes: Part) -> str:
    rows = (
        (
            f"<code>{escape(scheme.get('name', 'Authorization'))}</code>",
            escape(name),
            inline(scheme["description"]),
        )
        for name, scheme in schemes.items()
    )
    return table(("header", "", ""), rows)


def _tag(document: Part, tag: Part) -> str:
    parts = (
        _operation(document, method, path, op)
        for method, path, op in operations(document)
        if tag["name"] in op["tags"]
    )
    title = escape(tag["name"].capitalize())
    return f"<h2>{title}</h2>\n<p>{inline(tag['description'])}</p>\n{''.join(parts)}"


def _operation(document: Part, method: str, path: str, op: Part) -> str:
    signed = "public" if op.get("security") == [] else "signed"
    own = [*document["paths"][path].get("parameters", []), *op.get("parameters", [])]
    parameters = [resolved(document, p) for p in own]
    answers = op["responses"].items()
    return "".join(
        (
            f'<section id="{_anchor(op)}">\n<h3><code>{method} {escape(path)}</code></h3>\n',
            f'<p>{inline(op["summary"])} <span class="soft">({signed})</span></p>\n',
            paragraphs(op.get("description", "")),
            table(
                ("asks", "where", "form", ""),
                (asked(p["name"], p["in"], p["schema"], p) for p in parameters),
            )
            if parameters
            else "",
            _body(document, op),
            table(
                ("answers", "body", ""),
                (_answered(status, a) for status, a in answers if "$ref" not in a),
            ),
            _refusals({status: a["$ref"] for status, a in answers if "$ref" in a}),
            "</section>\n",
        )
    )


def _body(document: Part, op: Part) -> str:
    content = op.get("requestBody", {}).get("content", {})
    shown = []
    for kind, media in content.items():
        more = len(content) > 1
        shown.append(f'<p class="soft">{escape(kind)}</p>\n' if more else "")
        shown.append(properties(resolved(document, media["schema"]), "body"))
        if "example" in media:
            shown.append(preformatted(json.dumps(media["example"], indent=2)))
    return "".join(shown)


def _refusals(references: dict[str, str]) -> str:
    """The answers that many routes share, by their status; each is told of once, further down."""
    links = (
        f'<a href="#answer-{escape(ref.removeprefix(_ANSWER))}"><code>{escape(status)}</code></a>'
        for status, ref in references.items()
    )
    return f"<p>Refusals: {', '.join(links)}</p>\n" if references else ""


def _refusal(name: str, answer: Part) -> str:
    return (
        f'<section id="answer-{escape(name)}">\n<h3>{escape(name)}</h3>\n'
        f"<p>{inline(answer['description'])}</p>\n<p>{_bodies(answer)}{_headers(answer)}</p>\n"
        "</section>\n"
    )


def _schema(name: str, part: Part) -> str:
    described = f"<p>{inline(part['description'])}</p>\n" if "description" in part else ""
    shape = properties(part) if "properties" in part else f"<p>{form(part)}</p>\n"
    return f'<section id="{escape(name)}">\n<h3>{escape(name)}</h3>\n{described}{shape}</section>\n'


def _answered(status: str, answer: Part) -> tuple[str, ...]:
    told = inline(answer["description"]) + _headers(answer)
    return f"<code>{escape(status)}</code>", _bodies(answer), told


def _bodies(answer: Part) -> str:
    return "<br>".join(
        f"{form(media['schema'])} <span class='soft'>{escape(kind)}</span>"
        for kind, media in answer.get("content", {}).items()
    )


def _headers(answer: Part) -> str:
    """What an answer carries beyond what every answer does."""
    own = [name for name in answer.get("headers", {}) if name not in _EVERYWHERE]
    names = ", ".join(f"<code>{escape(name)}</code>" for name in own)
    return f' <span class="soft">Headers: {names}.</span>' if own else ""


def _anchor(op: Part) -> str:
    return escape(op["operationId"])
