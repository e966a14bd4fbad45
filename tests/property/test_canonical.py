"""Our canonical JSON against the RFC 8785 package, for what events hold."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from domain.record import Record, canonical
from tests.strategies import event_fields, ids, texts


@given(event_fields)
def test_event_shaped_values_are_written_as_rfc_8785_says(value: dict[str, Any]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(event_fields)
def test_what_is_written_reads_back_equal(value: dict[str, Any]) -> None:
    assert json.loads(canonical(value)) == value


@given(texts)
def test_any_text_is_written_as_rfc_8785_says(text: str) -> None:
    assert canonical(text) == rfc8785.dumps(text)


@given(ids, st.integers(1, 10**6), st.from_regex(r"[a-z]+\.[a-z_]+", fullmatch=True), event_fields)
def test_a_leaf_is_the_canonical_form_of_the_whole_event(
    originator_id: UUID, version: int, topic: str, fields: dict[str, Any]
) -> None:
    record = Record(
        position=1,
        originator_id=originator_id,
        originator_version=version,
        topic=topic,
        state=canonical(fields),
    )

    assert record.leaf == rfc8785.dumps(
        {
            "originator_id": str(originator_id),
            "originator_version": version,
            "state": fields,
            "topic": topic,
        }
    )
    assert record.fields == fields


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        canonical({"payer": "\ud800"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_json_does_not_know_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"amount": value})


def test_an_object_of_ours_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical({"id": UUID(int=1)})
