"""The composition root: every concrete class in the program is named here and only here."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast
from uuid import uuid4

from aiohttp import web

from adapters.clock import SystemClock
from adapters.config import Settings
from adapters.http.app import application
from adapters.http.server import Runner
from adapters.http.site import Part, SiteInfo
from adapters.keys import Ed25519SessionKeys, Ed25519Signer, check_signature, load_or_create_seed
from adapters.rails.chain import EvmChainReader
from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.networks import BASE, BASE_NETWORKS
from adapters.rails.rpc import HttpRpc
from adapters.rails.x402 import X402Rail
from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.faults import Faults
from adapters.sandbox.rpc import SandboxNode
from adapters.sandbox.wallets import ThrowawayWallet, fresh_solana_wallet, sandbox_wallet
from adapters.sfu.rooms import DTelecomRooms, LiveKitRooms, NoRooms
from adapters.speech.websocket import Streams
from adapters.store.log import DamagedLogError, MerkleLog
from adapters.store.owner import LedgerOwner
from adapters.store.private import SqliteDetails
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.checkpoint import SignerKey
from domain.errors import GatewayError
from domain.gateway import Gateway, Terms
from domain.ledger import Ledger
from domain.ports.clock import Clock
from domain.ports.rooms import Rooms
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.record import Record
from domain.switchboard import Switchboard
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.reconcile import reconcile, recover_clocks
from engines.assembly import build_pool, build_synthesizer, build_transcriber
from engines.hearing import SegmentedTranscriber
from engines.kokoro import Kokoro
from engines.models.problems import ModelProblemError as WeightsError
from engines.models.store import Choice as FetchChoice
from engines.models.store import ModelStore
from engines.models.store import Progress as FetchProgress
from engines.utterances import DenoiseMode
from projections.follow import Follower
from projections.sqlite import SqliteTables, SqliteViews

__all__ = ["FetchChoice", "FetchProgress", "Site", "WeightsError", "model_store", "site"]

SWEEP_MS = 15_000
HEAD_MS = 60_000
FACILITATOR_TIMEOUT_MS = 30_000
_SANDBOX_FUNDS = 1_000_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The play money of a sandbox gateway: its chain, its faults, two funded wallets."""

    chain: SandboxChain
    faults: Faults
    evm: ThrowawayWallet
    solana: ThrowawayWallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gateway that listens. `log_key` is the signer's verifier key."""

    url: str
    gateway: Gateway
    log_key: str
    pay_to: str
    sandbox: Sandbox | None


def model_store(settings: Settings) -> ModelStore:
    """The weights of this user, shared by every checkout."""
    return ModelStore(settings.speech.models_dir, hub=settings.speech.hub_url)


@asynccontextmanager
async def site(settings: Settings, *, faults: Faults | None = None) -> AsyncIterator[Site]:
    """A whole gateway, listening; leaving it pauses every clock and commits what is under way."""
    settings.check_serving()
    for warning in settings.warnings:
        log.warning("unwise setting", extra={"warning": warning})
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(closing(_listener(settings)))
        url = settings.http.public_url or _url(settings, listener)
        data = settings.storage.data
        data.mkdir(parents=True, exist_ok=True)
        clock = SystemClock()
        money = _money(settings, clock, faults or Faults(), stack)
        books = await asyncio.to_thread(_books, settings, url, stack)
        ears, mouth = _speech(settings, stack)
        gateway = Gateway(
            books=books.owner,
            views=books.views,
            details=books.details,
            log=books.log,
            clock=clock,
            keys=Ed25519SessionKeys(
                load_or_create_seed(data / "session.key"), issuer=books.key.name
            ),
            rails=(money.rail,),
            rooms=_rooms(settings, url),
            transcriber=ears,
            synthesizer=mouth,
            switchboard=Switchboard(),
            price_book=DEFAULT_PRICE_BOOK,
            terms=_terms(settings),
            stt_url=settings.http.stt_url or url,
            tts_url=settings.http.tts_url or url,
            new_id=uuid4,
        )
        await publish_prices(gateway)
        await recover_clocks(gateway)
        await asyncio.gather(ears.start(), mouth.start())
        await _listen(gateway, books, money, url, settings, listener, stack)
        yield Site(
            url=url,
            gateway=gateway,
            log_key=books.key.text,
            pay_to=money.pay_to,
            sandbox=money.sandbox,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Books:
    owner: LedgerOwner
    views: SqliteViews
    details: SqliteDetails
    log: MerkleLog
    key: SignerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class _Money:
    rail: X402Rail
    pay_to: str
    network: str
    sandbox: Sandbox | None


def _books(settings: Settings, url: str, stack: AsyncExitStack) -> _Books:
    """The ledger with its log and lists; closed in the order that loses nothing."""
    data = settings.storage.data
    name = settings.log.name or url.partition("://")[2].partition("/")[0]
    signer = Ed25519Signer(load_or_create_seed(data / "log.key"))
    key = _published_key(data / "log.pub", SignerKey(name=name, public=signer.public))
    ledger = stack.enter_context(Ledger(env=sqlite_environment(str(data / "ledger.db"))))
    recorder = ledger.recorder
    assert isinstance(recorder, LedgerRecorder)  # noqa: S101 (the environment above says so)
    merkle = MerkleLog(recorder, origin=key.name, key=key, sign=signer.sign, check=check_signature)
    tables = stack.enter_context(closing(SqliteTables(data / "views.db")))
    follower = stack.enter_context(
        closing(
            Follower(
                tables,
                read=lambda after, limit: ledger.records(after=after, limit=limit),
                head=ledger.position,
            )
        )
    )

    def committed(records: tuple[Record, ...]) -> None:
        merkle.extend(records)
        follower.notify(records[-1].position)

    owner = LedgerOwner(ledger, history=recorder.history, committed=committed)
    stack.enter_context(closing(owner))
    details = stack.enter_context(closing(SqliteDetails(data / "private.db")))
    views = SqliteViews(tables, follower)
    return _Books(owner=owner, views=views, details=details, log=merkle, key=key)


def _published_key(path: Path, key: SignerKey) -> SignerKey:
    """The log keeps the name it began with, though the gateway may move; its key must be ours."""
    if path.exists():
        known = SignerKey.parse(path.read_text(encoding="utf-8"))
        if known.public != key.public:
            raise DamagedLogError(f"{path} names another key than log.key holds; restore the key")
        return known
    path.write_text(key.text + "\n", encoding="utf-8")
    return key


def _money(settings: Settings, clock: Clock, faults: Faults, stack: AsyncExitStack) -> _Money:
    if settings.x402 is not None:
        facilitator = HttpFacilitator(
            settings.x402.facilitator_url, timeout_ms=FACILITATOR_TIMEOUT_MS
        )
        rpc = HttpRpc(settings.x402.rpc_url)
        stack.push_async_callback(facilitator.aclose)
        stack.push_async_callback(rpc.aclose)
        network = BASE_NETWORKS[settings.x402.network]
        rail = X402Rail(
            pay_to=settings.x402.pay_to,
            network=network,
            facilitator=facilitator,
            chain=EvmChainReader(rpc),
            clock=clock,
        )
        return _Money(rail=rail, pay_to=settings.x402.pay_to, network=network.caip2, sandbox=None)
    return _play_money(settings, clock, faults)


def _play_money(settings: Settings, clock: Clock, faults: Faults) -> _Money:
    data = settings.storage.data
    chain = SandboxChain(clock, journal=data / "sandbox.journal")
    pay_to = sandbox_wallet(data / "sandbox-gateway.key").address
    wallet = sandbox_wallet(data / "sandbox-customer.key")
    if chain.balance(wallet.address) == 0:
        chain.mint(wallet.address, _SANDBOX_FUNDS)
    rail = X402Rail(
        pay_to=pay_to,
        network=BASE,
        facilitator=SandboxFacilitator(chain, clock, faults),
        chain=EvmChainReader(SandboxNode(chain, faults)),
        clock=clock,
    )
    sandbox = Sandbox(chain=chain, faults=faults, evm=wallet, solana=fresh_solana_wallet())
    return _Money(rail=rail, pay_to=pay_to, network=BASE.caip2, sandbox=sandbox)


def _speech(settings: Settings, stack: AsyncExitStack) -> tuple[SegmentedTranscriber, Kokoro]:
    store = model_store(settings)
    pool = build_pool()
    stack.push_async_callback(asyncio.to_thread, pool.close)
    ears = build_transcriber(store, pool, denoise=cast("DenoiseMode", settings.speech.denoise))
    mouth = build_synthesizer(store, pool)
    stack.push_async_callback(ears.close)
    stack.push_async_callback(mouth.close)
    return ears, mouth


def _rooms(settings: Settings, url: str) -> Rooms:
    rooms = settings.rooms
    if rooms is None:
        return NoRooms()
    if rooms.kind == "livekit":
        return LiveKitRooms(key=rooms.key, secret=rooms.secret, ws_url=rooms.ws_url)
    return DTelecomRooms(
        key=rooms.key,
        secret=rooms.secret,
        ws_url=rooms.ws_url,
        webhook_url=f"{url}/v1/webhooks/sfu",
    )


def _terms(settings: Settings) -> Terms:
    terms = settings.terms
    return Terms(
        pause_allowance_ms=terms.pause_allowance_ms,
        units_max=terms.units_max,
        api_rate_max=terms.api_rate_max,
    )


async def _listen(
    gateway: Gateway,
    books: _Books,
    money: _Money,
    url: str,
    settings: Settings,
    listener: socket.socket,
    stack: AsyncExitStack,
) -> None:
    """Open the doors; on the way out close them first, then the lines, then let money settle."""
    purchases = Purchases(gateway)
    streams = Streams(gateway)
    app = application(
        gateway,
        purchases=purchases,
        site=SiteInfo(
            public_url=url,
            version=version("payphone"),
            sandbox=settings.sandbox,
            log_signer=books.key.text,
            networks={money.rail.name: (money.network,)},
        ),
        health=lambda: _health(gateway),
        stream=streams.handle,
    )
    stack.push_async_callback(purchases.drain)
    tasks = [
        asyncio.create_task(_sweep(gateway)),
        asyncio.create_task(_sign_heads(books.log)),
    ]
    stack.push_async_callback(_cancel, tasks)
    runner = Runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    # Live lines would hold the server open; they are told to leave before it closes.
    stack.push_async_callback(streams.close)
    await web.SockSite(runner, listener).start()


async def _health(gateway: Gateway) -> Sequence[Part]:
    try:
        await gateway.books.run(lambda _work: None)
        ledger = ""
    except GatewayError as refusal:
        ledger = str(refusal)
    return (
        Part(name="ledger", problem=ledger, vital=True),
        Part(name="stt", problem=gateway.transcriber.traits.problem),
        Part(name="tts", problem=gateway.synthesizer.traits.problem),
    )


async def _sweep(gateway: Gateway) -> None:
    """Finish what was left half done, now and on a timer; a failure waits for the next round."""
    while True:
        try:
            await reconcile(gateway)
        except Exception:
            log.exception("sweep failed")
        await gateway.clock.sleep_until(gateway.clock.now_ms() + SWEEP_MS)


async def _sign_heads(merkle: MerkleLog) -> None:
    """Sign the log's head by time, so that even a quiet hour is pinned down."""
    while True:
        await asyncio.sleep(HEAD_MS / 1_000)
        try:
            await asyncio.to_thread(merkle.checkpoint)
        except Exception:
            log.exception("signing the log failed")


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _listener(settings: Settings) -> socket.socket:
    """A listening address; the system chooses the port where it is 0."""
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    return socket.create_server(
        (settings.http.host, settings.http.port), family=family, backlog=1_024
    )


def _url(settings: Settings, listener: socket.socket) -> str:
    host = settings.http.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{listener.getsockname()[1]}"
