"""`specs/asyncapi.yaml` says what the dTelecom dialect says, frame by frame of its vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.http.contract import load
from adapters.http.contract_text import resolved
from adapters.speech.close import CODES, GOING_AWAY, INTERNAL, TOO_BIG

DOCUMENT = load("asyncapi")
VECTORS = sorted((Path(__file__).parents[2] / "specs" / "speech" / "vectors").glob("dtelecom-*"))
# Whether the peer sends (`receive`, as we see it), and whether the connection speaks.
OPERATIONS = {
    (True, False): "hear",
    (False, False): "write",
    (True, True): "read",
    (False, True): "say",
}


def messages(operation: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The names and messages of one direction of a connection."""
    for reference in DOCUMENT["operations"][operation]["messages"]:
        yield reference["$ref"].rpartition("/")[2], resolved(DOCUMENT, reference)


def fits(frame: object, message: Mapping[str, Any], *, closed: bool) -> bool:
    """Whether a frame is this message; `closed`: with no field that the message does not name."""
    binary = message.get("contentType") == "application/octet-stream"
    if isinstance(frame, dict) and frame.keys() == {"hex"}:
        return binary
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    if closed:
        schema.setdefault("additionalProperties", False)
    return not binary and Draft202012Validator(schema).is_valid(frame)


def steps() -> Iterator[tuple[bool, Any]]:
    """Every step of every vector, with whether its connection speaks."""
    for path in VECTORS:
        speaks = False
        for line in path.read_text("utf-8").splitlines():
            step = json.loads(line)
            if "new" in step or "ListenAsked" in step.get("means", ()):
                speaks = False
            elif "SpeakAsked" in step.get("means", ()):
                speaks = True
            yield speaks, step


def told() -> list[tuple[bool, object]]:
    return [(speaks, frame) for speaks, step in steps() for frame in step.get("frames", ())]


def understood() -> list[tuple[bool, object]]:
    return [(speaks, step["peer"]) for speaks, step in steps() if "means" in step]


def names(frame: object, *, from_peer: bool, speaks: bool) -> list[str]:
    operation = OPERATIONS[from_peer, speaks]
    return [
        name for name, message in messages(operation) if fits(frame, message, closed=not from_peer)
    ]


@pytest.mark.parametrize(("speaks", "frame"), told(), ids=str)
def test_what_we_say_is_one_message_of_the_document(
    speaks: bool,  # noqa: FBT001 (a parameter of the test)
    frame: object,
) -> None:
    assert len(names(frame, from_peer=False, speaks=speaks)) == 1


@pytest.mark.parametrize(("speaks", "frame"), understood(), ids=str)
def test_what_we_understand_is_in_the_document(
    speaks: bool,  # noqa: FBT001 (a parameter of the test)
    frame: object,
) -> None:
    assert names(frame, from_peer=True, speaks=speaks) != []


def test_every_message_of_ours_is_shown_by_a_vector() -> None:
    documented = {name for op in ("write", "say") for name, _ in messages(op)}
    shown = {n for speaks, frame in told() for n in names(frame, from_peer=False, speaks=speaks)}

    assert documented - shown == set()


def test_every_message_is_in_the_channel_and_in_an_operation() -> None:
    declared = set(DOCUMENT["components"]["messages"])
    used = {name for operation in DOCUMENT["operations"] for name, _ in messages(operation)}

    assert declared == set(DOCUMENT["channels"]["stream"]["messages"]) == used


def test_every_close_code_is_explained() -> None:
    text = DOCUMENT["info"]["description"]

    codes = {*CODES.values(), GOING_AWAY, INTERNAL, TOO_BIG}
    assert [code for code in codes if str(code) not in text] == []
