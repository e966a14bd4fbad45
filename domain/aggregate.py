"""What every aggregate of the ledger shares: identity from names, time from events."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid5

from eventsourcing.domain import AggregateEvent, BaseAggregate, CanMutateAggregate

# Ours alone, so that ids derived from wallets and proofs collide with nobody's.
NAMESPACE = UUID("6a8f3f6e-6d0c-5b0e-9d55-70a7f40c0001")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def derive_id(kind: str, name: str) -> UUID:
    """The id of the one thing of this kind that has this name."""
    return uuid5(NAMESPACE, f"{kind}:{name}")


def instant(at_ms: int) -> datetime:
    """The library's metadata form of an event's own time; exact."""
    return _EPOCH + timedelta(milliseconds=at_ms)


class LedgerEvent(AggregateEvent):
    """A fact of the ledger; `at_ms` is when it was so, in ms since the Unix epoch."""

    at_ms: int


class LedgerAggregate(BaseAggregate[UUID]):
    """An aggregate whose only clock is the `at_ms` of its events."""

    def trigger_event(self, event_class: type[CanMutateAggregate[UUID]], **kwargs: Any) -> None:  # noqa: ANN401 (the library's signature)
        super().trigger_event(event_class, timestamp=instant(kwargs["at_ms"]), **kwargs)

    def clone(self) -> Self:
        """A copy that can change without the original knowing; values themselves are immutable."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                setattr(twin, name, value.copy())
        return twin
