"""The composition root: every concrete class in the program is named here and only here."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from uuid import uuid4

from aiohttp import web

from adapters.bootstrap.books import folder_of, idle_books, open_books, sign_heads
from adapters.bootstrap.listening import listening, url_of
from adapters.bootstrap.log_parts import ask_witnesses, log_of_site, rotate_key
from adapters.bootstrap.money import Money, Sandbox, node_url, open_money
from adapters.bootstrap.news import teller
from adapters.bootstrap.parts import Books
from adapters.bootstrap.problems import CannotStartError
from adapters.bootstrap.room_events import open_room_events
from adapters.bootstrap.rooms import open_rooms
from adapters.bootstrap.speech import model_store, open_own_speech
from adapters.clock import SystemClock
from adapters.config import Settings
from adapters.fleet.hub import Fleet
from adapters.fleet.passes import Passes
from adapters.http.app import application
from adapters.http.gate import Gate
from adapters.http.origin import Origins
from adapters.http.play_money import PlayMoney
from adapters.http.server import Runner
from adapters.http.site import Part, SiteInfo
from adapters.keys import Ed25519SessionKeys, KeyFileError, load_or_create_seed
from adapters.operator_inbox import Inbox
from adapters.sandbox.faults import Faults
from adapters.sfu.receiver import Receiver
from adapters.speech.websocket import Streams
from adapters.store.exclusive import FolderInUseError
from adapters.store.log import DamagedLogError
from domain.booth import Booth
from domain.errors import GatewayError
from domain.gateway import Gateway, Terms
from domain.ledger import Work
from domain.ports.room_events import NoRoomReader
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.switchboard import Switchboard
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.reconcile import reconcile, recover_clocks
from domain.use_cases.refund_credits import Refunds
from engines.models.problems import ModelProblemError as WeightsError
from engines.models.store import Choice as FetchChoice
from engines.models.store import Progress as FetchProgress

__all__ = [
    "STARTING_PROBLEMS",
    "FetchChoice",
    "FetchProgress",
    "Sandbox",
    "Site",
    "WeightsError",
    "idle_books",
    "model_store",
    "node_url",
    "rotate_key",
    "site",
]

SWEEP_MS = 15_000
# Together with the lines' and the server's own time less than the 30 s that supervisors wait.
DRAIN_S = 5.0

log = logging.getLogger(__name__)


# What an operator can mend; each says how.
STARTING_PROBLEMS = (FolderInUseError, DamagedLogError, KeyFileError, CannotStartError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gateway that listens. `log_key` is the signer's verifier key."""

    url: str
    gateway: Gateway
    log_key: str
    sandbox: Sandbox | None


@asynccontextmanager
async def site(
    settings: Settings, *, faults: Faults | None = None, speech: bool = True
) -> AsyncIterator[Site]:
    """A whole gateway, listening; leaving it pauses every clock and commits what is under way.

    Without `speech` only servers that registered listen and speak.
    """
    settings.check_serving(speech=speech)
    for warning in settings.warnings:
        log.warning("unwise setting", extra={"warning": warning})
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(closing(listening(settings.http)))
        url = settings.http.public_url or url_of(settings.http, listener)
        stack.enter_context(folder_of(settings))
        clock = SystemClock()
        money = await open_money(settings, clock, faults or Faults(), stack)
        switchboard = Switchboard()
        own = open_own_speech(settings, url, stack) if speech else None
        fleet = Fleet(passes=Passes(settings.fleet.secret), own=own.servers if own else None)
        told = teller(switchboard, fleet, asyncio.get_running_loop())
        books = await asyncio.to_thread(open_books, settings, url, stack, told)
        switchboard.join(books.trunk)
        books.attach(switchboard)
        rooms = await open_rooms(settings.rooms, url, clock, stack)
        keys = Ed25519SessionKeys(
            load_or_create_seed(settings.storage.data / "session.key"),
            issuer=books.keys.key.name,
        )
        gateway = Gateway(
            books=books.owner,
            views=books.views,
            details=books.details,
            room_log=books.room_log,
            room_reader=rooms.webhooks or NoRoomReader(),
            log=books.log,
            clock=clock,
            keys=keys,
            rails=money.rails,
            payouts=money.payouts,
            rooms=rooms.rooms,
            servers=fleet,
            switchboard=switchboard,
            price_book=DEFAULT_PRICE_BOOK,
            terms=_terms(settings),
            new_id=uuid4,
        )
        fleet.attach(gateway, issuer=books.keys.key.name, public_key=keys.public)
        await publish_prices(gateway)
        if books.is_alone:
            await recover_clocks(gateway)
        booth = await own.booth_in(gateway) if own else None
        receiver = open_room_events(settings.rooms, rooms, gateway, books, stack)
        await _listen(gateway, booth, fleet, books, money, url, settings, listener, stack, receiver)
        yield Site(
            url=url,
            gateway=gateway,
            log_key=books.keys.key.text,
            sandbox=money.sandbox,
        )


def _terms(settings: Settings) -> Terms:
    terms = settings.terms
    return Terms(
        pause_allowance_ms=terms.pause_allowance_ms,
        units_max=terms.units_max,
        api_rate_max=terms.api_rate_max,
        refunds=settings.refunds,
    )


async def _listen(
    gateway: Gateway,
    booth: Booth | None,
    fleet: Fleet,
    books: Books,
    money: Money,
    url: str,
    settings: Settings,
    listener: socket.socket,
    stack: AsyncExitStack,
    receiver: Receiver | None,
) -> None:
    """Open the doors; on the way out close them first, then the lines, then let money settle."""
    purchases, refunds = Purchases(gateway), Refunds(gateway)
    streams = Streams(booth) if booth else None
    app = application(
        gateway,
        purchases=purchases,
        site=SiteInfo(
            public_url=url,
            version=version("payphone"),
            sandbox=settings.sandbox,
            log_signer=books.keys.key.text,
            log=log_of_site(books.keys, settings.log.witnesses),
            offer_keys=(money.offer_key,),
        ),
        health=lambda: _health(gateway, money),
        refunds=refunds,
        play_money=_play_money(money, url),
        stream=streams.handle if streams else None,
        fleet=fleet if settings.fleet.secret else None,
        webhook=receiver.receive if receiver else None,
        gate=Gate(
            gateway.clock,
            origins=Origins(
                settings.http.trusted_proxies, region_header=settings.http.region_header
            ),
            rate_max=settings.http.ip_rate_max,
        ),
    )
    stack.push_async_callback(_drained, purchases, refunds)
    tasks = [
        asyncio.create_task(_sweep(gateway, books)),
        asyncio.create_task(Inbox(settings.storage.data).attend(gateway, is_owner=books.is_owner)),
        asyncio.create_task(sign_heads(books)),
        asyncio.create_task(ask_witnesses(settings.log.witnesses, books.merkle)),
    ]
    stack.push_async_callback(_cancel, tasks)
    runner = Runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # Live lines would hold the server open; they are told to leave before it closes.
    if streams:
        stack.push_async_callback(streams.close)
    stack.push_async_callback(fleet.close)
    stack.callback(runner.take_no_more)
    await web.SockSite(runner, listener).start()


def _nothing(_work: Work) -> None:
    """A command that only wants an answer."""


def _play_money(money: Money, url: str) -> PlayMoney | None:
    if money.sandbox is None:
        return None
    return PlayMoney(money.sandbox.networks, money.sandbox.faults, public_url=url)


async def _health(gateway: Gateway, money: Money) -> Sequence[Part]:
    try:
        await gateway.books.run(_nothing)
        ledger = ""
    except GatewayError as refusal:
        ledger = str(refusal)
    return (
        Part(name="ledger", problem=ledger, vital=True),
        *[Part(name=s, problem=_speech_problem(gateway, s)) for s in ("stt", "tts")],
        *await money.parts(),
    )


def _speech_problem(gateway: Gateway, service: str) -> str:
    """Why nobody serves it; nothing where somebody does."""
    found = [s.traits for s in gateway.servers.servers() if s.service == service]
    if any(traits.ready for traits in found):
        return ""
    return found[0].problem if found else f"no {service.upper()} server has registered"


async def _sweep(gateway: Gateway, books: Books) -> None:
    """Finish what was left half done, now and on a timer; a failure waits for the next round.

    Of several processes the owner does it for all.
    """
    while True:
        try:
            if books.is_owner():
                await reconcile(gateway)
        except Exception:
            log.exception("sweep failed")
        await gateway.clock.sleep_until(gateway.clock.now_ms() + SWEEP_MS)


async def _drained(purchases: Purchases, refunds: Refunds) -> None:
    """Let payments under way arrive; one that takes longer is finished at the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            await asyncio.gather(purchases.drain(), refunds.drain())


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
