"""npm `@x402/extensions` 2.27.0 reads how our routes are called, and calls them so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import GatewayProcess

ROUTES = ("/v1/credits/purchase", "/v1/session")
# Some proxies take 4 KiB of headers.
HEADER_MAX = 3_900


@pytest.fixture(scope="module")
def told(gateway: GatewayProcess, node: Callable[..., str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(node("discovery.mjs", gateway.url))
    return said


@pytest.mark.parametrize("path", ROUTES)
def test_a_listing_takes_what_a_challenge_says(told: dict[str, Any], path: str) -> None:
    said = told[path]

    assert said["status"] == 402
    assert said["valid"]["valid"], said["valid"]
    assert said["toSpec"]["valid"], said["toSpec"]
    assert said["named"]


@pytest.mark.parametrize("path", ROUTES)
def test_the_example_it_gives_is_answered_with_terms(told: dict[str, Any], path: str) -> None:
    assert (told[path]["method"], told[path]["tried"]) == ("POST", 402)


@pytest.mark.parametrize("path", ROUTES)
def test_the_challenge_passes_through_proxies(told: dict[str, Any], path: str) -> None:
    assert told[path]["length"] < HEADER_MAX
