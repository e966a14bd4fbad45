"""A gateway's end and a speech server's end of the fleet, on loopback, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
from aiohttp import web

from adapters.fleet.clock import GatewayClock
from adapters.fleet.hub import Fleet
from adapters.fleet.links import Links
from adapters.fleet.outbox import Outbox
from adapters.fleet.passes import Passes
from adapters.fleet.words import EVENTS_PATH, LINK_PATH
from adapters.http.errors import errors_as_json
from domain.booth import Booth
from domain.ports.speech import EngineTraits
from domain.ports.speech_servers import SpeechServer
from domain.record import Record
from domain.session import Session
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedSynthesizer, DirectedTranscriber, Peer

# Throwaway.
SECRET = "a secret that is none, of 32 bytes"
PUBLIC_KEY = b"\x01" * 32
WAIT_S = 5.0


class Hub:
    """The gateway's end; `hang_up` and `come_back` are an outage on one port."""

    def __init__(self, house: House, *, secret: str = SECRET) -> None:
        self.house = house
        self.fleet = Fleet(passes=Passes(secret))
        house.gateway = replace(house.gateway, servers=self.fleet)
        self.fleet.attach(house.gateway, issuer="gateway.test", public_key=PUBLIC_KEY)
        house.hearers.append(self._heard)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def come_back(self) -> None:
        app = web.Application(middlewares=(errors_as_json,))
        app.router.add_get(LINK_PATH, self.fleet.link)
        app.router.add_post(EVENTS_PATH, self.fleet.events)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def hang_up(self) -> None:
        await self.fleet.close()
        await self._runner.cleanup()

    def _heard(self, record: Record) -> None:
        self.house.gateway.switchboard.heard(record)
        if record.topic == Session.Closed.TOPIC:
            self.fleet.over(record)


class Station:
    """A speech server's end: engines that do as they are told, and peers that call."""

    def __init__(
        self, hub: Hub, folder: Path, *, service: str = "stt", name: str = "one", capacity: int = 0
    ) -> None:
        self.live = 0
        self.ear, self.mouth = DirectedTranscriber(), DirectedSynthesizer()
        self._service, self._name, self._capacity = service, name, capacity
        self._house, self._hub, self._folder = hub.house, hub, folder
        self.traits = EngineTraits(name="ear", languages=frozenset({"en"}))
        self.regions: frozenset[str] = frozenset()

    async def open(self) -> None:
        self.outbox = Outbox(self._folder / f"{self._name}.db")
        self._http = aiohttp.ClientSession()
        clock = GatewayClock(self._house.clock)
        self.links = Links(
            [self._hub.url],
            name=self._name,
            card=self._card,
            passes=Passes(SECRET),
            outbox=self.outbox,
            clock=clock,
            http=self._http,
            known=lambda _welcome: None,
        )
        self.booth = Booth(
            sessions=self.links.sessions,
            keys=self._house.gateway.keys,
            clock=clock,
            transcriber=self.ear,
            synthesizer=self.mouth,
            heartbeat_ms=self._house.terms.heartbeat_ms,
            new_id=self._house.gateway.new_id,
        )
        self.links.start()

    async def close(self) -> None:
        """As a crash does it: what was not sent stays on the disk."""
        await self.links.close(wait_s=0)
        await self._http.close()
        self.outbox.close()

    async def call(self, peer: Peer, *messages: object) -> Peer:
        """Have a peer ask, and wait until it was told something."""
        before = len(peer.told)
        await peer.ask(*messages)  # type: ignore[arg-type]  # what a peer asks
        await until(lambda: len(peer.told) > before or peer.task.done())
        return peer

    def _card(self) -> SpeechServer:
        return SpeechServer(
            service=self._service,
            url=f"http://{self._name}.test",
            traits=self.traits,
            regions=self.regions,
            live=self.live,
            capacity=self._capacity,
        )


async def until(happened: Callable[[], object]) -> None:
    """Let sockets and files have their time, until it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAIT_S):
            while not happened():  # noqa: ASYNC110 (many things can make it so)
                await asyncio.sleep(0.005)
    assert happened()
