"""Checks an archive with nothing but its file and the keys to trust; names the first break."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from domain.archive import Manifest, SegmentEntry
from domain.breaks import BrokenHistoryError
from domain.checkpoint import CheckpointError, CheckSignature, SignerKey
from domain.cosignature import Cosignature, WitnessKey, cosignatures
from domain.history import History
from domain.ranges import root_of
from domain.segment import SegmentFacts, SegmentJob, check_segment

Run = Callable[[Callable[[SegmentJob], SegmentFacts], Iterable[SegmentJob]], Iterator[SegmentFacts]]
"""Like `map`; may work on several jobs at once, takes few ahead, and keeps their order."""

Head = tuple[int, str]


class Archive(Protocol):
    """An opened archive. Errors: `BrokenHistoryError` where it is damaged."""

    @property
    def manifest(self) -> Manifest: ...

    def heads(self) -> Iterator[Head]:
        """Signed heads as (size, note), smallest first."""
        ...

    def loader(self, index: int) -> Callable[[], bytes]:
        """Reads the segment counted from 0; can be sent to another process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveVerdict:
    """What was proven: everything up to the last signed head."""

    history: History
    root: bytes
    head: str
    cosignatures: tuple[Cosignature, ...]


def audit_archive(
    archive: Archive,
    *,
    keys: Sequence[SignerKey],
    check: CheckSignature,
    known_heads: Sequence[Head] = (),
    witnesses: Sequence[WitnessKey] = (),
    run: Run = map,
    progress: Callable[[int], None],
) -> ArchiveVerdict:
    """Check order, versions, contents, books, bills and every signed head.

    `known_heads` are heads the auditor kept from before: the archive must continue them too. The
    last head must carry the cosignature of each of `witnesses`. `progress` hears events done.
    """
    manifest = archive.manifest
    heads = _Heads(heapq.merge(archive.heads(), sorted(known_heads)))
    history = History(width=manifest.segment_events)
    waiting: deque[tuple[SegmentEntry, SegmentJob]] = deque()

    def jobs() -> Iterator[SegmentJob]:
        for index, entry in enumerate(manifest.segments):
            job = SegmentJob(
                first=entry.first,
                load=archive.loader(index),
                heads=heads.up_to(entry.first + entry.events - 1),
                keys=tuple(keys),
                check=check,
            )
            waiting.append((entry, job))
            yield job

    for facts in run(check_segment, jobs()):
        entry, job = waiting.popleft()
        try:
            history.join(facts, _line_reader(archive))
        except BrokenHistoryError as broken:
            raise _exactly(history, job, facts, archive) or broken from broken
        _check_entry(entry, facts)
        progress(history.events)
    _check_end(heads, history)
    history.finish()
    return ArchiveVerdict(
        history=history,
        root=history.root,
        head=heads.last,
        cosignatures=_cosigned(heads.last, history, witnesses, check),
    )


class _Heads:
    """The signed heads, handed out as the history reaches their sizes."""

    def __init__(self, heads: Iterator[Head]) -> None:
        self._heads = heads
        self._next = next(heads, None)
        self.last = ""

    def up_to(self, size: int) -> tuple[Head, ...]:
        found: list[Head] = []
        while self._next is not None and self._next[0] <= size:
            found.append(self._next)
            self.last = self._next[1]
            following = next(self._heads, None)
            if following is not None and following[0] < self._next[0]:
                raise BrokenHistoryError(
                    following[0],
                    "signed heads",
                    expected=f"a size of {self._next[0]} or more",
                    found=following[0],
                )
            self._next = following
        return tuple(found)

    @property
    def beyond(self) -> int | None:
        """The size of the first head that was not reached."""
        return None if self._next is None else self._next[0]


def _check_entry(entry: SegmentEntry, facts: SegmentFacts) -> None:
    """The segment is the one that the manifest names."""
    last = entry.first + entry.events - 1
    for name, expected, found in (
        ("events", entry.events, facts.events),
        ("SHA-256", entry.sha256, facts.sha256),
        ("root", entry.root.hex(), root_of(facts.peaks).hex()),
    ):
        if expected != found:
            raise BrokenHistoryError(
                entry.first + min(facts.events, entry.events) if name == "events" else entry.first,
                f"segment {entry.first} to {last}: {name}",
                expected=expected,
                found=found,
            )


def _check_end(heads: _Heads, history: History) -> None:
    """Everything is signed, and nothing that was signed is missing."""
    if heads.beyond is not None:
        raise BrokenHistoryError(
            history.events + 1,
            "truncated",
            expected=f"{heads.beyond} events, which were signed for",
            found=history.events,
        )
    if history.heads == 0 or history.signed != history.events:
        raise BrokenHistoryError(
            history.signed + 1,
            "signed head",
            expected=f"one over all {history.events} events",
            found=f"the last one is over {history.signed}" if history.heads else "none",
        )


def _cosigned(
    note: str, history: History, witnesses: Sequence[WitnessKey], check: CheckSignature
) -> tuple[Cosignature, ...]:
    try:
        return cosignatures(note, witnesses=witnesses, check=check)
    except CheckpointError as broken:
        raise BrokenHistoryError(
            history.signed, "witness", expected="its good cosignature", found=broken
        ) from broken


def _exactly(
    history: History, job: SegmentJob, facts: SegmentFacts, archive: Archive
) -> BrokenHistoryError | None:
    """The break of the shortest beginning of this segment that has one."""
    if not facts.sha256:
        return None
    # At newlines only: to a text reader other characters end a line too.
    lines = [line + b"\n" for line in job.load().removesuffix(b"\n").split(b"\n")]

    def broken_after(count: int) -> BrokenHistoryError | None:
        beginning = b"".join(lines[:count])
        try:
            found = check_segment(replace(job, load=lambda: beginning))
            # A trial: what holds is joined for good only when the whole segment does.
            history.join(found, _line_reader(archive), keep=False)
        except BrokenHistoryError as broken:
            return broken
        return None

    good, bad = -1, facts.events + (facts.broken is not None)
    while bad - good > 1:
        middle = (good + bad) // 2
        if broken_after(middle) is None:
            good = middle
        else:
            bad = middle
    return broken_after(bad)


def _line_reader(archive: Archive) -> Callable[[int], bytes]:
    width = archive.manifest.segment_events

    @lru_cache(maxsize=1)
    def lines(index: int) -> list[bytes]:
        return archive.loader(index)().split(b"\n")

    def read(position: int) -> bytes:
        index, within = divmod(position - 1, width)
        return lines(index)[within]

    return read
