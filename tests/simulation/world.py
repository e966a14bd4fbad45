"""A seeded world: many customers, one gateway after another, one ledger, and everything goes wrong.

The domain, the owner, the store, the log and the lists are the real ones. The chain, the time, the
disk's faults and the order in which things happen are played, and come from the seed alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.errors import GatewayError
from domain.gateway import RefundTerms, Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.session import Session
from domain.switchboard import Switchboard
from domain.turnstile import Turnstile
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.reconcile import reconcile, recover_clocks
from projections.sqlite import SqliteTables
from tests.fakes.clock import START_MS
from tests.fakes.gateway import House
from tests.simulation.actions import REFUND_FEE, Actions
from tests.simulation.clients import Life
from tests.simulation.endings import check_ending
from tests.simulation.loop import SeededLoop
from tests.simulation.onlooker import Onlooker
from tests.simulation.process import Process
from tests.simulation.storage import Storage

STEPS = 40
CLIENTS_MAX = 6
HEARTBEAT_MS = 10_000
TURNS_MAX = 120
JUMP_BACK_MS_MAX = 120_000
ROWS_MAX = 100_000
REFUNDS = RefundTerms(enabled=True, least=Microcredits(10_000), fee=REFUND_FEE)


class World:
    """One seed's. `trace` says what happened, a line each; `seen` counts it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 (a simulation wants repeatable dice)
        self.trace: list[str] = []
        self.seen: Counter[str] = Counter()
        self.step = 0
        self.house = House(terms=Terms(refunds=REFUNDS))
        self.clock, self.rail = self.house.clock, self.house.rail
        self.stack = ExitStack()
        self.loop = self.stack.enter_context(closing(SeededLoop(self.dice)))
        self.storage = self.stack.enter_context(closing(Storage(self.dice)))
        self.onlooker = Onlooker(self.storage)
        self.tables = SqliteTables(":memory:")
        self.actions = Actions(self)
        self.is_dead = False

    @property
    def lives(self) -> dict[UUID, Life]:
        return self.actions.lives

    def run(self) -> str:
        """Live through it; AssertionError at the first broken invariant. The trace's hash."""
        with self.stack:
            self._start()
            try:
                for self.step in range(1, STEPS + 1):
                    self._step()
                self._end()
            finally:
                self.storage.heal()
                self._stop_process()
                self.tables.close()
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def note(self, text: str) -> None:
        self.trace.append(f"{self.step:>3} {self.clock.now_ms() - START_MS:>9} ms  {text}")

    def _start(self) -> None:
        """A process begins where the last one left the store."""
        self.is_dead = False
        self.process = Process(
            self.storage,
            self.tables,
            self.onlooker,
            replace(
                self.house.gateway,
                switchboard=Switchboard(),
                turnstile=Turnstile(),
                new_id=lambda: UUID(int=self.dice.getrandbits(128), version=4),
            ),
            self._died,
        )
        self.note(f"a process begins, epoch {self.process.epoch}")
        self.loop.live(self._recover())
        # Nobody is let in before the clocks of the one before were stopped.
        self.actions.gateway_changed()

    async def _recover(self) -> None:
        await publish_prices(self.process.gateway)
        await recover_clocks(self.process.gateway)

    def _died(self) -> None:
        self.is_dead = True
        self.loop.stop()

    def _stop_process(self) -> None:
        """It is gone, with all that was under way."""
        self.process.die()
        self.loop.bury()
        self.process.close()

    def _restart(self) -> None:
        self.storage.heal()
        self._stop_process()
        for life in self.lives.values():
            life.crash(self.clock.now_ms())
        self.actions.process_died()
        self.onlooker.look()
        self.onlooker.check_attempts()
        if self.dice.random() < 1 / 3:
            self.tables.close()
            self.tables = SqliteTables(":memory:")
            self.note("the lists are lost")
        self._start()

    def _step(self) -> None:
        turns = self._misfortune()
        chosen = self.actions.choose(self.dice.randrange(1, CLIENTS_MAX))
        lives_on = self._lives_through(self._together(chosen), turns) and self._lives_through(
            self._quiet()
        )
        if not lives_on:
            self.note("the process dies")
            self.seen["crash"] += 1
            self._restart()
        self.onlooker.look()
        self.onlooker.check_attempts()
        self.loop.live(self._compare())
        self.note(f"{self.onlooker.position} events, {self.onlooker.acknowledged} answers")

    def _lives_through(
        self, coroutine: Coroutine[Any, Any, None], turns: int | None = None
    ) -> bool:
        """Whether the process is still there at the end of it."""
        return self.loop.live(coroutine, turns=turns) and not self.is_dead

    async def _together(self, chosen: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Each its own customer; who comes when is the loop's choice."""
        await asyncio.gather(*(self._attempt(action) for action in chosen))

    async def _attempt(self, action: Callable[[], Awaitable[None]]) -> None:
        name = getattr(action, "__name__", "action")
        try:
            await action()
        except GatewayError as refusal:
            name = f"{name}: {refusal.code}"
        except OSError:
            # What whoever waits for lists is told when they cannot be followed.
            name = f"{name}: lists failed"
        self.seen[name] += 1
        self.note(name)

    async def _quiet(self) -> None:
        """Time passes where it was told to; whoever is connected is heard of every ten seconds."""
        await self.process.purchases.drain()
        await self.process.refunds.drain()
        await self.actions.pass_time()

    def _misfortune(self) -> int | None:
        """What goes wrong in this step; how many turns the process has left, where they count."""
        storage, process, dice = self.storage, self.process, self.dice
        storage.heal()
        process.owner.patience = dice.choice((0, 0, 3, 20))
        process.follower.patience = dice.choice((0, 5, 30))
        self.rail.loses_answers = dice.random() < 0.15
        self.rail.unreadable = dice.random() < 0.1
        self.rail.refuses = dice.random() < 0.1
        if process.follower.has_failed:
            process.heal_follower()
            self.actions.gateway_changed()
        kinds: dict[str, tuple[int, Callable[[], int | None]]] = {
            "": (10, lambda: None),
            "dies before a write": (1, partial(self._set, storage, "dies", "before")),
            "dies after a write": (1, partial(self._set, storage, "dies", "after")),
            "dies at a turn": (2, lambda: dice.randrange(1, TURNS_MAX)),
            "full disk": (1, partial(self._set, storage, "full", value=True)),
            "conflicts": (2, partial(self._set, storage, "conflicts", 3)),
            "lost answers": (2, partial(self._set, storage, "forgets", 2)),
            "snapshots lie": (2, partial(self._forget, lies=3)),
            "memory was short": (2, partial(self._forget, lies=0)),
            "lists fail": (1, partial(self._set, process.follower, "fails", value=True)),
            "another takes over": (1, self._be_replaced),
            "clock set back": (1, self._set_back),
        }
        weights = [weight for weight, _ in kinds.values()]
        kind = dice.choices(list(kinds), weights)[0]
        if kind:
            self.seen[kind] += 1
            self.note(kind)
        return kinds[kind][1]()

    def _set(self, place: object, name: str, value: object) -> None:
        setattr(place, name, value)

    def _forget(self, *, lies: int) -> None:
        """Everything is read again, from snapshots as they are."""
        self.storage.lies = lies
        self.process.owner.forget()

    def _be_replaced(self) -> None:
        """The old one sleeps, another takes the ledger; the old one wakes, with work to do."""
        old = self.process
        old.owner.patience = 10_000
        asleep = [self._attempt(action) for action in self.actions.choose(3)]
        self.loop.live(self._wait_all(asleep), turns=self.dice.randrange(1, 60))
        for life in self.lives.values():
            life.crash(self.clock.now_ms())
        self.actions.process_died()
        self.tables, tables = SqliteTables(":memory:"), self.tables
        self._start()
        self.loop.live(self._wake_up(old))
        old.die()
        self.loop.bury()
        old.close()
        tables.close()
        self.onlooker.look()
        self.onlooker.check_attempts()

    async def _wait_all(self, attempts: Sequence[Awaitable[None]]) -> None:
        await asyncio.gather(*attempts)

    async def _wake_up(self, old: Process) -> None:
        old.owner._work_off()

    def _set_back(self) -> None:
        ms = self.dice.randrange(JUMP_BACK_MS_MAX)
        self.clock.set_back(ms)
        for life in self.lives.values():
            life.bent_ms += ms

    async def _compare(self) -> None:
        """8: what the owner holds, what snapshots tell and what lists say is what was stored."""
        self.storage.full = False
        self.storage.conflicts = self.storage.forgets = 0
        self.storage.dies = ""
        gateway, onlooker = self.process.gateway, self.onlooker
        follower = self.process.follower
        if not follower.has_failed and not follower.fails:
            await gateway.views.caught_up(gateway.books.position)
        touched = sorted(onlooker.touched)
        for aggregate_id in touched:
            stored = onlooker.aggregates[aggregate_id]
            live = await gateway.books.run(
                partial(Work.find, kind=LedgerAggregate, aggregate_id=aggregate_id)
            )
            assert live == stored, f"8: live {live}, stored {stored}"
            if isinstance(stored, Account) and not follower.has_failed and not follower.fails:
                await self._compare_lists(stored)
            if isinstance(stored, Session) and stored.id in self.lives:
                self.lives[stored.id].check(stored, self.clock.now_ms())
        if touched:
            chosen = self.dice.choice(touched)
            assert self.process.ledger.load(chosen) == onlooker.aggregates[chosen], "8: a snapshot"
        onlooker.touched.clear()
        onlooker.attempts.clear()
        assert self.process.log.size == onlooker.position, "11: the log is behind"
        assert gateway.books.position == onlooker.position

    async def _compare_lists(self, account: Account) -> None:
        rows = await self.process.gateway.views.transactions(account.id, limit=ROWS_MAX, offset=0)
        assert sum(row.amount for row in rows) == account.available.value, f"8: lists of {account}"
        assert not rows or rows[0].balance_after == account.available.value, f"8: {account}"

    def _end(self) -> None:
        """All outages over and everything settled: nothing lost, nothing doubled, all proven."""
        self.step += 1
        self.storage.heal()
        self.rail.loses_answers = self.rail.unreadable = self.rail.refuses = False
        self._restart()
        self.loop.live(self._settle_all())
        self.onlooker.look()
        self.onlooker.check_attempts()
        self.loop.live(self._compare())
        root = check_ending(self)
        self.note(f"{self.onlooker.position} events, root {root.hex()}")

    async def _settle_all(self) -> None:
        await self.clock.advance(50 * 3_600_000)
        await reconcile(self.process.gateway)
        await reconcile(self.process.gateway)
        await self.process.gateway.log.prove([1])
