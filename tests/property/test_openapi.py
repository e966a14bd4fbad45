"""Whatever the contract lets people send, and much that it does not, gets an answer it names."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any
from uuid import UUID

import jwt
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from schemathesis.generation.modes import GenerationMode

from adapters.http.contract import load
from adapters.sfu.receiver import WEBHOOK_PATH
from adapters.speech.websocket import Streams
from domain.gateway import Terms
from tests.fakes.contract import check_answer
from tests.fakes.gateway import House
from tests.fakes.street import ROOMS_KEY, ROOMS_SECRET, Street, Wallet

SCHEMA = schemathesis.openapi.from_dict(load("openapi"))
# Who signs is what the tests below choose, and last of all.
SCHEMA.config.generation.update(with_security_parameters=False)
# A session may be over.
SCHEMA.config.checks.positive_data_acceptance.expected_statuses.append("410")
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]
CHECKS = [
    getattr(schemathesis.checks, name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]
ACCEPTED = schemathesis.checks.positive_data_acceptance
# What a schema cannot say in full: six decimal places, real dates, two names that differ, the end
# of the log, an upgrade.
LENIENT = {
    "getEntries",
    "getProof",
    "getStatement",
    "issueKey",
    "openAgentSession",
    "purchaseCredits",
    "stream",
}
# Every request takes seconds to arrive, so that limits of rate never hide what is behind them.
REQUEST_MS = 3_000
TERMS = Terms(units_max=100_000, api_rate_max=1_000)


# What the gateway's first answers name: ids count up from 1 there.
KNOWN = [str(UUID(int=number)) for number in range(1, 10)]
OPENED = (
    ("/v1/stt/session", {"duration_minutes": 60}),
    ("/v1/tts/session", {"max_characters": 1_000}),
    ("/v1/webrtc/token", {"room_name": "r", "participant_identity": "p", "duration_minutes": 60}),
    ("/v1/agent-session", {"room_name": "r", "participant_identity": "p", "duration_minutes": 60}),
)
# What chance alone does not find.
QUERIES: dict[str, list[dict[str, str]]] = {
    "getStatement": [
        {"from": "2023-11-14", "to": "2023-11-16"},
        {"from": "2023-11-14", "to": "2023-11-16", "format": "focus"},
    ],
    "getProof": [{"position": "1"}, {"first": "1", "second": "2"}],
}


class Signature(AuthBase):
    """Signs what is really sent, last of all."""

    def __init__(self, street: Street, wallet: Wallet) -> None:
        self._street = street
        self._wallet = wallet

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = request.path_url.partition("?")[0]
        if path == WEBHOOK_PATH:
            request.headers["Authorization"] = room_server_token(request.body or b"")
            return request
        now_s = self._street.house.clock.now_ms() // 1_000
        request.headers.update(self._wallet.headers(request.method or "", path, now_s))
        return request


def room_server_token(body: bytes | str) -> str:
    """As a LiveKit server signs a webhook."""
    raw = body.encode() if isinstance(body, str) else body
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
    claims = {"iss": ROOMS_KEY, "sha256": digest, "exp": 10**10}
    return jwt.encode(claims, ROOMS_SECRET, algorithm="HS256")


class LiveStreet:
    """A gateway in a thread of its own: Schemathesis calls it as any client, and blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.street = Street(House(terms=TERMS))
        self.street.stream = Streams(self.street.house.gateway).handle
        self.run(self.street.open())
        self.run(self.street.fund(10**15))
        for path, body in OPENED:
            self.run(self.street.post(path, body))
        self.http = requests.Session()
        self.http.trust_env = False

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def close(self) -> None:
        self.http.close()
        self.run(self.street.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, case: schemathesis.Case, *, signed: bool) -> None:
        self.run(self.street.house.clock.advance(REQUEST_MS))
        auth = Signature(self.street, self.street.alice) if signed else None
        url = f"http://127.0.0.1:{self.street.port}"
        answer = case.call(base_url=url, session=self.http, auth=auth, allow_redirects=False)
        strict = case.operation.definition.raw["operationId"] not in LENIENT
        case.validate_response(answer, checks=[*CHECKS, *[ACCEPTED] * strict])
        check_answer(
            str(answer.request.method),
            answer.request.path_url,
            status=answer.status_code,
            headers=CaseInsensitiveDict({name: all_[0] for name, all_ in answer.headers.items()}),
            text=answer.text,
        )


def about_what_is_there(case: schemathesis.Case, number: int) -> schemathesis.Case:
    """The same request about a session, a bundle or a time that there is."""
    known = KNOWN[number % len(KNOWN)]
    if "id" in case.path_parameters:
        case.path_parameters["id"] = known
    if isinstance(case.body, dict):
        case.body |= {name: known for name in ("session_id", "bundle_id") if name in case.body}
    queries = QUERIES.get(case.operation.definition.raw["operationId"])
    if queries:
        case.query = dict(queries[number % len(queries)])
    return case


@pytest.fixture(scope="module")
def live() -> Iterator[LiveStreet]:
    opened = LiveStreet()
    yield opened
    opened.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_gets_an_answer_that_is_not_in_the_contract(
    operation: Any,  # noqa: ANN401 (the library's own, without a type)
    live: LiveStreet,
) -> None:
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    cases = st.one_of(
        allowed,
        st.builds(about_what_is_there, allowed, st.integers(0, len(KNOWN) - 1)),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @settings(
        settings.default,
        max_examples=settings.default.max_examples // 5,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, signed=st.sampled_from([True, True, True, False]))
    def holds(case: schemathesis.Case, signed: bool) -> None:  # noqa: FBT001 (drawn)
        live.call(case, signed=signed)

    holds()
