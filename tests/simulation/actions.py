"""What customers do, each as one coroutine that may be anywhere when the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from domain.account import Account
from domain.errors import GatewayError
from domain.gateway import Gateway
from domain.money import Microcredits
from domain.payout import Payout
from domain.ports.payments import Purchase
from domain.use_cases.close_session import end_bundle, end_session, settle_session
from domain.use_cases.correct_credits import Correction, correct_credits
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.live_sessions import booth_in
from domain.use_cases.meter import connect_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from domain.use_cases.reconcile import reconcile
from domain.use_cases.refund_credits import RefundRequest
from tests.fakes.gateway import MuteEar, MuteMouth
from tests.simulation.clients import Life, Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

WALLETS = tuple(f"0x{n:040x}" for n in range(1, 5))
PURSE = 10**9
HEARTBEAT_MS = 10_000
COINS = 40
REFUND_FEE = Microcredits(1_000)
Action = Callable[[], Awaitable[None]]


class Actions:
    """The customers of one world: their sessions, keys and coins, and the next thing each does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        self.lives: dict[UUID, Life] = {}
        self._bundles: list[tuple[UUID, UUID]] = []
        self._keyed: dict[tuple[UUID, str, SessionRequest], UUID] = {}
        self._passes: list[int] = []
        for wallet in WALLETS:
            world.rail.purses[wallet] = PURSE
        self._weighted: list[tuple[int, Action]] = [
            (6, self.buy),
            (8, self.open),
            (3, self.open_bundle),
            (3, self.rush),
            (9, self.connect),
            (5, self.drop),
            (5, self.speak),
            (4, self.extend),
            (4, self.close),
            (1, self.close_bundle),
            (3, self.refund),
            (2, self.sweep),
            (1, self.correct),
            (5, self.let_time_pass),
            (1, self.let_hours_pass),
        ]

    def choose(self, count: int) -> list[Action]:
        return self._dice.choices(
            [action for _, action in self._weighted],
            [weight for weight, _ in self._weighted],
            k=count,
        )

    def gateway_changed(self) -> None:
        self._gateway: Gateway = self._world.process.gateway
        self._purchases = self._world.process.purchases
        self._refunds = self._world.process.refunds

    def process_died(self) -> None:
        """Nobody is in the middle of anything any more."""
        self._passes.clear()
        for life in self.lives.values():
            life.is_busy = False

    async def buy(self) -> None:
        """Few numbers: many coins are shown again, under other terms, or many times at once."""
        dice, rail = self._dice, self._world.rail
        purchase = Purchase(
            chain="evm",
            wallet=dice.choice(WALLETS),
            amount=Microcredits(dice.choice((100_000, 250_000, 1_000_000))),
            resource_url="sim",
        )
        coin = rail.coin(purchase, number=dice.randrange(COINS))
        proof = await rail.decode(coin, purchase)
        assert proof is not None
        copies = dice.choice((1, 1, 3))
        taken = [self._purchases.take(rail, proof, purchase) for _ in range(copies)]
        await self._all(taken)

    async def open(self) -> None:
        """Some under a key, which may be shown again, also twice at once."""
        dice = self._dice
        account_id, request = self._account(), self._request()
        key = dice.choice(("", "", f"key-{dice.randrange(6)}"))
        copies = 2 if key and dice.random() < 1 / 2 else 1
        opening = [
            open_session(self._gateway, account_id, request, request_key=key) for _ in range(copies)
        ]
        for ticket in await self._all(opening):
            self._remember(account_id, ticket)
            if key:
                known = self._keyed.setdefault((account_id, key, request), ticket.session_id)
                assert known == ticket.session_id, f"6: two sessions under {key}"

    async def open_bundle(self) -> None:
        account_id = self._account()
        requests = [self._request() for _ in range(3)]
        tickets = await open_bundle(self._gateway, account_id, requests)
        assert len(tickets) == len(requests), "12: a bundle in part"
        for ticket in tickets:
            self._remember(account_id, ticket)
        assert tickets[0].bundle_id is not None
        self._bundles.append((account_id, tickets[0].bundle_id))

    async def rush(self) -> None:
        """Several at once for one wallet: together they never get more than it has."""
        account_id = self._account()
        opening = [open_session(self._gateway, account_id, self._request()) for _ in range(4)]
        for ticket in await self._all(opening):
            self._remember(account_id, ticket)

    async def connect(self) -> None:
        life = self._life()
        if life is None or life.ticket.service == "webrtc":
            return
        life.is_busy = True
        try:
            await self._connect(life)
        finally:
            life.is_busy = False

    async def _connect(self, life: Life) -> None:
        if life.wire is not None and not life.wire.is_live and not await life.say_goodbye():
            return
        wire, now_ms = Wire(self._gateway.new_id()), self._world.clock.now_ms()
        try:
            meter = await connect_session(
                booth_in(self._gateway, MuteEar(), MuteMouth()),
                life.ticket.token,
                service=life.ticket.service,
                connection_id=wire.connection_id,
                line=wire,
            )
        finally:
            # The older one was told to go, whatever becomes of this one.
            life.leave(now_ms)
        wire.meter, life.wire = meter, wire
        life.since_ms = life.beaten_ms = now_ms
        try:
            await meter.start()
        except GatewayError:
            # Whether it runs now is not known: we were never here.
            wire.gone_at_ms = now_ms
            raise

    async def drop(self) -> None:
        life = self._life()
        if life is None or life.wire is None:
            return
        wire = life.wire
        life.leave(self._world.clock.now_ms())
        life.is_busy = True
        try:
            if await life.say_goodbye():
                self._gateway.switchboard.disconnect(life.ticket.session_id, wire)
        finally:
            life.is_busy = False

    async def speak(self) -> None:
        life = self._life()
        if life is None or life.wire is None or life.ticket.service != "tts":
            return
        meter = life.wire.meter
        if meter is None or not life.wire.is_live:
            return
        count = min(self._dice.randrange(1, 200), meter.remaining)
        meter.spend(count)
        life.spoken += count
        await life.wire.catch_up()
        life.told = life.spoken
        if not meter._session.is_open:
            # Ended before it was told of: nobody pays for what was spoken after the end.
            life.spoken_slack += count

    async def extend(self) -> None:
        dice = self._dice
        key = dice.choice(("", f"more-{dice.randrange(4)}"))
        if self._bundles and dice.random() < 0.3:
            account_id, bundle_id = dice.choice(self._bundles)
            await extend_bundle(
                self._gateway,
                account_id,
                bundle_id,
                duration_ms=60_000,
                characters=100,
                request_key=key,
            )
            return
        life = self._life()
        if life is not None:
            quantity = dice.choice((1, 999, 60_000))
            more = [
                extend_session(
                    self._gateway,
                    life.account_id,
                    life.ticket.session_id,
                    service=life.ticket.service,
                    quantity=quantity,
                    request_key=key,
                )
                for _ in range(2 if key else 1)
            ]
            await self._all(more)

    async def close(self) -> None:
        life = self._life()
        if life is not None:
            copies = [
                end_session(self._gateway, life.account_id, life.ticket.session_id)
                for _ in range(self._dice.choice((1, 2)))
            ]
            await self._all(copies)

    async def close_bundle(self) -> None:
        if self._bundles:
            await end_bundle(self._gateway, *self._dice.choice(self._bundles))

    async def refund(self) -> None:
        """Few keys: many are shown again, for another amount, or many times at once."""
        dice, account_id = self._dice, self._account()
        request = RefundRequest(
            payout_id=Payout.create_id(account_id, f"key-{dice.randrange(12)}"),
            account_id=account_id,
            amount=Microcredits(dice.choice((50_000, 200_000))),
            fee=REFUND_FEE,
        )
        await self._all([self._refunds.ask(request) for _ in range(dice.choice((1, 1, 3)))])

    async def sweep(self) -> None:
        await reconcile(self._gateway)

    async def correct(self) -> None:
        """An operator gives a little back."""
        correction = Correction(
            correction_id=UUID(int=self._dice.randrange(8)),
            account_id=self._account(),
            amount=self._dice.choice((1_000, -1_000)),
            who="sim",
            why="a simulation",
            corrects_position=1,
        )
        await correct_credits(self._gateway.books, self._gateway.clock, correction)

    async def let_time_pass(self) -> None:
        self._passes.extend(self._dice.randrange(1, HEARTBEAT_MS) for _ in range(4))

    async def let_hours_pass(self) -> None:
        self._passes.append(self._dice.randrange(60_000, 3 * 3_600_000))

    async def pass_time(self) -> None:
        """When nobody is in the middle of anything, the clock moves as it was told to."""
        passes, self._passes = self._passes, []
        for ms in passes:
            await self._world.clock.advance(ms)
            await self._beat()

    async def _beat(self) -> None:
        """What a meter's watch does every ten seconds: record, and settle what is spent."""
        now_ms = self._world.clock.now_ms()
        for life in list(self.lives.values()):
            wire = life.wire
            if wire is None or wire.meter is None:
                continue
            if not wire.is_live:
                await life.say_goodbye()
                continue
            try:
                await wire.catch_up()
                if wire.meter.remaining == 0 or now_ms >= wire.meter.expires_at_ms:
                    await settle_session(self._gateway, wire.meter.session_id, reason="spent")
                    life.leave(now_ms)
                    life.wire = None
                elif wire.meter._runs and not wire.meter._session.is_running:
                    # A newer connection stopped it and never came to be; what it missed is free.
                    life.slack_ms += max(0, now_ms - life.beaten_ms)
                    await wire.meter.start()
                life.beaten_ms = now_ms
            except GatewayError as refusal:
                self._world.note(f"heartbeat: {refusal.code}")

    async def _all(self, copies: list[Any]) -> list[Any]:
        """The answers of those that got one; the first refusal, if none did."""
        done = await asyncio.gather(*copies, return_exceptions=True)
        failed = [f for f in done if isinstance(f, BaseException)]
        for failure in failed:
            if not isinstance(failure, GatewayError | OSError):
                raise failure
        answers = [a for a in done if not isinstance(a, BaseException)]
        if failed and not answers:
            raise failed[0]
        return answers

    def _remember(self, account_id: UUID, ticket: Ticket) -> None:
        self.lives.setdefault(ticket.session_id, Life(ticket, account_id))

    def _life(self) -> Life | None:
        idle = [life for life in self.lives.values() if not life.is_busy]
        return self._dice.choice(idle) if idle else None

    def _account(self) -> UUID:
        return Account.create_id("evm", self._dice.choice(WALLETS))

    def _request(self) -> SessionRequest:
        service = self._dice.choice(("stt", "tts", "webrtc"))
        quantity = self._dice.choice((30_000, 60_000, 300_000))
        return SessionRequest(
            service=service,
            quantity=quantity // 100 if service == "tts" else quantity,
            room_name="room",
            identity="agent",
        )
