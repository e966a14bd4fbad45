"""One gateway a data folder: a second one is told so, and a dead one leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            file.seek(0)
            raise FolderInUseError(folder, file.read(20).strip()) from taken
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
