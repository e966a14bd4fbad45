"""An event as the log keeps it: canonical bytes an auditor can rebuild from the event alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID


def canonical(value: object) -> bytes:
    """JSON by RFC 8785, for the values events hold: strings, whole numbers, null, lists, objects.

    Keys are ASCII and numbers are integers below 2^53, where sorted keys and no spaces are all
    that the RFC asks for. Text that is not Unicode (a lone surrogate) is a ValueError, as is NaN.
    """
    return _spell(value).encode("utf-8")


# Made once: `json.dumps` makes an encoder for every call that asks for anything unusual.
_spell = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def nesting(data: bytes) -> int:
    """How many arrays and objects of a JSON text stand inside one another, at most."""
    deepest = level = 0
    for byte in _STRINGS.sub(b"", data):
        if byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One stored event. `position` counts from 1; `state` is canonical JSON."""

    position: int
    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf's bytes: `{"originator_id":…,"originator_version":…,"state":…,"topic":…}`."""
        return leaf_bytes(self.originator_id, self.originator_version, self.topic, self.state)

    @property
    def fields(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.state)
        return decoded


def leaf_bytes(originator_id: UUID, originator_version: int, topic: str, state: bytes) -> bytes:
    """The canonical form, spliced: `state` is canonical already, and topics need no escaping."""
    return b'{"originator_id":"%b","originator_version":%d,"state":%b,"topic":"%b"}' % (
        id_text(originator_id).encode(),
        originator_version,
        state,
        topic.encode(),
    )


def id_text(value: UUID) -> str:
    """A UUID in lower case with hyphens."""
    return _id_text(value.int)


@lru_cache(maxsize=4096)
def _id_text(value: int) -> str:
    # Remembered, since an id is written again with whatever happens to what it names; by number,
    # since a UUID hashes and compares in Python.
    return str(UUID(int=value))
