from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from queue import SimpleQueue

import pytest
from eventsourcing.persistence import OperationalError

from adapters.store.lease import Lease, LeaseKeeper, Leases
from adapters.store.postgres import PostgresRecorder

pytestmark = pytest.mark.postgres

TTL_MS = 300
TURN_S = 0.01
TURNS = 1_000


class DeafLeases(Leases):
    """A table of leases that stops answering while `is_deaf`."""

    is_deaf = False

    def renew(self, lease: Lease, *, ttl_ms: int = TTL_MS) -> bool:
        if self.is_deaf:
            raise OperationalError("no answer")
        return super().renew(lease, ttl_ms=ttl_ms)


class Owner:
    """A keeper, and the words it passes on."""

    def __init__(self, leases: Leases) -> None:
        self.words: SimpleQueue[str] = SimpleQueue()
        self.keeper = LeaseKeeper(
            leases,
            address="/here",
            taken=lambda lease: self.words.put(f"taken {lease.epoch}"),
            lost=lambda: self.words.put("lost"),
            seen=lambda: self.words.put("seen"),
            ttl_ms=TTL_MS,
        )

    def hear(self) -> str:
        return self.words.get(timeout=10)


@pytest.fixture
def leases(database: str) -> Iterator[DeafLeases]:
    PostgresRecorder(database).close()
    with closing(DeafLeases(database)) as opened:
        yield opened


def until(what: Callable[[], bool]) -> None:
    patience = threading.Event()
    for _ in range(TURNS):
        if what():
            return
        patience.wait(TURN_S)
    raise AssertionError("it never came to that")


def test_an_owner_is_sure_only_while_its_lease_cannot_have_lapsed(leases: DeafLeases) -> None:
    owner = Owner(leases)
    with closing(owner.keeper):
        assert owner.hear() == "taken 1"
        assert owner.keeper.is_sure

        leases.is_deaf = True
        until(lambda: not owner.keeper.is_sure)
        assert owner.keeper.held is not None

        leases.is_deaf = False
        until(lambda: owner.keeper.is_sure)


def test_an_owner_in_doubt_takes_the_lease_anew(leases: DeafLeases) -> None:
    owner = Owner(leases)
    with closing(owner.keeper):
        assert owner.hear() == "taken 1"

        owner.keeper.resign()

        assert [owner.hear(), owner.hear()] == ["lost", "taken 2"]
        assert owner.keeper.is_sure


def test_an_owner_that_resigns_for_good_leaves_the_lease_to_others(leases: DeafLeases) -> None:
    owner = Owner(leases)
    with closing(owner.keeper):
        assert owner.hear() == "taken 1"

        owner.keeper.resign(for_good=True)

        assert owner.hear() == "lost"
        other = leases.acquire("other", address="/there")
        assert other is not None
        assert owner.hear() == "seen"
        assert owner.keeper.holder == other
        assert not owner.keeper.is_sure
