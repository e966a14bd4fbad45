"""What the gateway asks of a room server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Who may join which room until when. `account_id` pays, with the session `session_id`."""

    account_id: str
    session_id: str
    room_name: str
    identity: str
    metadata: str
    not_before_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class RoomTicket:
    """A signed token and the URL of the node to present it to (`wss://host`, no path)."""

    token: str
    ws_url: str


class Rooms(Protocol):
    """Issues room tokens.

    Shape:  one join in, one ticket out; the same join again gives the same token.
    Units:  ms in the values, whole seconds in the token.
    Errors: `NoCapacityError` where no node is configured.
    Source: specs/http.md, rooms.
    """

    async def ticket(self, join: Join, *, client_ip: str) -> RoomTicket: ...
