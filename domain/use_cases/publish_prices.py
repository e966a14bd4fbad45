"""How a price book comes into force: written to the log before anything is sold under it."""

from __future__ import annotations

from functools import partial

from domain.gateway import Gateway
from domain.ledger import Work
from domain.price_list import PublishedPriceBook
from domain.pricing import PriceBook


async def publish_prices(gateway: Gateway) -> None:
    """Publish the gateway's price book once; other rates under the same version are refused."""
    await gateway.books.run(
        partial(_publish, book=gateway.price_book, at_ms=gateway.clock.now_ms())
    )


def _publish(work: Work, *, book: PriceBook, at_ms: int) -> None:
    published = work.find(PublishedPriceBook, PublishedPriceBook.create_id(book.version))
    if published is None:
        work.add(PublishedPriceBook.publish(book, at_ms=at_ms))
    else:
        published.check_same(book)
