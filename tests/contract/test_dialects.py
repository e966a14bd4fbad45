"""Replays the recorded frames of specs/speech/vectors through each dialect, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

from adapters.speech.close import CODES, closing
from adapters.speech.dialect import Dialect, Frame
from adapters.speech.dtelecom import DTelecomDialect
from domain import errors, money
from domain.errors import GatewayError, MalformedError
from domain.ports import speech
from domain.use_cases import meter, speech_messages
from domain.use_cases.meter import Over
from domain.use_cases.speech_messages import (
    Failed,
    Farewell,
    Inbound,
    Left,
    Outbound,
    Rejected,
    ShuttingDown,
    TakenOver,
    TooLarge,
)

Json = Any
DIALECTS: dict[str, type[Dialect]] = {"dtelecom": DTelecomDialect}
VECTORS = Path(__file__).parents[2] / "specs" / "speech" / "vectors"
FILES = sorted(VECTORS.glob("*.jsonl"))
# What no frame says: the runtime makes these of frames that mean nothing, or are too large.
MADE_BY_DRIVE = {"Misheard", "TooLarge"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def built(value: Json) -> Json:
    """`{"Kind": {…}}` as the message, value or refusal of that name."""
    if not isinstance(value, dict):
        return value
    ((name, fields),) = value.items()
    if name == "hex":
        return bytes.fromhex(fields)
    if name == "uuid":
        return UUID(fields)
    modules = (speech_messages, meter, speech, errors, money)
    kind = next(getattr(module, name) for module in modules if hasattr(module, name))
    return kind(**{field: built(inner) for field, inner in fields.items()})


def framed(value: Json) -> Frame:
    if isinstance(value, str):
        return value
    return bytes.fromhex(value["hex"]) if "hex" in value else json.dumps(value)


def read(frame: Frame) -> Json:
    return {"hex": frame.hex()} if isinstance(frame, bytes) else json.loads(frame)


def replay(path: Path) -> Iterator[tuple[Dialect, dict[str, Any]]]:
    kind = DIALECTS[path.stem.partition("-")[0]]
    dialect = kind()
    for line in lines(path):
        if "new" in line:
            dialect = kind()
        else:
            yield dialect, line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_frames_mean_what_they_did_when_they_were_recorded(path: Path) -> None:
    for dialect, line in replay(path):
        if "means" in line:
            assert dialect.decode(framed(line["peer"])) == built(line["means"])
        elif "refused" in line:
            with pytest.raises(GatewayError) as refused:
                dialect.decode(framed(line["peer"]))
            facts = {"code": refused.value.code} | vars(refused.value)
            assert facts | line["refused"] == facts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_messages_are_said_as_they_were_when_they_were_recorded(path: Path) -> None:
    for dialect, line in replay(path):
        if "peer" in line and "means" in line:
            dialect.decode(framed(line["peer"]))
        elif "told" in line:
            assert [read(f) for f in dialect.encode(built(line["told"]))] == line["frames"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_message_is_recorded(dialect: str) -> None:
    recorded = list(chain.from_iterable(map(lines, VECTORS.glob(f"{dialect}-*.jsonl"))))
    meant = {name for line in recorded for name in line.get("means", ())}
    told = {name for line in recorded for name in line.get("told", ())}

    assert meant == {kind.__name__ for kind in get_args(Inbound)} - MADE_BY_DRIVE
    assert told == {kind.__name__ for kind in get_args(Outbound)}


def all_refusals(kind: type[GatewayError] = GatewayError) -> set[type[GatewayError]]:
    own = {found for found in kind.__subclasses__() if found.__module__ == errors.__name__}
    return own.union(*map(all_refusals, own))


def test_every_refusal_has_a_close_code() -> None:
    assert set(CODES) == all_refusals()


@pytest.mark.parametrize(
    ("farewell", "code"),
    [
        (Left(), 1000),
        (ShuttingDown(), 1001),
        (TooLarge(5), 1009),
        (Failed(), 1011),
        (TakenOver(), 4409),
        (Over("spent", 1, 1), 4410),
        (Rejected(errors.UnauthenticatedError("no")), 4401),
        (Rejected(errors.NotFoundError("Session")), 4404),
        (Rejected(errors.NoCapacityError("stt")), 4503),
    ],
)
def test_every_last_word_has_a_close_code(farewell: Farewell, code: int) -> None:
    assert closing(farewell).code == code


def test_a_close_reason_fits_its_frame_in_whole_characters() -> None:
    refusal = MalformedError(where="language", expected="é" * 100, got="x")

    reason = closing(Rejected(refusal)).reason

    assert len(reason.encode()) <= 123
    assert reason.startswith("malformed: language: expected ééé")
