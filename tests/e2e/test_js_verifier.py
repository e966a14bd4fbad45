"""Two verifiers, written apart, say the same of every bill: ours in Python, and the JavaScript."""

from __future__ import annotations

import base64
import copy
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from adapters.keys import Ed25519Signer, check_signature
from domain.audit import AuditError, parse_bill, verify_bill
from domain.checkpoint import SignerKey
from tests.e2e.conftest import ROOT
from tests.fakes.bills import Tale, lies
from tests.fakes.log import SIGNER_KEY
from tests.fixtures.make import FIXTURES

VERIFIER = ROOT / "adapters" / "http" / "verifier"
CHECK_MANY = Path(__file__).parent / "verifier" / "check_many.mjs"
# Throwaway: 32 bytes of 0x09.
FORGER = Ed25519Signer(b"\x09" * 32)
SEED = 20
Where = tuple[str | int, ...]
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node 20 on PATH")


@dataclass(frozen=True)
class Said:
    """What a verifier says of a bill; `where` is empty for one that holds."""

    where: str
    charged: int = 0
    events: int = 0


CheckMany = Callable[[list[bytes]], list[Said]]


@pytest.fixture
def javascript(tmp_path: Path) -> CheckMany:
    def check(files: list[bytes]) -> list[Said]:
        bills = tmp_path / "bills"
        bills.write_bytes(b"".join(base64.b64encode(file) + b"\n" for file in files))
        answers = node(str(CHECK_MANY), str(VERIFIER / "verify.mjs"), str(bills), SIGNER_KEY.text)
        return [said(json.loads(line)) for line in answers.stdout.splitlines()]

    return check


def node(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["node", *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == status, done.stderr[-2_000:]
    return done


def said(answer: dict[str, Any]) -> Said:
    if answer["verified"]:
        return Said("", charged=int(answer["charged"]), events=answer["events"])
    return Said(answer["where"])


def python(file: bytes) -> Said:
    try:
        verdict = verify_bill(parse_bill(file), check=check_signature, trusted=SIGNER_KEY)
    except AuditError as broken:
        return Said(broken.where)
    return Said("", charged=verdict.charged, events=verdict.events)


def tales(count: int) -> Iterator[Tale]:
    """Histories of all services, with pauses, crashes, extensions and refused steps."""
    chance = random.Random(SEED)  # noqa: S311 (a test's histories, the same each time)
    kinds = ("wait", "wait", "resume", "pause", "observe", "crash", "extend", "speak")
    for _ in range(count):
        service = chance.choice(["stt", "tts", "webrtc"])
        steps = [
            (
                kind,
                chance.choice(
                    [1, 2, 3] if kind in ("resume", "pause", "observe") else [1, 700, 90_000]
                ),
            )
            for kind in chance.choices(kinds, k=chance.randrange(25))
        ]
        yield Tale(service=service, quantity=2_000 if service == "tts" else 120_000, steps=steps)


CLOCKED = Tale(
    steps=(
        *(("resume", 1), ("wait", 7_001), ("observe", 1), ("resume", 2), ("wait", 3_000)),
        *(("crash", 0), ("extend", 30_000), ("resume", 3), ("wait", 12_345), ("pause", 3)),
    )
)
SPOKEN = Tale(service="tts", quantity=1_000, steps=(("speak", 210), ("wait", 5), ("speak", 333)))
BILLS = [pytest.param(CLOCKED, id="clocked"), pytest.param(SPOKEN, id="spoken")]


def assert_same(files: list[bytes], javascript: CheckMany) -> list[Said]:
    """Both say the same of each; what they say."""
    theirs = javascript(files)
    ours = [python(file) for file in files]

    differing = {
        (mine, other): file
        for mine, other, file in zip(ours, theirs, files, strict=True)
        if mine != other
    }
    assert not differing, list(differing)
    return ours


def test_every_honest_bill_verifies_in_both(javascript: CheckMany) -> None:
    files = [tale.file() for tale in tales(300)]

    assert all(said.where == "" for said in assert_same(files, javascript))


@pytest.mark.parametrize("tale", BILLS)
def test_every_changed_value_is_found_by_both_in_the_same_place(
    tale: Tale, javascript: CheckMany
) -> None:
    document = tale.document()
    files = [
        encoded(document, where, other)
        for where in places(document)
        for other in others(at(document, where))
    ]

    assert all(said.where for said in assert_same(files, javascript))


@pytest.mark.parametrize("tale", BILLS)
def test_every_wrong_posting_and_version_is_found_by_both(
    tale: Tale, javascript: CheckMany
) -> None:
    assert all(said.where for said in assert_same(list(lies(tale)), javascript))


def test_bills_of_older_releases_verify_in_both(javascript: CheckMany) -> None:
    files = [path.read_bytes() for path in sorted(FIXTURES.glob("*/bills/*.json"))]

    assert files
    assert all(said.where == "" for said in assert_same(files, javascript))


@pytest.mark.parametrize("tale", BILLS)
def test_every_missing_renamed_or_added_field_is_found_by_both(
    tale: Tale, javascript: CheckMany
) -> None:
    document = tale.document()
    files = []
    for where in places(document, kind=dict):
        fields = at(document, where)
        files.append(encoded(document, where, {**fields, "note": "paid in full"}))
        for name in fields:
            fewer = {other: value for other, value in fields.items() if other != name}
            files.append(encoded(document, where, fewer))
            files.append(encoded(document, where, {**fewer, f"{name}x": fields[name]}))

    assert all(said.where for said in assert_same(files, javascript))


def test_events_that_are_missing_doubled_or_moved_are_found_by_both(javascript: CheckMany) -> None:
    document = CLOCKED.document()
    events = document["evidence"]["events"]
    where = ("evidence", "events")
    files = [encoded(document, where, [])]
    for index in range(len(events)):
        files.append(encoded(document, where, events[:index] + events[index + 1 :]))
        files.append(encoded(document, where, events[: index + 1] + events[index:]))
        if index:
            files.append(encoded(document, where, events[index:] + events[:index]))

    assert all(said.where for said in assert_same(files, javascript))


@pytest.mark.parametrize("tale", BILLS)
def test_any_changed_byte_means_the_same_to_both(tale: Tale, javascript: CheckMany) -> None:
    chance = random.Random(SEED)  # noqa: S311 (a test's flipped bits, the same each time)
    file = tale.file()
    files = []
    for _ in range(1_500):
        index, flip = chance.randrange(len(file)), 1 << chance.randrange(8)
        files.append(file[:index] + bytes([file[index] ^ flip]) + file[index + 1 :])

    assert_same(files, javascript)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"format": "payphone-bill-1"}', id="a format and nothing else"),
        pytest.param(b"[" * 100_000, id="a tower"),
        pytest.param(b'{"format": "payphone-bill-1", "format": "payphone-bill-1"}', id="twice"),
        pytest.param(b'{"format": "payphone-bill-1"} {}', id="two documents"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(CLOCKED.file()[:-3], id="cut short"),
        pytest.param(CLOCKED.file().replace(b'"position": 1,', b'"position": 1.0,'), id="a point"),
        pytest.param(CLOCKED.file().replace(b'"position": 1,', b'"position": true,'), id="a truth"),
        pytest.param(CLOCKED.file().replace(b'"position": 1,', b'"position": 01,'), id="a zero"),
        pytest.param(CLOCKED.file().replace(b'"stt"', b'"\\ud800"'), id="half a character"),
        pytest.param(
            json.dumps(CLOCKED.document(key=SIGNER_KEY, signer=FORGER)).encode(), id="forged"
        ),
        pytest.param(
            json.dumps(
                CLOCKED.document(
                    key=SignerKey(name=SIGNER_KEY.name, public=FORGER.public), signer=FORGER
                )
            ).encode(),
            id="another key",
        ),
    ],
)
def test_what_is_no_bill_is_refused_by_both(file: bytes, javascript: CheckMany) -> None:
    [found] = assert_same([file], javascript)

    assert found.where


def test_the_script_prints_a_verdict_and_says_so_by_its_status(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(CLOCKED.file())
    bad.write_bytes(
        CLOCKED.file().replace(b'"charged_microcredits": ', b'"charged_microcredits": 1')
    )
    script = str(VERIFIER / "cli.mjs")

    assert node(script, str(good), "--key", SIGNER_KEY.text).stdout.startswith("VERIFIED session")
    assert "NOT VERIFIED statement.totals.charged" in node(script, str(bad), status=1).stderr
    assert "NOT VERIFIED ENOENT" in node(script, str(tmp_path / "none"), status=1).stderr
    assert "usage:" in node(script, status=2).stderr


def encoded(document: dict[str, Any], where: Where, value: object) -> bytes:
    """The document with another value in one place."""
    if not where:
        return json.dumps(value).encode()
    changed = copy.deepcopy(document)
    at(changed, where[:-1])[where[-1]] = value
    return json.dumps(changed).encode()


def at(document: Any, where: Where) -> Any:  # noqa: ANN401 (any part of a document)
    return reduce(lambda part, name: part[name], where, document)


def places(value: object, where: Where = (), kind: type = object) -> Iterator[Where]:
    """Where the values of a document are: those of a kind, or all that hold no others."""
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    if isinstance(value, kind) and (kind is not object or not inner):
        yield where
    for name, item in inner:
        yield from places(item, (*where, name), kind)


def others(value: object) -> list[object]:
    """Values that are not this one, near it and of other types."""
    if value is None:
        return [0, "", False, [], {}]
    if isinstance(value, int):
        return [value + 1, value - 1, value * 10 + 7, float(value), str(value), None, [value]]
    text = str(value)
    return [text + "x", text[1:] or "y", text.upper() + " ", 5, None, [value], {"a": 1}]
