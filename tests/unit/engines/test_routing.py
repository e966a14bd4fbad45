from __future__ import annotations

import pytest

from domain.errors import MalformedError
from engines.routing import AUTO, Capability, language_of, route

WHISPER = Capability("whisper", frozenset({"en", "es", "ja"}))
PARAKEET = Capability("parakeet", frozenset({"en", "es"}))
BOTH = (PARAKEET, WHISPER)


@pytest.mark.parametrize("asked", ["", "auto", "AUTO", "multi"])
def test_no_language_means_detection_e5(asked: str) -> None:
    assert language_of(asked, BOTH) == AUTO


@pytest.mark.parametrize(("asked", "code"), [("en", "en"), ("EN-us", "en"), ("es_MX", "es")])
def test_a_region_does_not_matter_e5(asked: str, code: str) -> None:
    assert language_of(asked, BOTH) == code


@pytest.mark.parametrize("asked", ["klingon", "xx", "1"])
def test_an_unknown_language_is_malformed_e5(asked: str) -> None:
    with pytest.raises(MalformedError, match="language"):
        language_of(asked, BOTH)


def test_a_model_asked_for_by_name_is_taken_although_busy_e5() -> None:
    assert route(model="Whisper", language="en", table=BOTH, busy={"whisper"}) == "whisper"


@pytest.mark.parametrize("model", ["parakeet", "gpt"])
def test_a_model_that_is_not_loaded_is_malformed_e5(model: str) -> None:
    with pytest.raises(MalformedError, match="model"):
        route(model=model, language="en", table=(WHISPER,))


def test_a_model_that_does_not_know_the_language_is_malformed_e5() -> None:
    with pytest.raises(MalformedError, match="language"):
        route(model="parakeet", language="ja", table=BOTH)


def test_detection_goes_to_the_engine_that_knows_every_language_e5() -> None:
    assert route(model="", language=AUTO, table=BOTH) == "whisper"


def test_the_first_engine_of_the_table_that_is_free_takes_a_known_language_e5() -> None:
    assert route(model="", language="en", table=BOTH) == "parakeet"
    assert route(model="", language="en", table=BOTH, busy={"parakeet"}) == "whisper"


def test_where_all_are_busy_the_first_gets_the_queue_e5() -> None:
    busy = {"parakeet", "whisper"}

    assert route(model="", language="en", table=BOTH, busy=busy) == "parakeet"
