"""The sessions of one agent session, opened and extended together."""

from __future__ import annotations

from uuid import UUID

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, instant


class Bundle(LedgerAggregate):
    """Names its sessions; money and time are theirs."""

    TOPIC = "bundle"

    class Event(LedgerEvent): ...

    class Opened(Event, AggregateCreated):
        TOPIC = "bundle.opened"
        account_id: UUID
        session_ids: tuple[UUID, ...]
        expires_at_ms: int
        request_hash: str

    class Extended(Event):
        TOPIC = "bundle.extended"
        expires_at_ms: int
        request_id: str

    @classmethod
    def open(
        cls,
        *,
        bundle_id: UUID,
        account_id: UUID,
        session_ids: tuple[UUID, ...],
        expires_at_ms: int,
        request_hash: str,
        at_ms: int,
    ) -> Bundle:
        return cls._create(
            cls.Opened,
            id=bundle_id,
            account_id=account_id,
            session_ids=session_ids,
            expires_at_ms=expires_at_ms,
            request_hash=request_hash,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(
        self,
        account_id: UUID,
        session_ids: tuple[UUID, ...],
        expires_at_ms: int,
        request_hash: str,
        at_ms: int,
    ) -> None:
        self.account_id = account_id
        self.session_ids = session_ids
        self.expires_at_ms = expires_at_ms
        self.request_hash = request_hash
        self.opened_at_ms = at_ms
        self.request_ids: set[str] = set()

    def extend(self, *, expires_at_ms: int, request_id: str, at_ms: int) -> None:
        """Note the extension; a request that was answered before changes nothing."""
        if request_id not in self.request_ids:
            self._extended(expires_at_ms=expires_at_ms, request_id=request_id, at_ms=at_ms)

    @event(Extended)
    def _extended(self, expires_at_ms: int, request_id: str, at_ms: int) -> None:
        self.expires_at_ms = expires_at_ms
        if request_id:
            self.request_ids.add(request_id)
