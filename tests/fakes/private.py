"""Names of sessions in a dict."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from domain.ports.private import SessionDetails


class MemoryDetails:
    """Implements `PrivateDetails`."""

    def __init__(self) -> None:
        self.kept: dict[UUID, SessionDetails] = {}

    async def put(self, details: dict[UUID, SessionDetails]) -> None:
        self.kept |= details

    async def find(self, session_ids: Sequence[UUID]) -> dict[UUID, SessionDetails]:
        return {i: self.kept[i] for i in session_ids if i in self.kept}

    async def delete(self, session_ids: Sequence[UUID]) -> None:
        for session_id in session_ids:
            self.kept.pop(session_id, None)
