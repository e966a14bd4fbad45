"""Who owns a partition of the ledger: one process at a time, for as long as it says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from eventsourcing.persistence import PersistenceError

from adapters.store import postgres_schema as sql
from adapters.store.postgres_connections import Readers

TTL_MS = 3_000
# A live owner may miss two heartbeats; a dead one is replaced a poll after its lease has lapsed.
HEARTBEATS = 3
POLLS = 6

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write a partition. `owner` is new each time; `address` is where to reach it."""

    partition: int
    epoch: int
    owner: str
    address: str


class Leases:
    """The table of leases. All times are the database's, so no two clocks need agree."""

    def __init__(self, url: str) -> None:
        self._readers = Readers(url)

    def acquire(
        self, owner: str, *, address: str, partition: int = 0, ttl_ms: int = TTL_MS
    ) -> Lease | None:
        """The lease in a new epoch, or None while another owner's runs."""
        holder = self.holder(partition)
        if holder is not None and holder.owner != owner:
            return None
        ((epoch,),) = self._readers.read(sql.LEASE, (partition, owner, address, ttl_ms))
        if epoch is None:
            return None
        return Lease(partition=partition, epoch=epoch, owner=owner, address=address)

    def renew(self, lease: Lease, *, ttl_ms: int = TTL_MS) -> bool:
        """Whether it is still this owner's, and then for another while."""
        return bool(self._readers.read(sql.RENEW, (ttl_ms, lease.partition, lease.owner)))

    def release(self, lease: Lease) -> None:
        """Let the next one have it at once."""
        self._readers.read(sql.RELEASE, (lease.partition, lease.owner))

    def holder(self, partition: int = 0) -> Lease | None:
        """Who holds it now."""
        rows: list[tuple[Any, ...]] = self._readers.read(sql.HOLDER, (partition,))
        for epoch, owner, address in rows:
            return Lease(partition=partition, epoch=epoch, owner=owner, address=address)
        return None

    def close(self) -> None:
        self._readers.close()


class LeaseKeeper:
    """One thread that takes the lease when it is free, and keeps it alive while it has it.

    `taken` is called with each lease, `lost` when another owner was found in its place; both in
    this thread, which must go on with the heartbeat: they only pass the word on. While another
    holds the lease, `holder` says who, and `seen` is called when that changes. A database that does
    not answer changes nothing: the lease may lapse, and whoever took it meanwhile is found at the
    next heartbeat.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        address: str,
        taken: Callable[[Lease], None],
        lost: Callable[[], None],
        seen: Callable[[], None] = lambda: None,
        partition: int = 0,
        ttl_ms: int = TTL_MS,
    ) -> None:
        self._leases = leases
        self._seen = seen
        self._ttl_ms = ttl_ms
        self._address = address
        self._partition = partition
        self._taken = taken
        self._lost = lost
        self._held: Lease | None = None
        self._holder: Lease | None = None
        self._good_until_s = 0.0
        self._is_wanted = True
        self._resigning = False
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ledger-lease", daemon=True)
        self._thread.start()

    @property
    def held(self) -> Lease | None:
        return self._held

    @property
    def holder(self) -> Lease | None:
        """Who was seen to hold the lease last, this process included; None when nobody was."""
        return self._held or self._holder

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have taken the lease by now; False says only that one may have.

        The lease runs from before we asked for it, by a clock that runs as the database's does.
        """
        return self._held is not None and monotonic() < self._good_until_s

    def resign(self, *, for_good: bool = False) -> None:
        """Give the lease back, if it is ours, and take it again in a new epoch; or never again."""
        if for_good:
            self._is_wanted = False
        self._resigning = True
        self._woken.set()

    def close(self) -> None:
        """Give the lease back and stop. Call it after the last write."""
        self._closing.set()
        self._woken.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closing.is_set():
            try:
                self._step()
            except PersistenceError as failure:
                log.warning("lease not confirmed", extra={"failure": str(failure)})
            except Exception:
                # The heartbeat goes on, whatever is wrong: without it nobody here would know more.
                log.exception("lease not confirmed")
            rounds = HEARTBEATS if self._held else POLLS
            self._woken.wait(self._ttl_ms / rounds / 1_000)
            self._woken.clear()
        self._release()

    def _release(self) -> None:
        if self._held is None:
            return
        try:
            self._leases.release(self._held)
        except PersistenceError as failure:
            log.warning("lease left to lapse", extra={"failure": str(failure)})
        self._held = None

    def _step(self) -> None:
        asked_s = monotonic()
        resigning, self._resigning = self._resigning, False
        if self._held is not None and (
            resigning or not self._leases.renew(self._held, ttl_ms=self._ttl_ms)
        ):
            log.error("lease lost", extra={"epoch": self._held.epoch})
            self._release()
            self._lost()
            if resigning:
                return  # Others first.
        if self._held is None:
            self._held = self._acquire()
            if self._held is not None:
                log.info("lease taken", extra={"epoch": self._held.epoch})
                self._good_until_s = asked_s + self._ttl_ms / 1_000
                self._taken(self._held)
            else:
                self._look()
        self._good_until_s = asked_s + self._ttl_ms / 1_000

    def _acquire(self) -> Lease | None:
        if not self._is_wanted:
            return None
        return self._leases.acquire(
            uuid4().hex, address=self._address, partition=self._partition, ttl_ms=self._ttl_ms
        )

    def _look(self) -> None:
        """Who has it, then? An owner that is late with its heartbeat is kept in mind."""
        holder = self._leases.holder(self._partition)
        if holder is not None and holder != self._holder:
            self._holder = holder
            self._seen()
