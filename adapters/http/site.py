"""What anybody may know of this gateway: prices, servers, health, keys, and the log's head."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.http.did import offers_of_site
from adapters.http.identity import CHAINS
from domain.errors import NotFoundError
from domain.gateway import Gateway
from domain.money import MICROCREDITS_PER_USD
from domain.ports.speech_servers import SpeechServer
from domain.pricing import MS_PER_MINUTE, SERVICES, Tariff

# How often it is worth asking whether a broken part is whole again.
_RETRY_S = "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInfo:
    """Who signs the log. All keys are verifier keys.

    `keys` are ours, newest first, each with how many events there were when it began to sign;
    `rotations` the signed changes between them, oldest first; `witnesses` who is asked to cosign.
    """

    keys: tuple[tuple[str, int], ...] = ()
    rotations: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfo:
    """What this gateway says of itself. `offer_keys` are the public keys of offers and receipts.

    `log_signer` is the verifier key of the log (`name+hint+key`); `public_url` has no slash at its
    end.
    """

    public_url: str
    version: str
    sandbox: bool
    log_signer: str
    log: LogInfo = LogInfo()
    offer_keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the program and what is wrong with it; without a vital part nothing works."""

    name: str
    problem: str = ""
    vital: bool = False


Health = Callable[[], Awaitable[Sequence[Part]]]


class Site:
    """Answers without a wallet; nothing here is secret or a customer's."""

    def __init__(self, gateway: Gateway, info: SiteInfo, health: Health) -> None:
        self._gateway = gateway
        self._info = info
        self._health = health

    async def pricing(self, request: web.Request) -> web.Response:
        book = self._gateway.price_book
        prices = {service: _price(book.tariff(service)) for service in SERVICES}
        return web.json_response(
            {
                **prices,
                "currency": "USD",
                "microcredits_per_usd": str(MICROCREDITS_PER_USD),
                "min_purchase_usd": float(self._gateway.terms.purchase_min.usd),
                "price_book": book.version,
            }
        )

    async def servers(self, request: web.Request) -> web.Response:
        """Each service with its servers."""
        known = self._gateway.servers.servers()
        return web.json_response(
            {
                service: {
                    "available": any(s.has_room for s in known if s.service == service),
                    "servers": [_server(s) for s in known if s.service == service],
                }
                for service in ("stt", "tts")
            }
        )

    async def health(self, request: web.Request) -> web.Response:
        """200 while the gateway can do its work, 503 when a vital part is broken."""
        return health_answer(await self._health())

    async def checkpoint(self, request: web.Request) -> web.Response:
        """The signed head of the log, as a C2SP signed note; `cosigned`: one a witness saw."""
        if "cosigned" in request.query:
            note = await self._gateway.log.cosigned()
            if note is None:
                raise NotFoundError("Head that a witness cosigned")
        else:
            note = (await self._gateway.log.prove([])).checkpoint
        return web.Response(text=note, content_type="text/plain", charset="utf-8")

    async def well_known(self, request: web.Request) -> web.Response:
        """Everything a client or an auditor needs to begin."""
        info, gateway = self._info, self._gateway
        book = gateway.price_book
        return web.json_response(
            {
                "name": "payphone",
                "version": info.version,
                "url": info.public_url,
                "sandbox": info.sandbox,
                "log": {
                    "signer": info.log_signer,
                    "keys": [{"key": key, "since": since} for key, since in info.log.keys],
                    "rotations": list(info.log.rotations),
                    "witnesses": list(info.log.witnesses),
                    "checkpoint": f"{info.public_url}/v1/log/checkpoint",
                },
                "price_book": {"sha256": book.hash, **json.loads(book.content)},
                "rails": [
                    {"name": rail.name, "networks": list(rail.networks)} for rail in gateway.rails
                ],
                "offers": offers_of_site(info.public_url, info.offer_keys),
                "wallet_signature": {
                    "message": "METHOD\nPATH\nTIMESTAMP",
                    "chains": list(CHAINS),
                    "window_seconds": 30,
                },
            }
        )


def health_answer(parts: Sequence[Part]) -> web.Response:
    """200 while the work can be done, 503 when a vital part is broken."""
    broken = [part.name for part in parts if part.problem]
    down = [part.name for part in parts if part.problem and part.vital]
    body: dict[str, object] = {
        "status": "down" if down else "degraded" if broken else "ok",
        "parts": {part.name: part.problem or "ok" for part in parts},
    }
    if down:
        body |= {"error": f"Not working: {', '.join(down)}", "code": "unhealthy"}
    headers = {"Retry-After": _RETRY_S} if down else {}
    return web.json_response(body, status=503 if down else 200, headers=headers)


def _price(tariff: Tariff) -> dict[str, object]:
    """The rate per minute or per 1,000 characters, as people quote it."""
    if tariff.unit == "ms":
        quoted, name = MS_PER_MINUTE, "minute"
    else:
        quoted, name = 1_000, "1k_characters"
    return {
        "unit": name,
        "microcredits": str(tariff.price(quoted).value),
        "usd": float(tariff.price(quoted).usd),
    }


def _server(server: SpeechServer) -> dict[str, object]:
    traits = server.traits
    return {
        "name": server.name or None,
        "url": server.url,
        "regions": sorted(server.regions),
        "live": server.live,
        "capacity": server.capacity or None,
        "engine": traits.name,
        "ready": traits.ready,
        "problem": traits.problem or None,
        "languages": sorted(traits.languages),
        "voices": sorted(traits.voices),
    }
