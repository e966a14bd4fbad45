"""Tables made anew beside the old ones, and put in their place when they are whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from domain.record import Record
from projections.follow import BATCH_MAX, Tables
from projections.sqlite import SqliteTables

Read = Callable[[int, int], tuple[Record, ...]]
Progress = Callable[[int], None]


class RebuildError(Exception):
    """The new lists could not be made; the old ones are as they were."""


def rebuild_sqlite(path: Path, read: Read, progress: Progress) -> int:
    """Make the file anew and rename it; the caller holds the folder. How many events it has seen.

    A rebuild that dies leaves the old file, or none, which the next gateway fills by itself.
    """
    fresh = path.with_name(path.name + ".new")
    _remove(fresh)
    with closing(SqliteTables(fresh)) as tables:
        seen = fill(tables, read, progress)
    with fresh.open("rb") as file:
        # Tables are written without waiting for the disk; their name is not to outlive them.
        os.fsync(file.fileno())
    # The old file first: its write-ahead log must never meet the new one.
    _remove(path)
    fresh.rename(path)
    return seen


def fill(
    tables: Tables,
    read: Read,
    progress: Progress,
    until: int | None = None,
) -> int:
    """Apply what there is; with `until`, no more than is needed to reach it."""
    seen = tables.position
    while until is None or seen < until:
        records = read(seen, BATCH_MAX)
        if not records:
            break
        tables.apply(records)
        seen = records[-1].position
        progress(seen)
    return seen


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
