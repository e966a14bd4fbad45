"""Whatever the contract lets people send, and much that it does not, gets an answer it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from schemathesis.generation.modes import GenerationMode

from adapters.http.contract import load
from tests.fakes.contract import check_answer
from tests.fakes.live_street import LiveStreet, is_sent_as_drawn

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
    )
]
ACCEPTED = schemathesis.checks.positive_data_acceptance
REJECTED = schemathesis.checks.negative_data_rejection
# What a schema cannot say in full: six decimal places, real dates, two names that differ, the end
# of the log, an upgrade, text of whole characters.
LENIENT = {
    "askRefund",
    "buyExtension",
    "buySession",
    "getEntries",
    "getProof",
    "getStatement",
    "issueKey",
    "openAgentSession",
    "purchaseCredits",
    "purchaseCreditsByMpp",
    "purchaseCreditsOnTron",
    "stream",
    "takeWebhook",
}
# What the gateway's first answers name: ids count up from 1 there.
KNOWN = [str(UUID(int=number)) for number in range(1, 10)]
# What chance alone does not find.
QUERIES: dict[str, list[dict[str, str]]] = {
    "getStatement": [
        {"from": "2023-11-14", "to": "2023-11-16"},
        {"from": "2023-11-14", "to": "2023-11-16", "format": "focus"},
    ],
    "getProof": [{"position": "1"}, {"first": "1", "second": "2"}],
}


def call(live: LiveStreet, case: schemathesis.Case, *, signed: bool) -> None:
    """Send it, and hold the answer to the contract."""
    live.pass_time()
    auth = live.signature if signed else None
    answer = case.call(base_url=live.url, session=live.http, auth=auth, allow_redirects=False)
    strict = case.operation.definition.raw["operationId"] not in LENIENT
    checks = [*CHECKS, *[ACCEPTED] * strict, *[REJECTED] * is_sent_as_drawn(case.query)]
    case.validate_response(answer, checks=checks)
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
        max_examples=settings.default.max_examples // 4,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, signed=st.sampled_from([True, True, True, False]))
    def holds(case: schemathesis.Case, signed: bool) -> None:  # noqa: FBT001 (drawn)
        call(live, case, signed=signed)

    holds()
