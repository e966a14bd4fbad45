"""Which price books were ever in force, as events, so that every bill can be recomputed."""

from __future__ import annotations

from uuid import UUID

from eventsourcing.domain import AggregateCreated

from domain.aggregate import LedgerAggregate, LedgerEvent, derive_id, instant
from domain.errors import ConflictingRequestError
from domain.pricing import PriceBook


class PublishedPriceBook(LedgerAggregate):
    """One version of the price book; a version's content never changes."""

    TOPIC = "price_book"

    class Event(LedgerEvent): ...

    class Published(Event, AggregateCreated):
        TOPIC = "price_book.published"
        version_name: str
        content: str
        content_hash: str

    @staticmethod
    def create_id(version_name: str) -> UUID:
        return derive_id("price_book", version_name)

    @classmethod
    def publish(cls, book: PriceBook, *, at_ms: int) -> PublishedPriceBook:
        return cls._create(
            cls.Published,
            version_name=book.version,
            content=book.content,
            content_hash=book.hash,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(self, version_name: str, content: str, content_hash: str, at_ms: int) -> None:
        self.version_name = version_name
        self.content = content
        self.content_hash = content_hash
        self.published_at_ms = at_ms

    def check_same(self, book: PriceBook) -> None:
        """Refuse other rates under a version name that was published."""
        if book.hash != self.content_hash:
            raise ConflictingRequestError(what=f"price book version {book.version}")
