"""How a price book comes into force: written to the log before anything is sold under it."""

from __future__ import annotations

from domain.gateway import Gateway
from domain.ledger import Work
from domain.price_list import PublishedPriceBook


async def publish_prices(gateway: Gateway) -> None:
    """Publish the gateway's price book once; other rates under the same version are refused."""
    now_ms = gateway.clock.now_ms()

    def command(work: Work) -> None:
        book = gateway.price_book
        published = work.find(PublishedPriceBook, PublishedPriceBook.create_id(book.version))
        if published is None:
            work.add(PublishedPriceBook.publish(book, at_ms=now_ms))
        else:
            published.check_same(book)

    await gateway.books.run(command)
