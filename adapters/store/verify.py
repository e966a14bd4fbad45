"""Verifies a stored ledger by the leaf lines of blocks of it, on as many cores as there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapters.store.audit import audit, bills
from adapters.store.stored import StoredLog
from domain.archive_audit import Run
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckSignature, SignerKey
from domain.history import History
from domain.segment import SegmentJob, check_segment

# Of a power of two, as the tree asks; some MB of lines.
BLOCK_EVENTS = 1 << 15
# Fewer are done before another process has begun.
PROCESSES_FROM = 8 * BLOCK_EVENTS


class LinedLog(StoredLog, Protocol):
    """A stored log that reads whole blocks of its events as lines."""

    def extent(self) -> tuple[int, int, int]:
        """How many events there are, the lowest position and the highest; 0 for none."""
        ...

    def lines(self, first: int, events: int) -> Callable[[], bytes]:
        """Reads the leaves at so many positions from `first` on, one a line; for any process.

        ValueError or OSError where they cannot be read so.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A ledger that holds: what was in it, and the sum of its books (zero)."""

    events: int
    heads: int
    bills: int
    total: int
    root: bytes


def verify(
    log: LinedLog,
    *,
    keys: Sequence[SignerKey],
    check: CheckSignature,
    progress: Callable[[int], None],
    run: Run = map,
    block_events: int = BLOCK_EVENTS,
) -> Verified:
    """Check order, versions, contents, books, bills and every signed head; else name the break.

    Without `keys` no signature is checked. A break is looked for again event by event, which takes
    longer and names it exactly.
    """
    try:
        history = _by_blocks(log, keys, check, progress, run, block_events)
    except BrokenHistoryError as broken:
        slowly = _by_events(log, keys, check, progress)
        if isinstance(broken, _UnreadableError):
            return slowly
        raise
    return Verified(
        events=history.events,
        heads=history.heads,
        bills=history.bills,
        total=history.total,
        root=history.root,
    )


class _UnreadableError(BrokenHistoryError):
    """A block could not be read as lines; event by event it may be, or may show why not."""


def _by_blocks(
    log: LinedLog,
    keys: Sequence[SignerKey],
    check: CheckSignature,
    progress: Callable[[int], None],
    run: Run,
    block_events: int,
) -> History:
    heads = log.checkpoints()
    events, lowest, highest = log.extent()
    if events != highest or lowest < min(events, 1) or any(size < 0 for size, _ in heads):
        raise BrokenHistoryError(
            0, "order", expected=f"positions 1 to {events}", found=f"{lowest} to {highest}"
        )
    beyond = max((size for size, _ in heads), default=0)
    if beyond > events:
        raise BrokenHistoryError(events + 1, "truncated", expected=beyond, found=events)
    history = History(width=block_events)
    for facts in run(check_segment, _jobs(log, events, heads, keys, check, block_events)):
        if facts.broken is not None and facts.broken[1] == "segment":
            position, kind, expected, found = facts.broken
            raise _UnreadableError(position, kind, expected=expected, found=found)
        history.join(facts, lambda position: log.lines(position, 1)().removesuffix(b"\n"))
        progress(history.events)
    history.finish()
    return history


def _jobs(
    log: LinedLog,
    events: int,
    heads: Sequence[tuple[int, str]],
    keys: Sequence[SignerKey],
    check: CheckSignature,
    block_events: int,
) -> Iterator[SegmentJob]:
    waiting = deque(heads if keys else ())
    # An empty ledger is a block of nothing: it may have a signed head.
    for first in range(1, max(events, 1) + 1, block_events):
        count = min(block_events, events + 1 - first)
        within = []
        while waiting and waiting[0][0] < first + count:
            within.append(waiting.popleft())
        yield SegmentJob(
            first=first,
            load=log.lines(first, count),
            heads=tuple(within),
            keys=tuple(keys),
            check=check,
        )


def _by_events(
    log: LinedLog,
    keys: Sequence[SignerKey],
    check: CheckSignature,
    progress: Callable[[int], None],
) -> Verified:
    heads = log.checkpoints()
    found = audit(
        log.scan(),
        checkpoints=heads,
        key=keys[0] if keys else None,
        former=keys[1:],
        check=check,
        progress=progress,
    )
    return Verified(
        events=found.events,
        heads=found.checkpoints,
        bills=_count(bills(log.scan(), found.aggregates)),
        total=found.books.total,
        root=found.root,
    )


def _count(made: Iterable[object]) -> int:
    return sum(1 for _ in made)
