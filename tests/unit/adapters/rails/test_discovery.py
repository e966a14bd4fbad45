"""What listings of x402 shops read in our challenges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from x402.extensions.bazaar.facilitator import (
    extract_discovery_info_from_extension,
    validate_discovery_extension,
    validate_discovery_extension_spec,
)
from x402.extensions.bazaar.types import parse_discovery_extension
from x402.http.utils import decode_payment_required_header

from adapters.http.contract import load
from adapters.rails.discovery import BAZAAR, discovery_of
from domain.ports.payments import Purchase
from tests.fakes.contract import check_schema
from tests.fakes.sandbox import Sandbox

ROUTES = ("/v1/credits/purchase", "/v1/session", "/v1/session/extend")
# Proxies of common make take 4 KiB of headers as they come.
HEADER_MAX = 3_500


def purchase_at(path: str, chain: str = "evm") -> Purchase:
    return replace(Sandbox().purchase(), resource_url=f"https://shop.test{path}", chain=chain)


def said(path: str, chain: str = "evm") -> dict[str, Any]:
    found = discovery_of(purchase_at(path, chain))[BAZAAR]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("chain", ["evm", "solana"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_listing_accepts_it(path: str, chain: str) -> None:
    extension = said(path, chain)

    assert validate_discovery_extension(parse_discovery_extension(extension)).valid
    assert validate_discovery_extension_spec(extension).valid


@pytest.mark.parametrize("chain", ["evm", "solana"])
@pytest.mark.parametrize("path", ROUTES)
def test_its_example_is_a_body_that_the_contract_allows(path: str, chain: str) -> None:
    asked = load("openapi")["paths"][path]["post"]["requestBody"]
    body = said(path, chain)["info"]["input"]["body"]

    check_schema(body, asked["content"]["application/json"]["schema"])


def test_its_example_names_a_wallet_of_the_chain_asked_for() -> None:
    chains = [
        said("/v1/credits/purchase", chain)["info"]["input"]["body"]["wallet_chain"]
        for chain in ("evm", "solana")
    ]

    assert chains == ["evm", "solana"]


def test_it_says_how_the_route_is_called() -> None:
    info = extract_discovery_info_from_extension(said("/v1/credits/purchase"))

    assert info.input.method == "POST"
    assert info.input.body_type == "json"


def test_a_route_that_nobody_lists_says_nothing() -> None:
    assert discovery_of(purchase_at("/v1/other")) == {}


def test_a_prefix_of_the_gateway_is_no_other_route() -> None:
    assert said("/voice/v1/session") == said("/v1/session")


async def test_a_challenge_has_it_and_still_fits_in_a_header(sandbox: Sandbox) -> None:
    challenge = await sandbox.rail.challenge(sandbox.purchase())

    header = challenge.headers["PAYMENT-REQUIRED"]
    required = decode_payment_required_header(header)
    assert required.extensions == discovery_of(sandbox.purchase())
    assert required.resource is not None
    assert required.resource.service_name == "Payphone"
    assert len(header) < HEADER_MAX
