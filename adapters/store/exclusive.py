"""Who may use a data folder: one gateway, or several that keep their ledger in one database."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SLOTS_MAX = 1_000


class FolderInUseError(Exception):
    """Another process writes to this data folder; `pid` is what it said of itself."""

    def __init__(self, folder: Path, pid: str) -> None:
        super().__init__(
            f"{folder} is in use by process {pid or 'unknown'}: stop it, or use another --data"
        )
        self.folder = folder
        self.pid = pid


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder as long as the block runs; the system lets go when the process dies.

    Raises `FolderInUseError` at once where somebody else holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="ascii") as file:
        _lock(file, fcntl.LOCK_EX, folder)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def joined(folder: Path) -> Iterator[None]:
    """Use the folder beside others who joined it, while nobody holds it alone.

    Raises `FolderInUseError` at once where somebody does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="ascii") as file:
        _lock(file, fcntl.LOCK_SH, folder)
        yield


@contextmanager
def slot(folder: Path) -> Iterator[int]:
    """The lowest number from 1 that no other process has in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, SLOTS_MAX + 1):
        with (folder / f"slot-{number}.lock").open("a", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise FolderInUseError(folder, f"{SLOTS_MAX} others")


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Processes that make what all of them share take turns; each finds what the first made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turn.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock(file: IO[str], how: int, folder: Path) -> None:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        file.seek(0)
        raise FolderInUseError(folder, file.read(20).strip()) from taken
