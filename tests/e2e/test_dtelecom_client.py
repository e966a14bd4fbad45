"""npm `@dtelecom/x402-client` 0.2.1, unmodified, against the sandbox gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from tests.e2e.conftest import start_gateway


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, node: Callable[..., str]
) -> Iterator[dict[str, Any]]:
    """What the client saw, method by method, with a wallet that nobody used before."""
    gateway = start_gateway(tmp_path_factory.mktemp("client") / "data")
    yield json.loads(node("contract.mjs", gateway.url, gateway.secret_key))
    assert gateway.stop() == 0


def test_the_client_finds_every_field_it_reads(told: dict[str, Any]) -> None:
    assert told["missing"] == []


def test_purchases_are_credited_in_full(told: dict[str, Any]) -> None:
    first, account = told["answers"]["buyCredits"], told["answers"]["getAccount"]

    assert first["creditedMicrocredits"] == "100000"
    assert first["amountUsd"] == 0.1
    assert account["creditBalance"] == "1100000"
    assert account["id"] == first["accountId"]


def test_values_are_typed_as_the_contract_says(told: dict[str, Any]) -> None:
    account = told["answers"]["getAccount"]

    assert isinstance(account["maxConcurrentSessions"], int)
    assert isinstance(account["maxApiRate"], int | float)
    assert account["walletChain"] == "evm"
    UUID(account["id"])
    datetime.fromisoformat(account["createdAt"])
    for row in told["answers"]["getTransactions"]["transactions"]:
        int(row["amount"]), int(row["balanceAfter"])
        UUID(row["id"])
        datetime.fromisoformat(row["createdAt"])
    for row in told["answers"]["getSessions"]["sessions"]:
        int(row["reservedMicrocredits"]), int(row["chargedMicrocredits"])
        assert isinstance(row["settlementMethod"], str)
        datetime.fromisoformat(row["tokenExpiresAt"])


def test_sessions_reserve_what_they_cost(told: dict[str, Any]) -> None:
    rows = told["answers"]["getSessions"]["sessions"]
    reserved = sum(int(row["reservedMicrocredits"]) for row in rows)
    balance = sum(int(r["amount"]) for r in told["answers"]["getTransactions"]["transactions"])

    # stt 2 min, tts 1,000 characters, webrtc 3 min; agent session: 17 min x (2 x 1,000 + 6,000)
    # and 10,100 characters.
    assert reserved == 12_000 + 8_000 + 3_000 + 17 * 8_000 + 80_800
    assert balance == 1_100_000 - reserved


def test_a_dual_agent_session_has_four_tickets(told: dict[str, Any]) -> None:
    agent = told["answers"]["createAgent"]
    tickets = [agent["webrtc"]["agent"], agent["webrtc"]["client"], agent["stt"], agent["tts"]]

    assert len({ticket["sessionId"] for ticket in tickets}) == 4
    assert all(ticket["token"].count(".") == 2 for ticket in tickets)
    assert agent["stt"]["serverUrl"].startswith("http://127.0.0.1:")
    assert set(told["answers"]["extendAgent"]) == {"webrtc", "stt", "tts"}


def test_extending_speech_gives_the_new_total(told: dict[str, Any]) -> None:
    assert told["answers"]["extendTTS"]["maxCharacters"] == 1_000


@pytest.mark.parametrize(
    ("case", "name", "status"),
    [
        ("poor", "InsufficientCreditsError", 402),
        ("foreign", "GatewayError", 404),
        ("invalid", "GatewayError", 400),
        ("tooSmall", "GatewayError", 400),
        ("tooLarge", "PaymentError", 402),
    ],
)
def test_refusals_become_the_clients_own_errors(
    told: dict[str, Any], case: str, name: str, status: int
) -> None:
    error = told["errors"][case]

    assert (error["name"], error["status"]) == (name, status)
    assert "[object Object]" not in error["message"]
    assert not error["message"].startswith("{")
