"""Seeded lives of a gateway: customers, crashes, lost answers, full disks, jumping clocks.

    python -m tests.simulate --seed 7 --runs 100

A seed decides everything that happens and when, so a failing one fails again. Domain, owner, log
and lists are the real ones on a real file; the chain and the time are played.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID

from adapters.store.audit import audit, bills
from domain.account import Account
from domain.errors import GatewayError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.payments import Purchase
from domain.postings import TrialBalance
from domain.session import Session
from domain.use_cases.close_session import end_session, settle_session
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.meter import connect_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.reconcile import reconcile, recover_clocks
from tests.fakes.clock import ManualClock
from tests.fakes.disk import Disk
from tests.fakes.log import SIGNER_KEY
from tests.fakes.rail import CashRail
from tests.fakes.stored_house import StoredHouse, stored_house
from tests.property.lives import Life, Wire

STEPS = 120
WALLETS = tuple(f"0x{n:040x}" for n in range(1, 5))
PURSE = 10**9
HEARTBEAT_MS = 10_000


@dataclass
class Simulation:
    """One seed's world. `seen` counts what happened, so that a quiet seed can be told."""

    seed: int
    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    seen: Counter[str] = field(default_factory=Counter)
    lives: dict[UUID, Life] = field(default_factory=dict)
    bundles: list[tuple[UUID, UUID]] = field(default_factory=list)
    acknowledged: set[UUID] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 (a simulation wants repeatable dice)
        self.rail = CashRail(self.clock)
        for wallet in WALLETS:
            self.rail.purses[wallet] = PURSE
        self.books = TrialBalance()
        self.stack = ExitStack()

    async def run(self) -> Counter[str]:
        """Live through it; AssertionError at the first broken invariant."""
        await self._start()
        try:
            for _ in range(STEPS):
                await self._step()
                self._check_books()
            await self._end()
        finally:
            self.stack.close()
        return self.seen

    async def _start(self) -> None:
        self.running: StoredHouse = self.stack.enter_context(stored_house(self.folder))
        self.disk = Disk(self.running.recorder)
        self.gateway: Gateway = replace(
            self.running.gateway,
            clock=self.clock,
            rails=(self.rail,),
            new_id=lambda: UUID(int=self.random.getrandbits(128), version=4),
        )
        self.purchases = Purchases(self.gateway)
        await publish_prices(self.gateway)
        await recover_clocks(self.gateway)

    async def _step(self) -> None:
        actions: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (5, self._buy),
            (6, self._open),
            (2, self._open_bundle),
            (3, self._rush),
            (6, self._connect),
            (5, self._drop),
            (8, self._pass_time),
            (3, self._speak),
            (3, self._extend),
            (4, self._close),
            (2, self._sweep),
            (1, self._crash),
            (1, self._fill_disk),
            (1, self._jump),
        ]
        weights = [weight for weight, _ in actions]
        action = self.random.choices([act for _, act in actions], weights)[0]
        try:
            await action()
            self.seen[action.__name__] += 1
        except GatewayError as refusal:
            self.seen[f"{action.__name__} {refusal.code}"] += 1

    async def _buy(self) -> None:
        wallet = self.random.choice(WALLETS)
        purchase = Purchase(
            chain="evm",
            wallet=wallet,
            amount=Microcredits(self.random.choice((100_000, 250_000, 1_000_000))),
            resource_url="sim",
        )
        # Few numbers: many of these are replays, some under other terms.
        coin = self.rail.coin(purchase, number=self.random.randrange(40))
        proof = await self.rail.decode(coin, purchase)
        assert proof is not None
        self.rail.loses_answers = self.random.random() < 0.15
        self.rail.unreadable = self.random.random() < 0.1
        self.rail.refuses = self.random.random() < 0.1
        try:
            await asyncio.gather(
                *(
                    self.purchases.take(self.rail, proof, purchase)
                    for _ in range(self.random.choice((1, 1, 3)))
                )
            )
        finally:
            await self.purchases.drain()
            self.rail.loses_answers = self.rail.unreadable = self.rail.refuses = False

    def _request(self) -> SessionRequest:
        service = self.random.choice(("stt", "tts", "webrtc"))
        quantity = self.random.choice((30_000, 60_000, 300_000))
        return SessionRequest(
            service=service,
            quantity=quantity // 100 if service == "tts" else quantity,
            room_name="room",
            identity="agent",
        )

    def _account(self) -> UUID:
        return Account.create_id("evm", self.random.choice(WALLETS))

    def _remember(self, account_id: UUID, ticket: Ticket) -> None:
        self.acknowledged.add(ticket.session_id)
        self.lives.setdefault(ticket.session_id, Life(ticket, account_id))

    async def _open(self) -> None:
        account_id = self._account()
        key = self.random.choice(("", "", f"key-{self.random.randrange(6)}"))
        ticket = await open_session(self.gateway, account_id, self._request(), request_key=key)
        self._remember(account_id, ticket)

    async def _open_bundle(self) -> None:
        account_id = self._account()
        requests = [self._request() for _ in range(3)]
        tickets = await open_bundle(self.gateway, account_id, requests)
        for ticket in tickets:
            self._remember(account_id, ticket)
        assert tickets[0].bundle_id is not None
        self.bundles.append((account_id, tickets[0].bundle_id))

    async def _rush(self) -> None:
        """Several at once for one wallet: together they never get more than it has."""
        account_id = self._account()
        done = await asyncio.gather(
            *(open_session(self.gateway, account_id, self._request()) for _ in range(4)),
            return_exceptions=True,
        )
        for ticket in done:
            if isinstance(ticket, Ticket):
                self._remember(account_id, ticket)
            elif not isinstance(ticket, GatewayError):
                raise ticket

    def _life(self) -> Life | None:
        return self.random.choice(list(self.lives.values())) if self.lives else None

    async def _connect(self) -> None:
        life = self._life()
        if life is None or life.ticket.service == "webrtc":
            return
        wire = Wire()
        meter = await connect_session(
            self.gateway,
            life.ticket.token,
            service=life.ticket.service,
            connection_id=self.gateway.new_id(),
            line=wire,
        )
        self._leave(life)
        await meter.start()
        wire.meter, life.wire, life.since_ms = meter, wire, self.clock.now_ms()

    def _leave(self, life: Life) -> None:
        """Stop the onlooker's watch."""
        if life.wire is not None:
            life.intervals.append((life.since_ms, self.clock.now_ms()))
            life.wire = None

    async def _drop(self) -> None:
        life = self._life()
        if life is None or life.wire is None:
            return
        wire, meter = life.wire, life.wire.meter
        self._leave(life)
        if meter is not None:
            await meter.stop()
            # A second goodbye, late, changes nothing.
            await meter.stop()
        self.gateway.switchboard.disconnect(life.ticket.session_id, wire)

    async def _speak(self) -> None:
        life = self._life()
        if life is None or life.wire is None or life.ticket.service != "tts":
            return
        session = await self.gateway.books.run(
            partial(Work.session, session_id=life.ticket.session_id)
        )
        if life.wire.meter is None or not session.is_open:
            return
        count = min(self.random.randrange(1, 200), life.wire.meter.remaining)
        life.wire.meter.spend(count)
        life.spoken += count
        await life.wire.catch_up()

    async def _pass_time(self) -> None:
        for _ in range(self.random.randrange(1, 5)):
            await self.clock.advance(self.random.randrange(1, HEARTBEAT_MS))
            await self._beat()

    async def _beat(self) -> None:
        """What a meter's watch does every ten seconds: record, and settle what is spent."""
        for life in list(self.lives.values()):
            if life.wire is None or life.wire.meter is None:
                continue
            await life.wire.catch_up()
            meter = life.wire.meter
            if meter.remaining == 0 or self.clock.now_ms() >= meter.expires_at_ms:
                await settle_session(self.gateway, meter.session_id, reason="spent")
                self._leave(life)

    async def _jump(self) -> None:
        await self.clock.advance(self.random.randrange(60_000, 3 * 3_600_000))
        await self._beat()

    async def _extend(self) -> None:
        key = self.random.choice(("", f"more-{self.random.randrange(4)}"))
        if self.bundles and self.random.random() < 0.3:
            account_id, bundle_id = self.random.choice(self.bundles)
            await extend_bundle(
                self.gateway,
                account_id,
                bundle_id,
                duration_ms=60_000,
                characters=100,
                request_key=key,
            )
            return
        life = self._life()
        if life is not None:
            await extend_session(
                self.gateway,
                life.account_id,
                life.ticket.session_id,
                service=life.ticket.service,
                quantity=self.random.choice((1, 999, 60_000)),
                request_key=key,
            )

    async def _close(self) -> None:
        life = self._life()
        if life is not None:
            await end_session(self.gateway, life.account_id, life.ticket.session_id)

    async def _sweep(self) -> None:
        await reconcile(self.gateway)

    async def _fill_disk(self) -> None:
        """Writes fail for a while; whatever was refused then was not done."""
        self.disk.full = True
        try:
            for _ in range(3):
                await self._open()
        finally:
            self.disk.full = False

    async def _crash(self) -> None:
        """Everything in memory is gone; nothing says goodbye to the ledger."""
        for life in self.lives.values():
            if life.wire is not None:
                life.crashes += 1
                self._leave(life)
        self.stack.close()
        self.stack = ExitStack()
        await self._start()
        await self._check_acknowledged()

    async def _check_acknowledged(self) -> None:
        def command(work: Work) -> set[UUID]:
            return {i for i in self.acknowledged if work.find(Session, i) is None}

        assert await self.gateway.books.run(command) == set()

    def _check_books(self) -> None:
        after = self.books.position
        for record in self.running.ledger.records(after=after, limit=100_000):
            assert self.books.post(record) == (), record
        assert self.books.total == 0

    async def _end(self) -> None:
        """All outages over, everything settled: no coin lost, none doubled, every bill right."""
        for life in self.lives.values():
            if life.wire is not None and life.wire.meter is not None:
                await life.wire.meter.stop()
            self._leave(life)
        await self.clock.advance(50 * 3_600_000)
        await reconcile(self.gateway)
        await reconcile(self.gateway)
        self._check_books()
        found = audit(
            self.running.recorder.scan(),
            checkpoints=self.running.recorder.checkpoints(),
            key=SIGNER_KEY,
            check=_check_signature,
            progress=lambda _done: None,
        )
        bought = -found.books.balances["world:cash"]
        taken = sum(settled.amount.value for settled in self.rail.till.values())
        assert bought == taken, f"{taken} was paid and {bought} credited"
        for session_id, life in self.lives.items():
            session = found.aggregates[session_id]
            assert isinstance(session, Session)
            self._check_session(session, life)
        assert sum(1 for _ in bills(self.running.recorder.scan(), found.aggregates)) == len(
            [a for a in found.aggregates.values() if isinstance(a, Session)]
        )
        await self._check_lists(found.aggregates)

    def _check_session(self, session: Session, life: Life) -> None:
        assert not session.is_open
        assert session.charged + session.refunded == session.reserved
        if session.service == "tts":
            assert session.used == min(life.spoken, session.quantity)
        else:
            assert session.closed_at_ms is not None
            valid_ms = life.connected_ms(min(session.closed_at_ms, session.expires_at_ms))
            # A crash costs us, never the customer: at most what ran since the last heartbeat.
            least = min(valid_ms - life.crashes * HEARTBEAT_MS, session.quantity)
            told = f"{session}, {life}"
            assert least <= session.used <= min(valid_ms, session.quantity), told

    async def _check_lists(self, aggregates: dict[UUID, object]) -> None:
        await self.gateway.views.caught_up(self.gateway.books.position)
        for account in aggregates.values():
            if isinstance(account, Account):
                rows = await self.gateway.views.transactions(account.id, limit=10**6, offset=0)
                assert sum(row.amount for row in rows) == account.available.value
                assert account.reserved == {}


def _check_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    from adapters.keys import check_signature  # noqa: PLC0415 (kept out of the simulation's names)

    return check_signature(public, message, signature)


def simulate(seed: int) -> Counter[str]:
    """One seed, from an empty folder to the last audit."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(Simulation(seed, Path(folder)).run())
