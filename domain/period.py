"""Periods of account time, and where they cut the log: for good, whatever is written later."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domain.record import Record

HOUR_MS = 3_600_000
# Years that a datetime and every spreadsheet can write.
_EARLIEST, _LATEST = "1970-01-01T00:00:00Z", "9999-12-31T00:00:00Z"
HOUR_FORM = "a date (2026-10-01) or a full hour (2026-10-01T05:00:00Z), in UTC"
_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:00:00Z)?")
# A quote inside a string is escaped, so this cannot stand inside one.
_AT_MS = re.compile(rb'"at_ms":(-?[0-9]+)')


def parse_hour(text: str) -> int:
    """A date or a full hour of UTC, in ms since the Unix epoch; ValueError for anything else."""
    full = text if "T" in text else f"{text}T00:00:00Z"
    # ISO texts of one form sort as what they name.
    if not _HOUR.fullmatch(text) or not _EARLIEST <= full <= _LATEST:
        raise ValueError(f"expected {HOUR_FORM} (got {text[:40]!r})")
    moment = datetime.strptime(full, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`[from_ms, to_ms)`, whole hours of UTC, and where it lies in the log.

    It holds the events after position `after` up to and with position `through`. It is closed when
    the log has an event at or after `to_ms`; from then on it never changes.
    """

    from_ms: int
    to_ms: int
    after: int
    through: int
    closed: bool

    def holds(self, record: Record) -> bool:
        return self.after < record.position <= self.through


@dataclass(slots=True)
class Cuts:
    """Where instants cut the log: before the first event at or after them, whatever follows it.

    Feed it every event in order. An event that was so earlier than the one before it (a clock that
    was paused after a crash) therefore lies in the period in which it was written.
    """

    instants: tuple[int, ...]
    events: int = 0
    found: dict[int, int] = field(default_factory=dict)

    def see(self, record: Record) -> None:
        at_ms = record_at_ms(record)
        for instant in self.instants:
            if at_ms >= instant and instant not in self.found:
                self.found[instant] = self.events
        self.events += 1

    def period(self) -> Period:
        """The period between the two instants, as of the events seen."""
        from_ms, to_ms = self.instants
        return Period(
            from_ms=from_ms,
            to_ms=to_ms,
            after=self.found.get(from_ms, self.events),
            through=self.found.get(to_ms, self.events),
            closed=to_ms in self.found,
        )


def record_at_ms(record: Record) -> int:
    """When an event was so, without reading all of it."""
    found = _AT_MS.search(record.state)
    if found is None:
        raise ValueError(f"the event at position {record.position} has no time")
    return int(found[1])
