"""How many requests a second one caller may make: a token bucket each, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from domain.errors import RateLimitError
from domain.ports.clock import Clock

CALLERS_MAX = 10_000
_MS_PER_S = 1_000


class RateLimit:
    """`rate_max` requests a second, and as many as `2 * rate_max` at once after a rest.

    Kept as one whole number a caller: when its bucket will be full again, in 1/`rate_max` ms, so
    that nothing is rounded. The caller longest unseen is forgotten first; by then its bucket is
    full, or ten thousand others were busier.
    """

    def __init__(self, clock: Clock, *, rate_max: int) -> None:
        self._clock = clock
        self._rate_max = rate_max
        self._full_at: OrderedDict[Hashable, int] = OrderedDict()

    def check(self, caller: Hashable) -> None:
        """Count nothing; RateLimitError, saying when to come back, where the bucket is empty."""
        now = self._now()
        over = self._full_at_of(caller, now) - now - (2 * self._rate_max - 1) * _MS_PER_S
        if over > 0:
            raise RateLimitError(limit=self._rate_max, retry_after_ms=-(-over // self._rate_max))

    def take(self, caller: Hashable) -> None:
        """Count one request; RateLimitError says when the next one will be welcome."""
        self.check(caller)
        self.charge(caller)

    def charge(self, caller: Hashable, cost: int = 1) -> None:
        """Count `cost` requests that were made already; nobody owes more than a whole bucket."""
        now = self._now()
        full_at = self._full_at_of(caller, now) + cost * _MS_PER_S
        self._full_at[caller] = min(full_at, now + 2 * self._rate_max * _MS_PER_S)
        self._full_at.move_to_end(caller)
        if len(self._full_at) > CALLERS_MAX:
            self._full_at.popitem(last=False)

    def _full_at_of(self, caller: Hashable, now: int) -> int:
        return max(now, self._full_at.get(caller, now))

    def _now(self) -> int:
        return self._clock.now_ms() * self._rate_max
