from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fleet.words import (
    card_of,
    card_words,
    parse,
    refusal_of,
    refusal_words,
    standing_of,
    standing_words,
    usage_of,
    usage_words,
)
from domain.errors import (
    BusyError,
    GatewayError,
    LedgerDownError,
    MalformedError,
    NotFoundError,
    SessionOverError,
)
from domain.ports.speech import EngineTraits
from domain.ports.speech_servers import SpeechServer
from domain.usage import Standing, Usage

COUNTS = st.integers(0, 2**53 - 1)
USAGE = st.builds(
    Usage,
    session_id=st.uuids(),
    connection_id=st.uuids(),
    from_ms=COUNTS,
    to_ms=COUNTS,
    runs=st.booleans(),
    characters=COUNTS,
    is_spent=st.booleans(),
)
STANDING = st.builds(
    Standing,
    session_id=st.uuids(),
    service=st.text(),
    unit=st.text(),
    rate_microcredits=COUNTS,
    rate_per=COUNTS,
    price_book=st.text(),
    quantity=COUNTS,
    used=COUNTS,
    opened_at_ms=COUNTS,
    expires_at_ms=COUNTS,
    is_open=st.booleans(),
    reason=st.text(),
    charged=COUNTS,
)
SERVER = SpeechServer(
    service="stt",
    url="http://stt.test",
    name="one",
    regions=frozenset({"eu"}),
    live=1,
    capacity=2,
    traits=EngineTraits(name="ear", languages=frozenset({"en"}), voices={"v": "en"}),
)


@given(USAGE)
def test_a_report_arrives_as_it_was_sent(usage: Usage) -> None:
    assert usage_of(json.loads(json.dumps(usage_words(usage)))) == usage


@given(STANDING)
def test_a_standing_arrives_as_it_was_sent(standing: Standing) -> None:
    assert standing_of(json.loads(json.dumps(standing_words(standing)))) == standing


def test_a_card_arrives_as_it_was_sent() -> None:
    assert card_of(json.loads(json.dumps(card_words(SERVER))), name="one") == SERVER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service", "webrtc"),
        ("service", None),
        ("url", "ftp://stt.test"),
        ("url", "http://stt.test/"),
        ("regions", "eu"),
        ("regions", [1]),
        ("live", -1),
        ("live", True),
        ("capacity", 1.5),
        ("ready", 1),
        ("voices", []),
        ("languages", None),
    ],
)
def test_a_card_that_is_wrong_says_where(name: str, value: object) -> None:
    with pytest.raises(MalformedError) as refused:
        card_of(card_words(SERVER) | {name: value}, name="one")

    assert refused.value.where == name


@pytest.mark.parametrize("words", [None, [], "x", {}, {"session_id": "x"}])
def test_what_is_no_report_is_malformed(words: object) -> None:
    with pytest.raises(MalformedError):
        usage_of(words)


@pytest.mark.parametrize("text", ["", "[]", "nul", "1", "[" * 10_000, '{"a": 1'])
def test_what_is_no_object_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text)


@pytest.mark.parametrize(
    "refusal",
    [
        SessionOverError(session_id=str(UUID(int=1)), reason="spent"),
        NotFoundError(what="Session"),
        BusyError(retry_after_ms=7),
        LedgerDownError(),
    ],
)
def test_a_refusal_is_the_same_at_the_other_end(refusal: GatewayError) -> None:
    heard = refusal_of(refusal_words(refusal), session_id=UUID(int=1))

    assert (type(heard), vars(heard)) == (type(refusal), vars(refusal))
