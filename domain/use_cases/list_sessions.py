"""A wallet's sessions as they stand: what the ledger says, and who is in a room right now."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from domain.gateway import Gateway
from domain.ports.room_events import Sighting
from domain.ports.views import SessionRow
from domain.presence import stays


async def list_sessions(
    gateway: Gateway, account_id: UUID, *, limit: int, offset: int, status: str | None
) -> tuple[SessionRow, ...]:
    """Newest first. The ledger learns of a room's time only when its session settles (B7)."""
    rows = await gateway.views.sessions(account_id, limit=limit, offset=offset, status=status)
    rooms = [row.id for row in rows if row.service == "webrtc" and row.status == "active"]
    if not rooms:
        return rows
    seen = await gateway.room_log.sightings_of(rooms)
    now_ms = gateway.clock.now_ms()
    return tuple(_begun(row, seen.get(row.id, ()), now_ms=now_ms) for row in rows)


def _begun(row: SessionRow, sightings: tuple[Sighting, ...], *, now_ms: int) -> SessionRow:
    """The row with the time of the first stay, as its settlement would have it."""
    if not sightings:
        return row
    facts = (sighting.fact for sighting in sightings)
    # Whoever came this very moment has come.
    found = stays(facts, opened_ms=row.opened_at_ms, until_ms=min(now_ms + 1, row.expires_at_ms))
    return replace(row, started_at_ms=found[0].from_ms) if found else row
