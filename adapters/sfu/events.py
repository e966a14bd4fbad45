"""What a webhook's body says: protobuf's JSON, read without trusting any of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from domain.errors import MalformedError

# A room server's clock may be this far from ours, or a delivery this late; else ours counts.
STRAY_MS_MAX = 10 * 60_000
NAME_LENGTH_MAX = 512
_INT64 = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEvent:
    """One event; "" and 0 for what is absent, times in ms.

    `told_session` is the session a LiveKit token carried in its attributes, `dropped` how many
    events before this one were lost.
    """

    name: str
    event_id: str
    created_ms: int
    room_sid: str
    room_name: str
    room_key: str
    participant_sid: str
    identity: str
    joined_ms: int
    is_relayed: bool
    told_session: str
    dropped: int

    def at_ms(self, received_ms: int) -> int:
        """When it happened: never later than it was told, nor long before."""
        if abs(received_ms - self.created_ms) > STRAY_MS_MAX:
            return received_ms
        return min(self.created_ms, received_ms)


def parse_event(body: bytes | str) -> RoomEvent:
    """MalformedError where it is no event."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        fields = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if "\\u" in text:
            # A lone surrogate can be escaped in JSON, and stored nowhere.
            json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as damage:
        raise _malformed("body", "one JSON object without a key twice") from damage
    if not isinstance(fields, dict):
        raise _malformed("body", "one JSON object without a key twice")
    name = _text(fields, "event")
    if not name:
        raise _malformed("event", "the event's name")
    room, participant = _part(fields, "room"), _part(fields, "participant")
    attributes = participant.get("attributes")
    return RoomEvent(
        name=name,
        event_id=_text(fields, "id"),
        created_ms=whole_number(fields.get("createdAt")) * 1000,
        room_sid=_text(room, "sid"),
        room_name=_text(room, "name"),
        room_key=_text(room, "key"),
        participant_sid=_text(participant, "sid"),
        identity=_text(participant, "identity"),
        joined_ms=whole_number(participant.get("joinedAt")) * 1000,
        is_relayed=participant.get("relayed") is True,
        told_session=_text(attributes, "session_id") if isinstance(attributes, dict) else "",
        dropped=whole_number(fields.get("numDropped")),
    )


def _part(fields: dict[str, Any], name: str) -> dict[str, Any]:
    part = fields.get(name, {})
    if not isinstance(part, dict):
        raise _malformed(name, "an object")
    return part


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > NAME_LENGTH_MAX or "\x00" in value:
        raise _malformed(name, f"text of at most {NAME_LENGTH_MAX} characters")
    return value


def whole_number(value: object) -> int:
    """A 64-bit number as protobuf spells it, or as a number; 0 for anything else."""
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():  # noqa: PLR2004 (no 64-bit number is longer)
        value = int(value)
    return value if type(value) is int and 0 <= value < _INT64 else 0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key twice")
    return fields


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _malformed(where: str, expected: str) -> MalformedError:
    return MalformedError(where=where, expected=expected, got="something else")
