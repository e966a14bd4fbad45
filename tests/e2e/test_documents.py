"""What a running gateway says of itself, held against the schemas of OpenAPI and AsyncAPI."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from jsonschema import Draft7Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.e2e.conftest import ROOT, GatewayProcess

SCHEMAS = ROOT / "build" / "node" / "node_modules" / "@asyncapi" / "specs" / "schemas"


def read(gateway: GatewayProcess, path: str) -> Any:  # noqa: ANN401 (decoded JSON)
    with urllib.request.urlopen(gateway.url + path, timeout=30) as answer:  # noqa: S310 (our own)
        return json.load(answer)


def test_the_openapi_document_is_valid(gateway: GatewayProcess) -> None:
    document = read(gateway, "/openapi.json")

    assert document["openapi"].startswith("3.1.")
    assert [fault.message for fault in OpenAPIV31SpecValidator(document).iter_errors()] == []


@pytest.mark.usefixtures("node")
def test_the_asyncapi_document_is_valid(gateway: GatewayProcess) -> None:
    document = read(gateway, "/asyncapi.json")
    schema = json.loads((SCHEMAS / "3.0.0-without-$id.json").read_text("utf-8"))

    assert document["asyncapi"] == "3.0.0"
    assert [fault.message for fault in Draft7Validator(schema).iter_errors(document)] == []
