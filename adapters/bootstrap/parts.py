"""The running parts of a ledger, whichever store it is kept in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.log_keys import LogKeys
from adapters.store.log import MerkleLog
from domain.ports.books import Books as RunsCommands
from domain.ports.log import TransparencyLog
from domain.ports.private import PrivateDetails
from domain.ports.room_events import RoomLog
from domain.ports.views import Views
from domain.record import Record
from domain.switchboard import Switchboard, Trunk

# Called from any thread with what was stored, by whichever process; it must not raise.
Told = Callable[[tuple[Record, ...]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The ledger with its log and its lists.

    `log` answers; `merkle` is the tree and the hand that signs it. `trunk` leads to the lines of
    other processes, and `attach` gives it the switchboard that answers them, in the running loop.
    `is_alone`: no other process works on this ledger. `is_owner` says whether this process does
    what one does for all.
    """

    owner: RunsCommands
    views: Views
    details: PrivateDetails
    room_log: RoomLog
    log: TransparencyLog
    merkle: MerkleLog
    keys: LogKeys
    trunk: Trunk
    attach: Callable[[Switchboard], None]
    is_alone: bool
    is_owner: Callable[[], bool]
