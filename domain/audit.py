"""Checks a bill with nothing but the bill and the signer's public key; names the first break."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from domain.bill import BILL_TOPICS, BillError, statement
from domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckSignature,
    SignerKey,
    decode_base64,
    open_checkpoint,
)
from domain.merkle import leaf_hash, verify_inclusion
from domain.record import Record, canonical, nesting

FORMAT = "payphone-bill-1"
_LEVELS_MAX = 32
_BILL_FIELDS = frozenset({"format", "statement", "evidence"})
_EVIDENCE_FIELDS = frozenset({"signer", "checkpoint", "events"})
# The parser of UUIDs takes many more spellings.
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EVENT_FIELDS = frozenset(
    {"position", "originator_id", "originator_version", "topic", "state", "proof"}
)


class AuditError(ValueError):
    """The first thing that does not hold: where it is, what was expected, what was found."""

    def __init__(self, where: str, *, expected: object, found: object) -> None:
        super().__init__(f"{where}: expected {_short(expected)}, found {_short(found)}")
        self.where = where
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was proven."""

    session_id: str
    charged: int
    refunded: int
    events: int
    checkpoint: Checkpoint
    signer: SignerKey


def bill_document(
    records: tuple[Record, ...],
    *,
    checkpoint: str,
    signer: str,
    proofs: Mapping[int, tuple[bytes, ...]],
) -> dict[str, Any]:
    """A bill that can be checked offline: the statement, and the evidence it follows from."""
    return {
        "format": FORMAT,
        "statement": statement(records),
        "evidence": evidence_of(records, checkpoint=checkpoint, signer=signer, proofs=proofs),
    }


def evidence_of(
    records: tuple[Record, ...],
    *,
    checkpoint: str,
    signer: str,
    proofs: Mapping[int, tuple[bytes, ...]],
) -> dict[str, Any]:
    """The events themselves, each with the proof that it stands in the signed log."""
    return {
        "signer": signer,
        "checkpoint": checkpoint,
        "events": [
            {
                "position": record.position,
                "originator_id": str(record.originator_id),
                "originator_version": record.originator_version,
                "topic": record.topic,
                "state": record.fields,
                "proof": [base64.b64encode(h).decode() for h in proofs[record.position]],
            }
            for record in records
        ],
    }


def parse_bill(data: bytes) -> dict[str, Any]:
    """Read a bill file; AuditError for anything that is not one."""
    if nesting(data) > _LEVELS_MAX:
        # Said before parsing: the parser answers a hostile depth with the end of the process.
        raise AuditError("file", expected="a bill in JSON", found=f"over {_LEVELS_MAX} levels")
    try:
        document = json.loads(data, object_pairs_hook=_object)
    except (ValueError, RecursionError) as damage:
        if isinstance(damage, AuditError):
            raise
        raise AuditError("file", expected="a bill in JSON", found=str(damage)) from damage
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise AuditError("format", expected=FORMAT, found=found)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Each name once: of two, one reader takes the first and another the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise AuditError("file", expected="each name once in an object", found=f"{twice!r} twice")
    return found


def verify_bill(
    document: dict[str, Any], *, check: CheckSignature, trusted: SignerKey | None = None
) -> Verdict:
    """Check every claim of a bill; AuditError at the first that fails.

    With `trusted`, only that key's signature counts; without, the key named in the bill is used,
    and the caller must know it is the gateway's.
    """
    try:
        return _verify(document, check, trusted)
    except (TypeError, AttributeError, LookupError, RecursionError) as damage:
        raise AuditError(
            "structure", expected="every field of a bill", found=repr(damage)
        ) from damage
    except BillError as broken:
        raise AuditError(broken.where, expected=broken.expected, found=broken.found) from broken
    except ValueError as damage:
        if isinstance(damage, AuditError):
            raise
        raise AuditError("value", expected="a well-formed value", found=str(damage)) from damage


def _verify(document: dict[str, Any], check: CheckSignature, trusted: SignerKey | None) -> Verdict:
    evidence = document["evidence"]
    _check_fields("bill", document, _BILL_FIELDS)
    _check_fields("evidence", evidence, _EVIDENCE_FIELDS)
    try:
        signer = SignerKey.parse(evidence["signer"])
        _compare("signer", signer.text, evidence["signer"])
        if trusted is not None and signer != trusted:
            raise AuditError("signer", expected=trusted.text, found=signer.text)
        checkpoint = open_checkpoint(evidence["checkpoint"], key=signer, check=check)
    except CheckpointError as broken:
        raise AuditError("checkpoint", expected="a good signature", found=str(broken)) from broken
    records = [_verified_record(event, checkpoint) for event in evidence["events"]]
    _check_order(records)
    _check_parties(records)
    recomputed = statement(records)
    _compare("statement", recomputed, document["statement"])
    totals = recomputed["totals"]
    return Verdict(
        session_id=recomputed["session"]["id"],
        charged=totals["charged_microcredits"],
        refunded=totals["refunded_microcredits"],
        events=len(records),
        checkpoint=checkpoint,
        signer=signer,
    )


def _verified_record(event: dict[str, Any], checkpoint: Checkpoint) -> Record:
    position, version, topic = event["position"], event["originator_version"], event["topic"]
    _check_fields(f"event at {position}", event, _EVENT_FIELDS)
    for name in ("position", "originator_version"):
        # Python takes 1.0 and true for 1, and prints them as 1 into the leaf.
        if type(event[name]) is not int:
            raise AuditError(f"event {name}", expected="a whole number", found=event[name])
    if topic not in BILL_TOPICS:
        raise AuditError(f"event at {position}", expected="an event of a bill", found=topic)
    if _ID.fullmatch(event["originator_id"]) is None:
        raise AuditError(
            f"event at {position} originator_id",
            expected="a UUID in lower case with hyphens",
            found=event["originator_id"],
        )
    record = Record(
        position=position,
        originator_id=UUID(event["originator_id"]),
        originator_version=version,
        topic=topic,
        state=canonical(event["state"]),
    )
    if not verify_inclusion(
        leaf_hash(record.leaf),
        index=position - 1,
        size=checkpoint.size,
        proof=[decode_base64(h) for h in event["proof"]],
        root=checkpoint.root,
    ):
        raise AuditError(
            f"event at position {position} ({topic})",
            expected=f"to stand in the signed log of {checkpoint.size} events",
            found="its inclusion proof does not lead to the signed root",
        )
    return record


def _check_order(records: list[Record]) -> None:
    for earlier, later in pairwise(records):
        if later.position <= earlier.position:
            raise AuditError(
                "event order", expected=f"a position above {earlier.position}", found=later.position
            )


def _check_parties(records: list[Record]) -> None:
    """One session, its account, and nobody else's events."""
    sessions = {r.originator_id for r in records if r.topic.startswith("session.")}
    if len(sessions) != 1:
        raise AuditError("session", expected="the events of one session", found=len(sessions))
    session_id = str(sessions.pop())
    opened = [r for r in records if r.topic == "session.opened"]
    if len(opened) != 1:
        raise AuditError("session.opened", expected="one", found=len(opened))
    account_id = opened[0].fields["account_id"]
    for record in records:
        if not record.topic.startswith("account."):
            continue
        if str(record.originator_id) != account_id or record.fields["session_id"] != session_id:
            raise AuditError(
                f"event at position {record.position}",
                expected=f"one of account {account_id} for session {session_id}",
                found=f"account {record.originator_id}, session {record.fields['session_id']}",
            )


def _check_fields(where: str, found: dict[str, Any], expected: frozenset[str]) -> None:
    """Exactly these: a field nobody checks is a claim nobody checks."""
    if found.keys() != expected:
        strange = sorted(found.keys() ^ expected)
        raise AuditError(f"{where}.{strange[0]}", expected=sorted(expected), found=sorted(found))


def _compare(where: str, expected: object, found: object) -> None:
    """Descend to the first difference, so that the message names it."""
    if isinstance(expected, dict) and isinstance(found, dict):
        _check_fields(where, found, frozenset(expected))
        for key in sorted(expected):
            _compare(f"{where}.{key}", expected[key], found[key])
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            raise AuditError(f"{where} count", expected=len(expected), found=len(found))
        for index, (left, right) in enumerate(zip(expected, found, strict=True)):
            _compare(f"{where}[{index}]", left, right)
    elif expected != found or type(expected) is not type(found):
        raise AuditError(where, expected=expected, found=found)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


_SHOWN_MAX = 160
