"""Aggregates at hand, so that a command need not read what it changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from domain.aggregate import LedgerAggregate

CACHE_MAX = 100_000
# What is over is asked for a little longer (a repeated close, a bill), and then hardly ever.
OVER_MAX = 2_000


class AggregateCache:
    """The aggregates changed last; those that nothing more happens to make room first.

    Whatever is kept here the garbage collector walks through from time to time, while everybody
    waits: a hundred thousand closed sessions are a tenth of a second.
    """

    def __init__(self) -> None:
        # By the ids' numbers, the longest unused first: a UUID hashes and compares in Python.
        self._alive: OrderedDict[int, LedgerAggregate] = OrderedDict()
        self._over: OrderedDict[int, LedgerAggregate] = OrderedDict()

    def get(self, number: int) -> LedgerAggregate | None:
        return self._alive.get(number) or self._over.get(number)

    def keep(self, aggregates: dict[int, LedgerAggregate]) -> None:
        """Take these in, in place of what was known of them."""
        for number, aggregate in aggregates.items():
            kept, other = self._alive, self._over
            if aggregate.is_over:
                kept, other = other, kept
            other.pop(number, None)
            kept[number] = aggregate
            kept.move_to_end(number)
        while len(self._alive) > CACHE_MAX:
            self._alive.popitem(last=False)
        while len(self._over) > OVER_MAX:
            self._over.popitem(last=False)

    def clear(self) -> None:
        self._alive.clear()
        self._over.clear()

    def drop(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._alive.pop(number, None)
            self._over.pop(number, None)
