"""Stored events are a file format: whatever was written once is read for ever (specs/ledger.md)."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.utils import get_topic, resolve_topic

from domain.ledger import AGGREGATES
from domain.merkle import leaf_hash
from domain.record import Record
from tests.contract.golden import (
    ADVICE,
    catalogue,
    event_classes,
    losses,
    read_catalogue,
    read_vectors,
)
from tests.fakes.stored import decode, encode

VECTORS = read_vectors()


def record_of(vector: dict[str, Any]) -> Record:
    return Record(
        position=1,
        originator_id=UUID(vector["originator_id"]),
        originator_version=vector["originator_version"],
        topic=vector["topic"],
        state=vector["state"].encode(),
    )


def name_of(vector: dict[str, Any]) -> str:
    return f"{vector['topic']} v{vector['class_version']}"


def test_the_catalogue_is_what_the_code_writes() -> None:
    written, promised = catalogue(), read_catalogue()

    assert written == promised, ADVICE


def test_every_version_in_the_catalogue_has_a_golden_event() -> None:
    promised = {(topic, entry["class_version"]) for topic, entry in read_catalogue().items()}
    golden = {(vector["topic"], vector["class_version"]) for vector in VECTORS}

    assert promised <= golden, ADVICE


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_a_golden_event_is_still_read(vector: dict[str, Any]) -> None:
    event = decode(record_of(vector))

    assert type(event) is resolve_topic(vector["topic"])
    assert event.originator_id == UUID(vector["originator_id"])


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_a_golden_event_of_the_latest_version_is_written_byte_for_byte(
    vector: dict[str, Any],
) -> None:
    record = record_of(vector)
    event = decode(record)
    if vector["class_version"] < getattr(type(event), "class_version", 1):
        return

    assert encode(event, position=1) == record


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_a_golden_event_has_the_fields_of_its_version(vector: dict[str, Any]) -> None:
    promised = read_catalogue()[vector["topic"]]
    since, version = promised.get("since", {}), vector["class_version"]

    found = json.loads(vector["state"]).keys() - {"class_version"}

    assert found == {n for n in promised["fields"] if since.get(n, 1) <= version}


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_the_leaf_of_a_golden_event_never_changes(vector: dict[str, Any]) -> None:
    assert leaf_hash(record_of(vector).leaf).hex() == vector["leaf_sha256"]


def test_every_topic_is_its_aggregates_name_and_a_past_tense() -> None:
    for aggregate_topic, event_class in event_classes():
        aggregate, _, happened = get_topic(event_class).partition(".")

        assert aggregate == aggregate_topic
        assert happened
        assert event_class.__module__.startswith("domain.")


def test_no_two_events_share_a_topic() -> None:
    topics = [get_topic(event_class) for _, event_class in event_classes()]

    assert len(topics) == len(set(topics))


def test_every_aggregate_has_a_topic_of_its_own() -> None:
    topics = [aggregate.TOPIC for aggregate in AGGREGATES]

    assert sorted(set(topics)) == sorted(topics)


BEFORE = {"a.b": {"class_version": 1, "fields": {"x": "integer"}}}


@pytest.mark.parametrize(
    ("after", "loss"),
    [
        ({}, "a.b is gone"),
        ({"a.b": {"class_version": 2, "fields": {}}}, "a.b.x was integer, is None"),
        (
            {"a.b": {"class_version": 2, "fields": {"x": "string"}}},
            "a.b.x was integer, is string",
        ),
        (
            {"a.b": {"class_version": 1, "fields": {"x": "integer", "y": "string"}}},
            "a.b changed without a new class_version",
        ),
        (
            {"a.b": {"class_version": 0, "fields": {"x": "integer"}}},
            "a.b went back to class version 0",
        ),
    ],
)
def test_rewriting_the_catalogue_takes_nothing_away(after: dict[str, Any], loss: str) -> None:
    assert losses(BEFORE, after) == [loss]


def test_rewriting_the_catalogue_may_add() -> None:
    after = {
        "a.b": {"class_version": 2, "fields": {"x": "integer", "y": "string"}},
        "a.c": {"class_version": 1, "fields": {}},
    }

    assert losses(BEFORE, after) == []
