"""What a session is called by people: kept beside the ledger, never in it, and deletable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetails:
    """Names and places of one session; empty text where there is none."""

    server_url: str
    language: str = ""
    room_name: str = ""
    identity: str = ""
    metadata: str = ""
    role: str = ""


class PrivateDetails(Protocol):
    """Keeps details by session.

    Shape:  put replaces; find answers only what it has; delete of nothing is no error.
    Errors: none.
    Source: specs/ledger.md, privacy.
    """

    async def put(self, details: dict[UUID, SessionDetails]) -> None: ...

    async def find(self, session_ids: Sequence[UUID]) -> dict[UUID, SessionDetails]: ...

    async def delete(self, session_ids: Sequence[UUID]) -> None: ...
