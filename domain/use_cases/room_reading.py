"""What a room server told becomes what is known of who was in which room."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from domain.errors import MalformedError, NoCapacityError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.private import SessionDetails
from domain.ports.room_events import Delivery, Sighting
from domain.session import Session

READ_MAX = 256
# What nobody can say within this time whether to believe is not believed.
DOUBT_MS = 60 * 60_000

log = logging.getLogger(__name__)


async def read_deliveries(gateway: Gateway) -> int:
    """Read what came and was not read yet; safe to repeat and to interrupt. How many were read."""
    reader, count, after = gateway.room_reader, 0, ""
    # All of them, page by page: those nobody can judge yet hold up no others.
    while deliveries := await gateway.room_log.unread(READ_MAX, after=after):
        after = deliveries[-1].delivery_id
        if any(reader.is_after_loss(delivery) for delivery in deliveries):
            await gateway.room_log.note_loss(gateway.clock.now_ms())
        said = []
        for delivery in deliveries:
            try:
                said.append((delivery, await reader.sighting(delivery)))
            except MalformedError:
                # Stored by a release that understood it.
                said.append((delivery, None))
            except NoCapacityError:
                if delivery.received_at_ms < gateway.clock.now_ms() - DOUBT_MS:
                    said.append((delivery, None))
        if said:
            await gateway.room_log.read(await _believed(gateway, said))
        count += len(said)
    return count


async def _believed(
    gateway: Gateway, said: Sequence[tuple[Delivery, Sighting | None]]
) -> list[tuple[Delivery, Sighting | None]]:
    """The same, without sightings of sessions or participants that are none of ours."""
    ids = {s.session_id for _, s in said if s is not None and s.session_id is not None}
    session_ids = tuple(sorted(ids))
    details = await gateway.details.find(session_ids)
    rooms = await gateway.books.run(partial(_rooms, session_ids=session_ids))
    believed: list[tuple[Delivery, Sighting | None]] = []
    for delivery, sighting in said:
        found = sighting
        if sighting is not None and (session_id := sighting.session_id) is not None:
            known = details.get(session_id) if session_id in rooms else None
            if known is None or not _is_of(sighting, known):
                fields = {"session_id": str(session_id), "known": known is not None}
                log.warning("room event without effect", extra=fields)
                found = None
        believed.append((delivery, found))
    return believed


def _rooms(work: Work, *, session_ids: tuple[UUID, ...]) -> frozenset[UUID]:
    """Those of the sessions that are for a room."""
    found = [work.find(Session, session_id) for session_id in session_ids]
    return frozenset(s.id for s in found if s is not None and s.service == "webrtc")


def _is_of(sighting: Sighting, details: SessionDetails) -> bool:
    """A second, publish-only connection of the same token is called `identity#something`."""
    if sighting.fact.kind == "finished":
        return True
    return sighting.identity.partition("#")[0] == details.identity
