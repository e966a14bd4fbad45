"""What every aggregate of the ledger shares: identity from names, time from events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from inspect import signature
from operator import itemgetter
from typing import Any, Self, cast
from uuid import UUID, uuid5

from eventsourcing.domain import (
    AggregateCreated,
    AggregateEvent,
    BaseAggregate,
    CanMutateAggregate,
    CommandMethodDecorator,
    OriginatorIDError,
    OriginatorVersionError,
    TAggregate,
    decorated_func_callers,
    decorated_funcs,
)
from eventsourcing.utils import resolve_topic

# Ours alone, so that ids derived from wallets and proofs collide with nobody's.
NAMESPACE = UUID("6a8f3f6e-6d0c-5b0e-9d55-70a7f40c0001")
# What the library adds to every event, and what a stored event need not say.
METADATA = frozenset({"originator_id", "originator_version", "timestamp", "originator_topic"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTAINERS = frozenset({dict, list, set})


def derive_id(kind: str, name: str) -> UUID:
    """The id of the one thing of this kind that has this name."""
    return uuid5(NAMESPACE, f"{kind}:{name}")


@lru_cache(maxsize=1024)
def instant(at_ms: int) -> datetime:
    """The library's metadata form of an event's own time; exact."""
    return _EPOCH + timedelta(milliseconds=at_ms)


class LedgerEvent(AggregateEvent):
    """A fact of the ledger; `at_ms` is when it was so, in ms since the Unix epoch."""

    at_ms: int

    def mutate(self, aggregate: TAggregate | None) -> TAggregate | None:
        """The library's own, with what it looks up for every event looked up once a class."""
        function, values_of = _applier(type(self))
        if function is None:
            if aggregate is None and isinstance(self, AggregateCreated):
                return cast("TAggregate", _begun(self))
            return super().mutate(aggregate)
        if aggregate is None:
            raise OriginatorVersionError(self.originator_version, 1)
        if self.originator_id != aggregate.id:
            raise OriginatorIDError(self.originator_id, aggregate.id)
        version = aggregate.version + 1
        if self.originator_version != version:
            raise OriginatorVersionError(self.originator_version, version)
        function(aggregate, *values_of(self.__dict__))
        aggregate.version = version
        aggregate.modified_on = self.timestamp
        return aggregate


class LedgerAggregate(BaseAggregate[UUID]):
    """An aggregate whose only clock is the `at_ms` of its events."""

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401 (the library's options)
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if isinstance(member, CommandMethodDecorator):
                setattr(cls, name, _command(member))

    def trigger_event(self, event_class: type[CanMutateAggregate[UUID]], **values: Any) -> None:  # noqa: ANN401 (the library's signature)
        _trigger(self, event_class, values)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it, as far as anybody can tell."""
        return False

    def clone(self) -> Self:
        """A copy that can change without the original knowing; values themselves are immutable."""
        twin = object.__new__(type(self))
        state = twin.__dict__
        state.update(self.__dict__)
        for name, value in state.items():
            if type(value) in _CONTAINERS:
                state[name] = value.copy()
        return twin


def _begun(event: AggregateCreated) -> LedgerAggregate:
    """The aggregate that begins with this event."""
    kind, begin, values_of = _beginner(event.originator_topic)
    aggregate = object.__new__(kind)
    aggregate.__base_init__(event.originator_id, event.originator_version, event.timestamp)
    begin(aggregate, *values_of(event.__dict__))
    return aggregate


@cache
def _beginner(
    topic: str,
) -> tuple[type[LedgerAggregate], Callable[..., None], Callable[[dict[str, Any]], tuple[Any, ...]]]:
    """The aggregate class of a topic, its `__init__`, and how to pick the arguments of that."""
    kind: type[LedgerAggregate] = resolve_topic(topic)
    begin = vars(kind)["__init__"]
    return kind, begin, picker(_parameters(begin))


def _trigger(
    aggregate: LedgerAggregate, event_class: type[CanMutateAggregate[UUID]], values: dict[str, Any]
) -> None:
    """Make the event, apply it, and keep it until it is collected.

    As the library does it, without its checks of what `_command` checked once a class.
    """
    values["originator_id"] = aggregate.id
    values["originator_version"] = aggregate.version + 1
    values["timestamp"] = instant(values["at_ms"])
    event = object.__new__(event_class)
    event.__dict__.update(values)
    event.mutate(aggregate)
    aggregate.pending_events.append(event)


def _command(decorator: CommandMethodDecorator) -> Callable[..., None]:
    """What `@event` makes of an applier: a method that triggers its event."""
    event_class = cast("type[CanMutateAggregate[UUID]]", decorated_func_callers[decorator])
    applier = decorator.decorated_func
    names = frozenset(_parameters(applier))
    if names != event_fields(event_class):
        raise TypeError(f"{applier.__qualname__} takes other values than its event has")

    def command(aggregate: LedgerAggregate, **values: Any) -> None:  # noqa: ANN401 (the event's own fields)
        if values.keys() != names:
            raise TypeError(f"{applier.__qualname__} takes {sorted(names)}, got {sorted(values)}")
        _trigger(aggregate, event_class, values)

    command.__name__, command.__qualname__ = applier.__name__, applier.__qualname__
    return command


def event_fields(event_class: type) -> frozenset[str]:
    """The fields of an event that are its own."""
    names: dict[str, object] = event_class.__dataclass_fields__  # type: ignore[attr-defined]  # events are dataclasses
    return frozenset(names) - METADATA


@cache
def _applier(
    event_class: type,
) -> tuple[Callable[..., None] | None, Callable[[dict[str, Any]], tuple[Any, ...]]]:
    """What `@event` decorated for this event (None if nothing), and how to pick its arguments."""
    function = decorated_funcs.get(event_class)
    names = () if function is None else _parameters(function)
    return function, picker(names)


def picker(names: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A function that takes these values out of a dict, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _parameters(applier: Callable[..., None]) -> tuple[str, ...]:
    return tuple(signature(applier).parameters)[1:]
