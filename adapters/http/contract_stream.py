"""The WebSocket's part of the page, made from the AsyncAPI document."""

from __future__ import annotations

from html import escape
from typing import Any

from adapters.http.contract_forms import Part, form, inline, paragraphs, properties
from adapters.http.contract_text import resolved

ANCHOR = "websocket"


def stream(document: Part) -> str:
    """Who says what over `/v1/stream`; each message once, with its fields."""
    channel = next(iter(document["channels"].values()))
    return "".join(
        (
            f'<h2 id="{ANCHOR}">The WebSocket <code>{escape(channel["address"])}</code></h2>\n',
            paragraphs(document["info"]["description"]),
            "<ul>\n",
            *(_direction(operation) for operation in document["operations"].values()),
            "</ul>\n",
            *(
                _message(document, name, message)
                for name, message in document["components"]["messages"].items()
            ),
        )
    )


def _direction(operation: Part) -> str:
    names = (reference["$ref"].rpartition("/")[2] for reference in operation["messages"])
    links = ", ".join(f'<a href="#message-{escape(n)}">{escape(n)}</a>' for n in names)
    return f"<li>{inline(operation['summary'])} {links}.</li>\n"


def _message(document: Part, name: str, message: Part) -> str:
    payload = _expanded(document, message["payload"])
    binary = message.get("contentType") == "application/octet-stream"
    shape = properties(payload) if "properties" in payload else f"<p>{form(payload)}</p>\n"
    told = "".join(
        f"<p>{inline(text)}</p>\n"
        for text in (message.get("summary"), payload.get("description"))
        if text
    )
    kind = "binary" if binary else "text"
    return (
        f'<section id="message-{escape(name)}">\n<h3>{escape(name)} <span class="soft">({kind})'
        f"</span></h3>\n{told}{shape}</section>\n"
    )


def _expanded(document: Part, part: Any) -> Any:  # noqa: ANN401 (a piece of decoded JSON)
    """With the schemas it names in their place: names of this document are no anchors."""
    if isinstance(part, list):
        return [_expanded(document, inner) for inner in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        rest = {key: value for key, value in part.items() if key != "$ref"}
        return {**_expanded(document, dict(resolved(document, {"$ref": part["$ref"]}))), **rest}
    return {key: _expanded(document, inner) for key, inner in part.items()}
