"""npm `@dtelecom/x402-client` 0.2.1, unmodified, against the sandbox gateway."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
import pytest
from aiohttp import web

from adapters.http.errors import STATUS, refused
from adapters.http.server import Runner
from domain.errors import ConcurrencyLimitError, GatewayError
from tests.contract.test_errors import SAMPLES
from tests.e2e.conftest import start_gateway

# What the client reads of each answer (reference: its source); `[]` is each of a list.
TICKET = {"session_id", "token", "server_url"}
READ = {
    "buyCredits": {"account_id", "credited_microcredits", "amount_usd"},
    "getAccount": {
        *("id", "wallet_address", "wallet_chain", "credit_balance", "available_balance"),
        *("max_concurrent_sessions", "max_api_rate", "created_at"),
    },
    "createSTT": {*TICKET, "expires_at"},
    "extendSTT": {"token", "new_expires_at"},
    "createTTS": {*TICKET, "expires_at"},
    "extendTTS": {"token", "max_characters", "new_expires_at"},
    "createWebRTC": {"session_id", "token", "ws_url", "expires_at"},
    "extendWebRTC": {"token", "ws_url", "new_expires_at"},
}


@pytest.fixture(scope="module", params=["evm", "solana"])
def told(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    node: Callable[..., str],
) -> Iterator[dict[str, Any]]:
    """What the client saw, method by method, with a wallet that nobody used before."""
    gateway = start_gateway(tmp_path_factory.mktemp("client") / "data")
    play = gateway.ready["sandbox"]
    secret = play["evm_private_key" if request.param == "evm" else "solana_secret_key"]
    solana = f"--solana={play['solana_rpc_url']}"
    yield {
        "chain": request.param,
        **json.loads(node("contract.mjs", gateway.url, request.param, secret, solana)),
    }
    assert gateway.stop() == 0


def test_the_client_finds_every_field_it_reads(told: dict[str, Any]) -> None:
    assert told["missing"] == []


def test_the_client_can_use_every_amount_and_time_it_reads(told: dict[str, Any]) -> None:
    assert told["wrong"] == []


def test_the_client_reads_what_the_contract_names(told: dict[str, Any]) -> None:
    read = {name: set(names) for name, names in told["reads"].items()}

    for name, names in READ.items():
        if name in read:
            assert read[name] == names, name
    assert len(read["getSessions"]) == 3 + 13
    assert len(read["getTransactions"]) == 3 + 8


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
    assert account["walletChain"] == told["chain"]
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
    # and 10,100 characters; twice a hundredth of a minute of stt.
    assert reserved == 12_000 + 8_000 + 3_000 + 17 * 8_000 + 80_800 + 2 * 60
    assert balance == 1_100_000 - reserved


def test_a_dual_agent_session_has_four_tickets(told: dict[str, Any]) -> None:
    agent = told["answers"]["createAgent"]
    tickets = [agent["webrtc"]["agent"], agent["webrtc"]["client"], agent["stt"], agent["tts"]]

    assert len({ticket["sessionId"] for ticket in tickets}) == 4
    assert all(ticket["token"].count(".") == 2 for ticket in tickets)
    assert agent["stt"]["serverUrl"].startswith("http://127.0.0.1:")
    assert set(told["answers"]["extendAgent"]) == {"webrtc", "stt", "tts"}


def test_the_tutors_request_lets_both_people_into_one_room(told: dict[str, Any]) -> None:
    """As ai-tutor-demo asks: 16 minutes, a name as people have them, `127.0.0.1` for an address."""
    rooms = told["answers"]["createAgent"]["webrtc"]
    agent, client = (claims_of(rooms[role]["token"]) for role in ("agent", "client"))

    assert (agent["sub"], client["sub"]) == ("agent", "Zoë Ångström 学生")
    assert (agent["name"], client["name"]) == (agent["sub"], client["sub"])
    assert agent["video"] == client["video"]
    assert agent["video"]["room"].endswith(".tutor")
    assert agent["webHookURL"] != client["webHookURL"]


@pytest.mark.parametrize("role", ["agent", "client"])
def test_an_extended_token_is_the_same_but_for_its_end(told: dict[str, Any], role: str) -> None:
    sold, more = (
        claims_of(told["answers"][call]["webrtc"][role]["token"])
        for call in ("createAgent", "extendAgent")
    )

    assert more == sold | {"exp": sold["exp"] + 60}


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def test_two_identical_calls_in_one_second_are_two_sessions(told: dict[str, Any]) -> None:
    first, second = told["answers"]["twinSessions"]

    assert first["sessionId"] != second["sessionId"]


def test_pages_are_as_asked_and_else_as_the_contract_says(told: dict[str, Any]) -> None:
    page, rows = told["answers"]["page"], told["answers"]["getSessions"]["sessions"]
    bare = told["answers"]["bare"]

    assert (page["limit"], page["offset"]) == (2, 1)
    assert page["sessions"] == rows[1:3]
    assert (bare["limit"], bare["offset"]) == (50, 0)


def test_extending_speech_gives_the_new_total(told: dict[str, Any]) -> None:
    assert told["answers"]["extendTTS"]["maxCharacters"] == 1_000


@pytest.mark.parametrize(
    ("case", "name", "status"),
    [
        ("poor", "InsufficientCreditsError", 402),
        ("foreign", "GatewayError", 404),
        ("invalid", "GatewayError", 400),
        ("badStatus", "GatewayError", 400),
        ("badLimit", "GatewayError", 400),
        ("badOffset", "GatewayError", 400),
    ],
)
def test_refusals_become_the_clients_own_errors(
    told: dict[str, Any], case: str, name: str, status: int
) -> None:
    check_refusal(told["errors"][case], name, status)


@pytest.mark.parametrize(
    ("case", "name", "status"),
    [
        ("newcomer", "GatewayError", 404),
        ("tooSmall", "GatewayError", 400),
        ("tooLarge", "PaymentError", 402),
    ],
)
def test_refused_purchases_become_the_clients_own_errors(
    told: dict[str, Any], case: str, name: str, status: int
) -> None:
    check_refusal(told["errors"][case], name, status)


def check_refusal(error: dict[str, Any], name: str, status: int) -> None:
    assert (error["own"], error["name"], error["status"]) == (name, name, status)
    assert "[object Object]" not in error["message"]
    assert not error["message"].startswith("{")


def test_who_never_paid_is_told_so(told: dict[str, Any]) -> None:

    assert told["errors"]["newcomer"]["message"] == "Account not found"


# What the client's source makes of a status and a text.
OWN = {402: "InsufficientCreditsError", 429: "RateLimitError", 503: "NoCapacityError"}
CALLS = ("account", "stt", "tts", "webrtc", "agent-session")


class Refusing:
    """Answers every path below `/<code>` with that refusal, by the program's own table."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(timeout=30)

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{code}/{path:.*}", self._refuse)
        self._runner = Runner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _refuse(self, request: web.Request) -> web.Response:
        code = request.match_info["code"]
        return refused(next(sample for sample in SAMPLES if sample.code == code))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def made_of(node: Callable[..., str]) -> Iterator[dict[str, Any]]:
    """What the client makes of each of our refusals, in each of its calls."""
    server = Refusing()
    cases = [f"{sample.code}/{call}" for sample in SAMPLES for call in CALLS]
    yield json.loads(node("refusals.mjs", server.url, *cases))
    server.close()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.code)
@pytest.mark.parametrize("call", CALLS)
def test_every_refusal_there_is_becomes_one_of_the_clients_errors(
    made_of: dict[str, Any], sample: GatewayError, call: str
) -> None:
    error, status = made_of[f"{sample.code}/{call}"], STATUS[type(sample)]

    wanted = OWN.get(status, "GatewayError")
    if isinstance(sample, ConcurrencyLimitError):
        wanted = "ConcurrencyLimitError"
    assert (error["own"], error["status"]) == (wanted, status)
    assert error["message"] == str(sample)
    if status == 503:
        assert error["service"] == call
