"""`specs/openapi.yaml` and the program say the same, in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from adapters.http import app
from adapters.http.contract import load
from adapters.http.contract_text import operations, resolved
from adapters.http.errors import STATUS, refused
from domain.errors import GatewayError
from tests.contract.test_errors import SAMPLES
from tests.fakes.contract import ContractError, check_answer, check_schema
from tests.fakes.gateway import House
from tests.fakes.street import Street

DOCUMENT = load("openapi")
OPERATIONS = list(operations(DOCUMENT))
COMMON = {
    "X-Request-Id": "a",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "a",
    "Cache-Control": "no-store",
    "Content-Type": "application/json; charset=utf-8",
}
ACCOUNT = {
    "id": "00000000-0000-0000-0000-000000000001",
    "wallet_address": "0x",
    "wallet_chain": "evm",
    "credit_balance": "1",
    "available_balance": "1",
    "max_concurrent_sessions": 10,
    "max_api_rate": 5,
    "created_at": "2026-01-01T00:00:00.000Z",
}


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    opened = Street(House())
    await opened.open()
    yield opened
    await opened.close()


def answers(operation: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for status, answer in operation["responses"].items():
        yield int(status), resolved(DOCUMENT, answer)


def codes(answer: Mapping[str, Any]) -> set[str]:
    """The refusal codes an answer may carry."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    found = set()
    for part in schema.get("anyOf", [schema]):
        code = resolved(DOCUMENT, part).get("properties", {}).get("code", {})
        found |= {code["const"]} if "const" in code else set(code.get("enum", []))
    return found


def test_the_document_is_valid() -> None:
    assert [fault.message for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


async def test_every_route_is_in_the_document_and_the_other_way(street: Street) -> None:
    served = {
        (route.method, resource.canonical)
        for resource in street.resources
        for route in resource
        if route.method != "HEAD"
    }

    assert served == {(method, path) for method, path, _ in OPERATIONS}


def test_no_part_of_the_document_is_there_for_nothing() -> None:
    parts = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "parameters", "headers", "links")
        for name in DOCUMENT["components"][kind]
    }
    used = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))

    # What no operation answers: it stands for every path.
    assert parts - used == {"#/components/schemas/MethodNotAllowed"}
    assert used - parts == set()


def test_every_operation_has_a_name_of_its_own_and_a_tag() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    tags = {tag["name"] for tag in DOCUMENT["tags"]}

    assert len(set(names)) == len(names)
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} == tags


def test_every_code_is_answered_under_its_status_and_no_other() -> None:
    documented = {
        (status, code)
        for _, _, operation in OPERATIONS
        for status, answer in answers(operation)
        for code in codes(answer)
        if code in {kind.code for kind in STATUS} and operation["operationId"] != "stream"
    }

    assert documented == {(status, kind.code) for kind, status in STATUS.items()}


@pytest.mark.parametrize("refusal", SAMPLES, ids=lambda refusal: refusal.code)
def test_a_refusal_has_the_facts_its_schema_names(refusal: GatewayError) -> None:
    body = json.loads(refused(refusal).text or "")
    by_code = {
        schema["properties"]["code"].get("const"): schema
        for schema in DOCUMENT["components"]["schemas"].values()
        if "code" in schema.get("properties", {})
    }
    schema = by_code.get(refusal.code, DOCUMENT["components"]["schemas"]["PaymentTerms"])

    if refusal.code not in ("payment_required", "payment_refused"):
        check_schema(body, {**schema, "additionalProperties": False})
    assert set(body) <= set(schema["properties"])


@pytest.mark.parametrize(
    "operation", [op for _, _, op in OPERATIONS], ids=lambda op: op["operationId"]
)
def test_where_waiting_helps_the_document_says_how_long(operation: Mapping[str, Any]) -> None:
    waits = {
        kind.code for kind, status in STATUS.items() if kind.code == "rate_limit" or status == 503
    }
    for status, answer in answers(operation):
        if status == 503 or codes(answer) & waits:
            assert "Retry-After" in answer["headers"]


@pytest.mark.parametrize(
    "operation", [op for _, _, op in OPERATIONS], ids=lambda op: op["operationId"]
)
def test_every_route_may_be_stopping(operation: Mapping[str, Any]) -> None:
    stopping = dict(answers(operation))[503]

    assert "shutting_down" in codes(stopping)


def test_a_signed_operation_can_refuse_who_does_not_sign() -> None:
    for _, _, operation in OPERATIONS:
        signed = operation.get("security") != []
        assert ("401" in operation["responses"]) == signed, operation["operationId"]


SOURCES = [path.read_text("utf-8") for path in Path(app.__file__).parent.glob("*.py")]
QUERIES = re.compile(
    r'query(?:\.get\(|\[)"(\w+)"|query_count\(\s*request, "(\w+)"|"(\w+)" in request\.query'
    r'|_hour\(request, "(\w+)"'
)
# Read of proxies, of browsers and of everybody; the description speaks of them.
ELSEWHERE = {"X-Request-Id", "X-Forwarded-For", "Forwarded"}


def parameters(where: str) -> set[str]:
    """The names of all parameters there, and of what signs."""
    found = {
        resolved(DOCUMENT, parameter)["name"]
        for path, item in DOCUMENT["paths"].items()
        for part in (item, *(op for _, p, op in OPERATIONS if p == path))
        for parameter in part.get("parameters", [])
        if resolved(DOCUMENT, parameter)["in"] == where
    }
    schemes = DOCUMENT["components"]["securitySchemes"].values()
    return found | {s.get("name", "Authorization") for s in schemes if where == "header"}


def test_every_query_that_is_read_is_in_the_document() -> None:
    read = {name for text in SOURCES for names in QUERIES.findall(text) for name in names if name}

    assert len(read) > 10
    assert read - parameters("query") == set()


def test_every_header_that_is_read_is_in_the_document() -> None:
    names = re.compile(r'headers\.get\(\s*"([\w-]+)"|_needed\(request, "([\w-]+)"')
    read = {name for text in SOURCES for found in names.findall(text) for name in found if name}

    assert {"Authorization", "Idempotency-Key", "X-Wallet-Chain"} <= read
    assert read - parameters("header") - ELSEWHERE == set()


def test_what_is_paid_for_says_so_to_payment_clients() -> None:
    paid = {path: op for _, path, op in OPERATIONS if "x-payment-info" in op}

    assert {path for path in paid if path.startswith("/v1/credits")} == {
        "/v1/credits/purchase",
        "/v1/credits/purchase/mpp",
        "/v1/credits/purchase/tron",
    }
    x402 = paid["/v1/credits/purchase"]
    assert x402["x-payment-info"]["protocols"] == [{"x402": {}}]
    for operation in paid.values():
        assert "402" in operation["responses"]
        assert "example" in operation["requestBody"]["content"]["application/json"]


async def test_the_terms_of_payment_clients_are_those_in_force(street: Street) -> None:
    price = DOCUMENT["paths"]["/v1/credits/purchase"]["post"]["x-payment-info"]["price"]
    example = DOCUMENT["paths"]["/v1/credits/purchase"]["post"]["requestBody"]["content"][
        "application/json"
    ]["example"]

    lowest, below, highest, above = [
        await street.call("POST", "/v1/credits/purchase", {**example, "amount_usd": usd})
        for usd in (
            float(price["min"]),
            float(price["min"]) - 0.01,
            float(price["max"]),
            float(price["max"]) + 1,
        )
    ]

    assert [a.status for a in (lowest, below, highest, above)] == [402, 400, 402, 400]


def check_account(body: object, **headers: str) -> None:
    check_answer(
        "GET", "/v1/account", status=200, headers={**COMMON, **headers}, text=json.dumps(body)
    )


def test_the_check_itself_lets_a_right_answer_pass() -> None:
    check_account(ACCOUNT)


@pytest.mark.parametrize(
    "wrong",
    [
        {**ACCOUNT, "surprise": 1},
        {**ACCOUNT, "credit_balance": 1},
        {**ACCOUNT, "created_at": "yesterday"},
        {**ACCOUNT, "id": "1"},
        {name: value for name, value in ACCOUNT.items() if name != "max_api_rate"},
    ],
)
def test_the_check_itself_stops_a_wrong_body(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        check_account(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Content-Type", "text/html"), ("Cache-Control", "public"), ("X-Request-Id", "")],
)
def test_the_check_itself_stops_a_wrong_header(name: str, value: str) -> None:
    with pytest.raises(ContractError):
        check_account(ACCOUNT, **{name: value})


def test_the_check_itself_stops_an_answer_nobody_wrote_down() -> None:
    with pytest.raises(ContractError, match="no such answer"):
        check_answer("GET", "/v1/account", status=418, headers=COMMON, text="{}")
    with pytest.raises(ContractError, match="not in the document"):
        check_answer("GET", "/v1/secret", status=200, headers=COMMON, text="{}")
