"""An append-only file of lines, which is how a sandbox chain outlives its process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class Lines:
    """Lines of ASCII on disk; one torn by a crash was never written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Iterator[str]:
        """Everything written so far; cuts a torn last line off the file."""
        if not self._path.exists():
            return
        whole = self._path.read_bytes()
        kept, newline, torn = whole.rpartition(b"\n")
        if torn:
            os.truncate(self._path, len(kept) + len(newline))
        yield from kept.decode("ascii").splitlines()

    def append(self, line: str) -> None:
        """Write one, and return when it is on the disk."""
        with self._path.open("ab") as file:
            file.write(line.encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
