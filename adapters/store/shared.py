"""One ledger, several gateway processes: one of them owns it, the others send it their commands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import TypeVar
from uuid import UUID

from eventsourcing.persistence import PersistenceError

from adapters.store.command_socket import WireError, greeting
from adapters.store.command_socket_client import CommandLink, MovedError
from adapters.store.command_socket_server import CommandServer
from adapters.store.fence import FencedError
from adapters.store.lease import TTL_MS, Lease, LeaseKeeper, Leases
from adapters.store.owner import LedgerOwner
from adapters.store.postgres import PostgresRecorder
from domain.errors import BusyError, LedgerDownError
from domain.ledger import Ledger, Work
from domain.record import Record

T = TypeVar("T")
# How long commands wait for an owner: a dead one is replaced in less.
WAIT_S = 6.0
RETRY_S = 0.05
WAITING_MAX = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Office:
    """What a process has that owns the ledger."""

    owner: LedgerOwner
    server: CommandServer


class SharedBooks:
    """Implements `Books` over a PostgreSQL that other gateways of this host use as well.

    The process that has the lease runs every command in its `LedgerOwner`; the others send theirs
    over a Unix socket. While the owner changes, commands wait some seconds, then `LedgerDownError`.
    A command whose answer was lost is asked again, of whoever owns the ledger then: it finds what
    it did. So commands must be values: module-level functions, `partial` of them, or frozen
    dataclasses with `__call__`; no lambdas, no closures.

    Use it from one event loop. The callbacks come from a thread of its own, one after the other:

    `became_owner()`: this process has the lease. Nobody else writes from here on, and no command
        runs here until it returns, so bring the log and the tables up to the ledger's head in it.
        If it raises, the lease is given back, and this process only follows from then on; where the
        store did not answer (PersistenceError, LedgerDownError) it tries again later.
    `committed(records)`: as `LedgerOwner`'s; every record after that head, in order, none left out.
    `lost()`: this process no longer owns the ledger; no `committed` comes after it.
    """

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        *,
        committed: Callable[[tuple[Record, ...]], None],
        became_owner: Callable[[], None],
        lost: Callable[[], None],
        ttl_ms: int = TTL_MS,
    ) -> None:
        """`ledger` must stand on a `PostgresRecorder`; neither it nor `leases` is closed here."""
        assert isinstance(ledger.recorder, PostgresRecorder), "only PostgreSQL can be shared"  # noqa: S101 (states what cannot be otherwise)
        self._ledger, self._recorder = ledger, ledger.recorder
        self._committed, self._became_owner, self._lost = committed, became_owner, lost
        self._seen = ledger.position
        self._office: _Office | None = None
        self._link: CommandLink | None = None
        self._search: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0
        self._trouble: Exception | None = None
        self._is_closed = False
        greeting()  # Read from the sources once, not in somebody's event loop.
        # A path of a socket is short, and nobody else may enter this folder.
        self._folder = Path(tempfile.mkdtemp(prefix="payphone-"))
        self._address = str(self._folder / "ledger.sock")
        self._news: SimpleQueue[Lease | str] = SimpleQueue()
        self._keeper = LeaseKeeper(
            leases,
            address=self._address,
            taken=self._news.put,
            lost=lambda: self._news.put("lost"),
            seen=self._leave_other_owners,
            ttl_ms=ttl_ms,
        )
        self._thread = threading.Thread(target=self._serve, name="ledger-role", daemon=True)
        self._begin()

    def _begin(self) -> None:
        self._thread.start()

    @property
    def position(self) -> int:
        """The last durable event that this process knows of; at least its own last command's."""
        office = self._office
        return self._seen if office is None else max(self._seen, office.owner.position)

    @property
    def is_owner(self) -> bool:
        """Whether commands run in this process now."""
        return self._office is not None and self._keeper.is_sure

    async def run(self, command: Callable[[Work], T]) -> T:
        give_up_s, was_asked = 0.0, False
        while True:
            try:
                office, link = self._reachable()
                if office is not None:
                    return await self._run_here(office.owner, command)
                if link is not None:
                    return await link.run(command)
            except MovedError:
                was_asked = True
            except BusyError as busy:
                # "Busy" would say that nothing was done, and the first time perhaps something was.
                if was_asked:
                    raise LedgerDownError from busy
                raise
            give_up_s = give_up_s or monotonic() + WAIT_S
            await self._wait_for_owner(give_up_s, is_new=not was_asked)

    async def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        return await asyncio.to_thread(self._recorder.history, originator_ids)

    def close(self) -> None:
        """Commit what is queued, give the lease back, stop; later commands are refused as busy."""
        self._is_closed = True
        self._news.put("closing")
        self._thread.join()
        self._keeper.close()
        self._tell_loop(self._hang_up)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _reachable(self) -> tuple[_Office | None, CommandLink | None]:
        """Who may be asked now: our own owner, another's, or nobody yet."""
        if self._is_closed:
            raise BusyError
        office, link = self._office, self._link
        if office is not None:
            return office if self._keeper.is_sure else None, None
        return None, link if link is not None and link.is_open else None

    async def _run_here(self, owner: LedgerOwner, command: Callable[[Work], T]) -> T:
        try:
            return await owner.run(command)
        except LedgerDownError as refusal:
            if not isinstance(refusal.__cause__, FencedError):
                raise
            self._doubt(owner)
            raise MovedError from refusal
        except BusyError:
            if self._office is not None and self._office.owner is owner:
                raise
            raise MovedError from None

    async def _wait_for_owner(self, give_up_s: float, *, is_new: bool) -> None:
        """Until there may be somebody to ask; LedgerDownError when that takes too long."""
        left_s = give_up_s - monotonic()
        if left_s <= 0:
            raise LedgerDownError from self._trouble
        if is_new and self._waiting >= WAITING_MAX:
            raise BusyError
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._find_owner())
        self._waiting += 1
        try:
            await asyncio.wait({self._search}, timeout=left_s)
        finally:
            self._waiting -= 1

    async def _find_owner(self) -> None:
        """One search for all who wait: until this process owns the ledger or reaches who does."""
        self._loop = asyncio.get_running_loop()
        until_s = monotonic() + WAIT_S
        while monotonic() < until_s and not self._is_closed:
            # Also before the first look: what sent us here may need a moment.
            await asyncio.sleep(RETRY_S)
            if self.is_owner:
                return
            holder = self._keeper.holder
            if self._office is None and holder is not None and holder.address != self._address:
                try:
                    await self._call(holder.address)
                except (OSError, WireError) as trouble:
                    self._note(trouble)
                else:
                    self._trouble = None
                    return

    async def _call(self, address: str) -> None:
        self._hang_up()
        self._link = await CommandLink.open(address, heard=self._hear)

    def _note(self, trouble: Exception) -> None:
        """Say once why the owner cannot be reached."""
        if str(trouble) != str(self._trouble):
            log.warning("ledger owner not reached", extra={"why": str(trouble)})
        self._trouble = trouble

    def _hear(self, position: int) -> None:
        self._seen = max(self._seen, position)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _leave_other_owners(self) -> None:
        """Whoever waits for an owner that has been replaced asks the new one."""
        self._tell_loop(self._leave)

    def _leave(self) -> None:
        holder = self._keeper.holder
        if self._link is not None and (holder is None or self._link.address != holder.address):
            self._hang_up()

    def _tell_loop(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            # A loop that was closed meanwhile has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(what)

    def _doubt(self, owner: LedgerOwner) -> None:
        """The store says that we were replaced; where the lease does not, it is taken anew."""
        office = self._office
        if office is not None and office.owner is owner and self._keeper.is_sure:
            self._keeper.resign()

    def _confirm(self) -> None:
        if not self._keeper.is_sure:
            raise FencedError("the lease may have lapsed")

    def _serve(self) -> None:
        """Take over and hand over, one after the other."""
        while (news := self._news.get()) != "closing":
            if isinstance(news, Lease):
                self._take_over(news)
            else:
                self._hand_over()
        self._hand_over()

    def _take_over(self, lease: Lease) -> None:
        self._leave_other_owners()
        self._recorder.hold(lease)
        try:
            self._became_owner()
            self._office = self._open()
        except (PersistenceError, LedgerDownError) as failure:
            log.warning("not taken over for now", extra={"failure": str(failure)})
            self._keeper.resign()
        except Exception:
            # Whatever is wrong here, another process may do better.
            log.exception("the ledger cannot be owned here")
            self._keeper.resign(for_good=True)

    def _open(self) -> _Office:
        owner = LedgerOwner(
            self._ledger,
            history=self._recorder.history,
            committed=self._committed,
            confirm=self._confirm,
        )
        try:
            # Some systems sweep out what lies unused among temporary files.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            server = CommandServer(self._address, owner, fenced=lambda: self._doubt(owner))
        except OSError:
            owner.close()
            self._tell_lost()
            raise
        return _Office(owner, server)

    def _hand_over(self) -> None:
        office, self._office = self._office, None
        if office is None:
            return
        office.server.leave()
        # The lease is gone or will be: what is queued is written or fenced, and nothing else is.
        office.owner.close()
        self._seen = max(self._seen, office.owner.position)
        office.server.close()
        self._tell_lost()

    def _tell_lost(self) -> None:
        try:
            self._lost()
        except Exception:
            # The next word must be heard.
            log.exception("whoever follows the ledger failed")
