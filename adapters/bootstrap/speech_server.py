"""A speech server: engines, a door, and lines to the gateway whose sessions it serves."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
from aiohttp import web

from adapters.bootstrap.listening import listening, url_of
from adapters.bootstrap.speech import open_speech
from adapters.clock import SystemClock
from adapters.config import Settings
from adapters.fleet.clock import GatewayClock
from adapters.fleet.links import Links
from adapters.fleet.outbox import Outbox
from adapters.fleet.passes import Passes
from adapters.fleet.words import Welcome
from adapters.http.gate import Gate
from adapters.http.origin import Origins
from adapters.http.server import Runner
from adapters.http.site import Part
from adapters.http.speech_app import speech_application
from adapters.keys import Ed25519KeyReader
from adapters.speech.websocket import Streams
from adapters.store.exclusive import held
from domain.booth import Booth
from domain.errors import NoCapacityError
from domain.gateway import Terms
from domain.ports.keys import KeyReader, SessionKey
from domain.ports.speech import EngineTraits
from domain.ports.speech_servers import SpeechServer
from engines.hearing import SegmentedTranscriber
from engines.kokoro import Kokoro

REACHED_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedSpeech:
    """A speech server that listens; `has_gateway` where one has welcomed it by now."""

    url: str
    has_gateway: bool


class LearnedKeys:
    """Implements `KeyReader` with the key of whichever gateway welcomed this server last."""

    def __init__(self, service: str, outbox: Outbox) -> None:
        self._service = service
        self._outbox = outbox
        self._known = outbox.known_gateway()
        self._reader: KeyReader | None = None
        if self._known is not None:
            issuer, public = self._known
            self._reader = Ed25519KeyReader(bytes.fromhex(public), issuer=issuer)

    def learn(self, welcome: Welcome) -> None:
        if self._known != (welcome.issuer, welcome.public_key):
            self._known = welcome.issuer, welcome.public_key
            public = bytes.fromhex(welcome.public_key)
            self._reader = Ed25519KeyReader(public, issuer=welcome.issuer)
            self._outbox.keep_welcome(welcome)

    def read(self, token: str) -> SessionKey:
        if self._reader is None:
            # Never welcomed by any: nobody can tell a good key.
            raise NoCapacityError(service=self._service)
        return self._reader.read(token)


@asynccontextmanager
async def speech_server(settings: Settings, service: str) -> AsyncIterator[ServedSpeech]:
    """One service, listening; leaving it stops every clock and reports what was used."""
    settings.check_speech_server()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(closing(listening(settings.http)))
        url = settings.http.public_url or url_of(settings.http, listener)
        stack.enter_context(held(settings.storage.data))
        clock = GatewayClock(SystemClock())
        outbox = stack.enter_context(closing(Outbox(settings.storage.data / "outbox.db")))
        ears, mouth = open_speech(settings, stack)
        engine = ears if service == "stt" else mouth
        await engine.start()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        keys = LearnedKeys(service, outbox)

        def card() -> SpeechServer:
            return _card(settings, service, url, engine.traits, live=streams.live)

        links = Links(
            settings.fleet.gateways,
            name=settings.fleet.name or url,
            card=card,
            passes=Passes(settings.fleet.secret),
            outbox=outbox,
            clock=clock,
            http=http,
            known=keys.learn,
        )
        booth = Booth(
            sessions=links.sessions,
            keys=keys,
            clock=clock,
            transcriber=ears,
            synthesizer=mouth,
            heartbeat_ms=Terms().heartbeat_ms,
            new_id=uuid4,
        )
        streams = Streams(booth, live_max=settings.fleet.capacity)
        stack.push_async_callback(links.close)
        links.start()
        await _open_doors(settings, clock, streams, engine, service, listener, stack)
        yield ServedSpeech(url=url, has_gateway=await links.reached(wait_s=REACHED_S))


def _card(
    settings: Settings, service: str, url: str, traits: EngineTraits, *, live: int
) -> SpeechServer:
    return SpeechServer(
        service=service,
        url=url,
        traits=traits,
        regions=settings.fleet.regions,
        live=live,
        capacity=settings.fleet.capacity,
    )


async def _open_doors(
    settings: Settings,
    clock: GatewayClock,
    streams: Streams,
    engine: SegmentedTranscriber | Kokoro,
    service: str,
    listener: socket.socket,
    stack: AsyncExitStack,
) -> None:
    async def health() -> Sequence[Part]:
        return (Part(name=service, problem=engine.traits.problem, vital=True),)

    app = speech_application(
        stream=streams.handle,
        health=health,
        gate=Gate(
            clock,
            origins=Origins(settings.http.trusted_proxies),
            rate_max=settings.http.ip_rate_max,
        ),
    )
    runner = Runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(streams.close)
    stack.callback(runner.take_no_more)
    await web.SockSite(runner, listener).start()
