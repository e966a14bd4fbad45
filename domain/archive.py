"""An archive of the log: all an auditor needs, in one file, with no database.

`manifest.json` says what there is, `heads.jsonl` holds the signed heads, `segments/NNNNNNNN.jsonl`
the leaves in order, one a line, so many in each. Format: specs/ledger.md, archives.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, SignerKey, decode_base64
from domain.record import canonical, nesting

FORMAT = "payphone-archive-1"
MANIFEST = "manifest.json"
HEADS = "heads.jsonl"
SEGMENT_EVENTS = 1 << 14
SEGMENT_EVENTS_MAX = 1 << 20
HEAD_BYTES_MAX = 1 << 16
_LEVELS_MAX = 32
_FIELDS = {"format", "origin", "events", "segment_events", "signers", "segments"}
_SEGMENT_FIELDS = {"first", "events", "sha256", "root"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntry:
    """One segment: its first position, its events, its file's SHA-256 in hex, its tree's root."""

    first: int
    events: int
    sha256: str
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive holds. `signers` are the log's keys, newest first."""

    origin: str
    segment_events: int
    signers: tuple[SignerKey, ...]
    segments: tuple[SegmentEntry, ...]

    @property
    def events(self) -> int:
        return sum(segment.events for segment in self.segments)

    @property
    def text(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "origin": self.origin,
                "events": self.events,
                "segment_events": self.segment_events,
                "signers": [key.text for key in self.signers],
                "segments": [
                    {
                        "first": segment.first,
                        "events": segment.events,
                        "sha256": segment.sha256,
                        "root": base64.b64encode(segment.root).decode(),
                    }
                    for segment in self.segments
                ],
            },
            indent=1,
        )

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read what `text` wrote; `BrokenHistoryError` at position 0 for anything else."""
        if nesting(data) > _LEVELS_MAX:
            # Said before parsing: the parser answers a hostile depth with the end of the process.
            raise _broken("manifest", "JSON", f"over {_LEVELS_MAX} levels")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as damage:
            raise _broken("manifest", "JSON", damage) from damage
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            found = document.get("format") if isinstance(document, dict) else "no object"
            raise _broken("format", FORMAT, found)
        if document.keys() != _FIELDS:
            raise _broken("manifest", sorted(_FIELDS), sorted(document))
        try:
            return cls._read(document)
        except CheckpointError as damage:
            raise _broken("signers", "verifier keys", damage) from damage
        except (ValueError, TypeError, LookupError, AttributeError) as damage:
            raise _broken("manifest", "every field of a manifest", repr(damage)) from damage

    @classmethod
    def _read(cls, document: dict[str, Any]) -> Manifest:
        width = _whole(document["segment_events"])
        if width not in (1 << height for height in range(SEGMENT_EVENTS_MAX.bit_length())):
            raise _broken("segment_events", f"a power of two to {SEGMENT_EVENTS_MAX}", width)
        segments: list[SegmentEntry] = []
        for entry in document["segments"]:
            if entry.keys() != _SEGMENT_FIELDS:
                raise _broken("segment", sorted(_SEGMENT_FIELDS), sorted(entry))
            first, events = _whole(entry["first"]), _whole(entry["events"])
            expected = 1 + width * len(segments)
            if first != expected:
                raise _broken(f"segment {len(segments) + 1}", f"first event {expected}", first)
            is_last = len(segments) + 1 == len(document["segments"])
            if not (1 <= events <= width if is_last else events == width):
                raise _broken(f"segment {len(segments) + 1}", f"{width} events", events)
            segments.append(
                SegmentEntry(
                    first=first,
                    events=events,
                    sha256=str(entry["sha256"]),
                    root=decode_base64(entry["root"]),
                )
            )
        manifest = cls(
            origin=str(document["origin"]),
            segment_events=width,
            signers=tuple(SignerKey.parse(text) for text in document["signers"]),
            segments=tuple(segments),
        )
        if manifest.events != document["events"]:
            raise _broken("events", manifest.events, document["events"])
        return manifest


def segment_name(index: int) -> str:
    """The file of a segment, counted from 0."""
    return f"segments/{index + 1:08}.jsonl"


def head_lines(heads: Iterable[tuple[int, str]]) -> bytes:
    """Heads as (size, note), one a line."""
    return b"".join(canonical({"size": size, "note": note}) + b"\n" for size, note in heads)


def parse_head(line: bytes) -> tuple[int, str]:
    """One line of `heads.jsonl`; `BrokenHistoryError` where it is none."""
    try:
        head: dict[str, Any] = json.loads(line) if nesting(line) == 1 else {}
        size, note = _whole(head["size"]), head["note"]
        is_same = canonical({"size": size, "note": note}) + b"\n" == line and isinstance(note, str)
    except (ValueError, TypeError, LookupError, RecursionError):
        is_same = False
    if not is_same:
        raise _broken("heads", "a line with size and note", line[:80].decode("utf-8", "replace"))
    return size, note


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        msg = f"expected a whole number (got {value!r:.60})"
        raise ValueError(msg)
    return value


def _broken(kind: str, expected: object, found: object) -> BrokenHistoryError:
    return BrokenHistoryError(0, kind, expected=expected, found=found)
