"""Where a history first fails to hold."""

from __future__ import annotations


class BrokenHistoryError(Exception):
    """The first break: at which position, of what kind, what was expected and what was found."""

    def __init__(self, position: int, kind: str, *, expected: object, found: object) -> None:
        super().__init__(f"position {position}: {kind}: expected {expected}, found {found}")
        self.position = position
        self.kind = kind
        self.expected = expected
        self.found = found
