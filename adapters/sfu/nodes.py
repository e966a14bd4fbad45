"""Which room server a participant is sent to: the only one, one of a list, or the nearest."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from adapters.sfu.entries import key_bytes
from adapters.sfu.outbound import Outbound
from domain.errors import NoCapacityError
from domain.ports.clock import Clock

FRESH_MS = 5 * 60_000
STALE_MS_MAX = 60 * 60_000
BACK_OFF_MS = 60_000
ASKED_MAX = 3
ANSWER_BYTES_MAX = 16 * 1024
PLACES_MAX = 10_000
ASKING_MAX = 64
_SUGGESTED_MAX = 20
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=[^:]{{1,253}}(?::|$)){_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A room server: `key` signs its webhooks, `ws_url` is `wss://host`, no path.

    One that is not `active`, or has no URL, takes no new participants.
    """

    key: bytes
    ws_url: str
    active: bool = True

    @classmethod
    def parse(cls, text: str) -> Node:
        """`wss://host=KEY`, the key in base58; ValueError for anything else."""
        url, _, key_text = text.strip().partition("=")
        parts, key = urlsplit(url), key_bytes(key_text)
        host = host_of(parts.netloc)
        if parts.scheme not in ("wss", "ws") or key is None or host is None or parts.path:
            msg = "expected wss://host=KEY, the key as 32 bytes in base58"
            raise ValueError(msg)
        return cls(key=key, ws_url=f"{parts.scheme}://{host}")


class NodeKeys(Protocol):
    """Who is a node.

    Shape:  a node's name (base58 of its public key) in, the 32 bytes of the key out if that is a
            node of ours, else None.
    Errors: ConnectionError where it cannot be told now; ask again later.
    Source: specs/http.md, rooms.
    """

    async def key_of(self, node_id: str) -> bytes | None: ...


class NodeList(Protocol):
    """The nodes known now; never waits."""

    def nodes(self) -> Sequence[Node]: ...


class KnownNodes(NodeKeys, NodeList, Protocol):
    """Both of one list."""


class NodeChoice(Protocol):
    """Chooses a room server.

    Shape:  the participant's address (any text, "" for unknown) in, `wss://host` out.
    Errors: `NoCapacityError` where there is no server; never because of the address.
    Source: specs/http.md, rooms.
    """

    async def ws_url(self, client_ip: str) -> str: ...


class OneNode:
    """Implements `NodeChoice` where everybody goes to one server."""

    def __init__(self, ws_url: str) -> None:
        self._ws_url = ws_url

    async def ws_url(self, client_ip: str) -> str:
        if not self._ws_url:
            raise NoCapacityError(service="webrtc")
        return self._ws_url


class StaticNodes:
    """Implements `NodeList` and `NodeKeys` with a list that does not change."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = tuple(nodes)
        self._keys = frozenset(node.key for node in nodes)

    def nodes(self) -> Sequence[Node]:
        return self._nodes

    async def key_of(self, node_id: str) -> bytes | None:
        key = key_bytes(node_id)
        return key if key in self._keys else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long nodes are waited for, in ms: one answer, all of them, before the next is asked."""

    answer_ms: int = 1_000
    total_ms: int = 1_500
    stagger_ms: int = 300


class NearestNodes:
    """Implements `NodeChoice` by asking nodes which of them are near an address.

    A node's answer counts only where it names a node of our own list. Where nobody answers, the
    last answer for the same neighbourhood serves for an hour, then any active node does.
    """

    def __init__(
        self,
        known: NodeList,
        outbound: Outbound,
        *,
        clock: Clock,
        random: Random,
        patience: Patience | None = None,
    ) -> None:
        self._known = known
        self._outbound = outbound
        self._clock = clock
        self._random = random
        self._patience = patience or Patience()
        self._places: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._failed_until: dict[str, int] = {}
        self._asking = 0

    async def ws_url(self, client_ip: str) -> str:
        urls = self._urls()
        if not urls:
            raise NoCapacityError(service="webrtc")
        place = neighbourhood(client_ip)
        if place is None or len(urls) == 1:
            return self._random.choice(urls)
        asked_at_ms, last = self._places.get(place, (0, ""))
        age_ms = self._clock.now_ms() - asked_at_ms
        if last in urls and age_ms < FRESH_MS:
            return last
        nearest = await self._ask(client_ip.partition("%")[0], urls)
        if nearest is not None:
            self._remember(place, nearest)
            return nearest
        return last if last in urls and age_ms < STALE_MS_MAX else self._random.choice(urls)

    def _urls(self) -> list[str]:
        """Active nodes, or all where none is: a young registry has switched none on yet."""
        nodes = [node for node in self._known.nodes() if node.ws_url]
        active = [node.ws_url for node in nodes if node.active]
        return active or [node.ws_url for node in nodes]

    def _remember(self, place: str, url: str) -> None:
        self._places[place] = (self._clock.now_ms(), url)
        self._places.move_to_end(place)
        if len(self._places) > PLACES_MAX:
            self._places.popitem(last=False)

    async def _ask(self, ip: str, urls: Sequence[str]) -> str | None:
        """The first usable answer of a few nodes, each begun a little after the one before."""
        now_ms = self._clock.now_ms()
        well = [url for url in urls if self._failed_until.get(url, 0) <= now_ms]
        chosen = self._random.sample(well, min(ASKED_MAX, len(well)))
        if not chosen or self._asking >= ASKING_MAX:
            return None
        by_host = {urlsplit(url).netloc: url for url in urls}
        running: set[asyncio.Task[str | None]] = set()
        self._asking += 1
        try:
            async with asyncio.timeout(self._patience.total_ms / 1_000):
                while chosen or running:
                    if chosen:
                        asked = self._ask_one(chosen.pop(), ip, by_host)
                        running.add(asyncio.create_task(asked))
                    wait_s = self._patience.stagger_ms / 1_000 if chosen else None
                    done, running = await asyncio.wait(
                        running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                    )
                    for found in filter(None, (task.result() for task in done)):
                        return found
        except TimeoutError:
            return None
        finally:
            self._asking -= 1
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return None

    async def _ask_one(self, url: str, ip: str, by_host: Mapping[str, str]) -> str | None:
        web = url.replace("ws", "http", 1)
        try:
            answer = await self._outbound.ask(
                f"{web}/relevants",
                {"ip": ip},
                bytes_max=ANSWER_BYTES_MAX,
                timeout_ms=self._patience.answer_ms,
            )
        except ConnectionError:
            self._failed_until = {
                node: until_ms
                for node, until_ms in self._failed_until.items()
                if until_ms > self._clock.now_ms()
            }
            self._failed_until[url] = self._clock.now_ms() + BACK_OFF_MS
            return None
        return next((by_host[host] for host in _suggested(answer) if host in by_host), None)


def _suggested(answer: object) -> list[str]:
    """The hosts of `[{"domain": "…"}, …]`, best first; what else is in there is passed over."""
    items = answer[:_SUGGESTED_MAX] if isinstance(answer, list) else []
    domains = (item.get("domain") for item in items if isinstance(item, dict))
    hosts = (host_of(domain) for domain in domains if isinstance(domain, str))
    return [host for host in hosts if host is not None]


def host_of(text: str) -> str | None:
    """A plain host, with or without a port, in lower case; None for anything more or less."""
    host = text.lower()
    return host if _HOST.fullmatch(host) else None


def neighbourhood(client_ip: str) -> str | None:
    """The /24 or /48 around an address of the open internet; None where a place is unknown."""
    try:
        address = ip_address(client_ip.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = mapped or address
    if not address.is_global or address.is_multicast:
        return None
    bits = 48 if isinstance(address, IPv6Address) else 24
    return str(ip_network((address, bits), strict=False))
