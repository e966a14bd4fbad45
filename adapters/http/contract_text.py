"""The contract in short, for readers with little room: one line a route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WHOLE = (
    "The whole contract: [OpenAPI](/openapi.json), [the WebSocket](/asyncapi.json), "
    "[a page for people](/docs)."
)
_METHODS = ("get", "put", "post", "delete", "patch")


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, path and operation of an OpenAPI document, in its order."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def short_text(document: Mapping[str, Any]) -> str:
    """The form of llms.txt: a title, what it is, how to begin, and the routes under their tags."""
    info = document["info"]
    lines = [
        f"# {info['title']}",
        "",
        f"> {info['summary']}",
        "",
        info["description"].rstrip(),
        "",
        _WHOLE,
    ]
    for tag in document["tags"]:
        lines += ["", f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        lines += [
            _line(document, method, path, operation)
            for method, path, operation in operations(document)
            if tag["name"] in operation["tags"]
        ]
    return "\n".join(lines) + "\n"


def _line(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    signed = "" if operation.get("security") == [] else " (signed)"
    asked = ", ".join(_asked(document, operation))
    return f"- `{method} {path}`{signed}: {operation['summary']}" + (
        f". Asks {asked}" * bool(asked)
    )


def _asked(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    """The fields of the body, those that may be absent with a question mark."""
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        schema = resolved(document, media["schema"])
        required = schema.get("required", [])
        for name in schema.get("properties", {}):
            yield f"`{name}`" + "?" * (name not in required)


def resolved(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part itself, or what its `$ref` within the document leads to."""
    while "$ref" in part:
        target: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        part = target
    return part
