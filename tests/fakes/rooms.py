"""A room server that hands out readable tickets."""

from __future__ import annotations

from domain.errors import NoCapacityError
from domain.ports.rooms import Join, RoomTicket


class PaperRooms:
    """Implements `Rooms`: the token is the join in plain text.

    `joins` are the ones asked for, `ws_url` is the node of the next. Fault: `full` finds no node.
    """

    def __init__(self) -> None:
        self.full = False
        self.ws_url = "wss://node.test"
        self.joins: list[tuple[Join, str]] = []

    async def ticket(self, join: Join, *, client_ip: str) -> RoomTicket:
        if self.full:
            raise NoCapacityError(service="webrtc")
        self.joins.append((join, client_ip))
        token = "|".join(
            (
                join.session_id,
                join.room_name,
                join.identity,
                join.metadata,
                str(join.not_before_ms),
                str(join.expires_at_ms),
                join.account_id,
            )
        )
        return RoomTicket(token, self.ws_url)
