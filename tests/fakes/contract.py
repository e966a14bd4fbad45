"""What a gateway answers, held against `specs/openapi.yaml`; what is not said is not allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from adapters.http.contract import load
from adapters.http.contract_text import operations, resolved

# What may be answered to any request, before or beside its route.
_ANYWHERE = {404: "NoSuchRoute", 405: "MethodNotAllowed", 400: "NotHttp"}

# Requests: fields nobody asks for are ignored.
_OPEN = ("Request", "Extension")


class ContractError(AssertionError):
    """The program and its contract differ."""


def operation_of(method: str, path: str) -> Mapping[str, Any] | None:
    """The documented operation that answers this request, if any."""
    wanted = "GET" if method == "HEAD" else method
    for pattern, documented, operation in _operations():
        if documented == wanted and pattern.fullmatch(path):
            return operation
    return None


def check_answer(
    method: str, url: str, *, status: int, headers: Mapping[str, str], text: str
) -> None:
    """ContractError where the document does not allow this answer to this request."""
    operation = operation_of(method, url.partition("?")[0])
    if operation is None:
        if method != "OPTIONS":
            check_schema(_json(text), _undocumented(status, f"{method} {url}"))
        return
    where = f"{operation['operationId']} {status}"
    if str(status) not in operation["responses"]:
        raise ContractError(f"{where}: the document has no such answer")
    answer = resolved(load("openapi"), operation["responses"][str(status)])
    _check_headers(where, answer.get("headers", {}), headers)
    kind = headers.get("Content-Type", "").partition(";")[0]
    if kind not in answer["content"]:
        raise ContractError(f"{where}: the document has no {kind}")
    if method != "HEAD":
        body = _json(text) if kind.endswith(("/json", "+json")) else text
        check_schema(body, answer["content"][kind]["schema"])


def check_request(method: str, url: str, body: object) -> None:
    """ContractError where a request that was accepted is not one of the document's."""
    operation = operation_of(method, url.partition("?")[0])
    if operation is None or "requestBody" not in operation:
        return
    check_schema(body, operation["requestBody"]["content"]["application/json"]["schema"])


def check_schema(value: object, schema: Mapping[str, Any]) -> None:
    """ContractError where a value is not of a schema of the OpenAPI document."""
    validator = Draft202012Validator(
        {**schema, "components": _components()},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )
    faults = [f"{fault.json_path}: {fault.message[:300]}" for fault in validator.iter_errors(value)]
    if faults:
        raise ContractError("; ".join(faults))


def _undocumented(status: int, where: str) -> Mapping[str, Any]:
    if status not in _ANYWHERE:
        raise ContractError(f"{where}: {status} from a route that is not in the document")
    return {"$ref": f"#/components/schemas/{_ANYWHERE[status]}"}


def _check_headers(where: str, documented: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    for name, reference in documented.items():
        header = resolved(load("openapi"), reference)
        text = headers.get(name)
        if text is None:
            if header.get("required"):
                raise ContractError(f"{where}: the header {name} is missing")
            continue
        whole = header["schema"].get("type") == "integer"
        check_schema(int(text) if whole else text, header["schema"])


def _json(text: str) -> Any:  # noqa: ANN401 (decoded JSON)
    try:
        return json.loads(text)
    except ValueError as damage:
        raise ContractError(f"not JSON: {text[:80]}") from damage


@cache
def _operations() -> list[tuple[re.Pattern[str], str, Mapping[str, Any]]]:
    found = []
    for method, path, operation in operations(load("openapi")):
        parts = re.split(r"\{\w+\}", path)
        found.append((re.compile("[^/]+".join(map(re.escape, parts))), method, operation))
    return found


@cache
def _components() -> dict[str, Any]:
    """The document's components, where objects of answers have the fields that are named only."""
    components = load("openapi")["components"]
    schemas = {
        name: schema if name.endswith(_OPEN) else _closed(schema)
        for name, schema in components["schemas"].items()
    }
    return {**components, "schemas": schemas}


def _closed(part: Any) -> Any:  # noqa: ANN401 (a piece of decoded JSON)
    if isinstance(part, list):
        return [_closed(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    copy = {key: _closed(inner) for key, inner in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        copy.setdefault("additionalProperties", False)
    return copy
