from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.speech.dtelecom import DTelecomDialect
from domain.errors import GatewayError, MalformedError
from domain.use_cases.speech_messages import SayAsked, VoiceChoice

FIELDS = st.sampled_from(
    ["type", "text", "config", "session_key", "voice", "speed", "lang_code", "language", "model"]
)
KINDS = st.sampled_from(["config", "clear", "flush", "reset", "ping", "extend", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
)
FRAMES = (
    st.text()
    | st.binary(max_size=64)
    | st.dictionaries(FIELDS, VALUES, max_size=5).map(json.dumps)
    | st.sampled_from(["[" * 100_000, "1" * 5_000, '{"speed":1' + "0" * 400 + "}"])
)
OPENINGS = st.sampled_from(['{"type":"config","session_key":"k"}', '{"session_key":"k"}', ""])


@given(OPENINGS, st.lists(FRAMES, max_size=5))
def test_no_frame_of_a_peer_breaks_the_dialect(opening: str, frames: list[str | bytes]) -> None:
    dialect = DTelecomDialect()

    for frame in (opening, *frames):
        with suppress(GatewayError):
            dialect.decode(frame)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(0.5, 2.0))
def test_a_text_comes_through_as_it_was_sent(text: str, speed: float) -> None:
    dialect = DTelecomDialect()
    dialect.decode('{"session_key":"k"}')

    asked = dialect.decode(json.dumps({"text": text, "speed": speed}))

    assert asked == SayAsked(text, VoiceChoice(speed=speed))


def test_a_refusal_shows_little_of_what_the_peer_sent() -> None:
    dialect = DTelecomDialect()
    dialect.decode('{"session_key":"k"}')

    with pytest.raises(MalformedError) as refused:
        dialect.decode(json.dumps({"type": "x" * 10_000}))

    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "frame", ['{"text":"a","voice":"%s"}' % ("x" * 257), '{"text":"a","speed":1' + "0" * 400 + "}"]
)
def test_a_choice_beyond_measure_is_malformed(frame: str) -> None:
    dialect = DTelecomDialect()
    dialect.decode('{"session_key":"k"}')

    with pytest.raises(MalformedError):
        dialect.decode(frame)


def test_no_message_shows_its_session_key() -> None:
    asked = DTelecomDialect().decode('{"type":"config","session_key":"do-not-show"}')

    assert "do-not-show" not in repr(asked)
