"""The route table: every path there is, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from adapters.http.accounts import Accounts
from adapters.http.agent_sessions import AgentSessions
from adapters.http.bodies import BODY_BYTES_MAX
from adapters.http.browsers import add_common_headers, preflights, request_id
from adapters.http.contract import Contract
from adapters.http.credits import Credits
from adapters.http.did import DidDocument
from adapters.http.direct import DirectSessions
from adapters.http.doors import DOORS, Doors
from adapters.http.errors import Handler, errors_as_json
from adapters.http.gate import Gate
from adapters.http.identity import Doorman
from adapters.http.keys import Keys
from adapters.http.log import LogRoutes
from adapters.http.play_money import PlayMoney
from adapters.http.refunds import RefundRoutes
from adapters.http.sessions import Sessions
from adapters.http.site import Health, Site, SiteInfo
from adapters.http.statements import Statements
from adapters.http.verify_page import VerifyPage
from adapters.log import bound
from domain.gateway import Gateway
from domain.use_cases.purchase_credits import Purchases
from domain.use_cases.refund_credits import Refunds

Stream = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SpeechFleet(Protocol):
    """Answers speech servers: their lines, and their reports of usage (specs/fleet.md)."""

    async def link(self, request: web.Request) -> web.StreamResponse: ...

    async def events(self, request: web.Request) -> web.Response: ...


def application(
    gateway: Gateway,
    *,
    purchases: Purchases,
    refunds: Refunds,
    site: SiteInfo,
    health: Health,
    stream: Stream | None = None,
    webhook: Stream | None = None,
    fleet: SpeechFleet | None = None,
    gate: Gate | None = None,
    play_money: PlayMoney | None = None,
) -> web.Application:
    """The HTTP application; `stream` answers `/v1/stream` with a WebSocket.

    `fleet` answers speech servers in processes of their own, `webhook` room servers, `play_money`
    for the sandbox's chains; where there are none, nobody does.
    Without a `gate` no proxy is trusted.
    """
    gate = gate or Gate(gateway.clock)
    doorman, doors = Doorman(gateway), Doors()
    app = web.Application(
        middlewares=(
            log_fields,
            doors.pass_through,
            errors_as_json,
            preflights,
            gate.pass_in,
            doorman.know_keys,
            *([play_money.lose_replies] if play_money else []),
        ),
        client_max_size=BODY_BYTES_MAX,
    )
    app[DOORS] = doors
    app.on_response_prepare.append(add_common_headers)
    _add_money(app, gateway, purchases, site, doorman)
    RefundRoutes(gateway, doorman, refunds).add_to(app)
    _add_sessions(app, gateway, doorman)
    Keys(gateway, doorman).add_to(app)
    sights = Site(gateway, site, health)
    _add_site(app, sights)
    DirectSessions(gateway, purchases, public_url=site.public_url, health=sights.health).add_to(app)
    LogRoutes(gateway.log).add_to(app)
    VerifyPage().add_to(app)
    Contract().add_to(app)
    DidDocument(site.public_url, site.offer_keys).add_to(app)
    if play_money is not None:
        play_money.add_to(app)
    if stream is not None:
        app.router.add_get("/v1/stream", stream)
    if fleet is not None:
        app.router.add_get("/internal/fleet", fleet.link)
        app.router.add_post("/internal/events", fleet.events)
    if webhook is not None:
        app.router.add_post("/v1/webhooks/sfu", webhook)
    return app


def _add_money(
    app: web.Application,
    gateway: Gateway,
    purchases: Purchases,
    site: SiteInfo,
    doorman: Doorman,
) -> None:
    accounts = Accounts(gateway, doorman)
    Credits(gateway, purchases, public_url=site.public_url).add_to(app)
    app.router.add_get("/v1/account", accounts.show)
    app.router.add_get("/v1/account/transactions", accounts.transactions)
    app.router.add_get("/v1/account/sessions", accounts.sessions)
    app.router.add_get("/v1/account/statement", Statements(gateway, doorman).read)
    app.router.add_get("/v1/sessions/{id}/bill", accounts.bill)


def _add_sessions(app: web.Application, gateway: Gateway, doorman: Doorman) -> None:
    sessions = Sessions(gateway, doorman)
    agents = AgentSessions(gateway, doorman)
    app.router.add_post("/v1/webrtc/token", sessions.open_webrtc)
    app.router.add_post("/v1/webrtc/token/extend", sessions.extend_webrtc)
    app.router.add_post("/v1/stt/session", sessions.open_stt)
    app.router.add_post("/v1/stt/session/extend", sessions.extend_stt)
    app.router.add_post("/v1/tts/session", sessions.open_tts)
    app.router.add_post("/v1/tts/session/extend", sessions.extend_tts)
    app.router.add_post("/v1/sessions/{id}/end", sessions.end)
    app.router.add_post("/v1/agent-session", agents.open)
    app.router.add_post("/v1/agent-session/extend", agents.extend)
    app.router.add_post("/v1/agent-session/{id}/end", agents.end)


def _add_site(app: web.Application, site: Site) -> None:
    app.router.add_get("/v1/pricing", site.pricing)
    app.router.add_get("/v1/servers/status", site.servers)
    app.router.add_get("/v1/log/checkpoint", site.checkpoint)
    app.router.add_get("/internal/health", site.health)
    app.router.add_get("/.well-known/payphone", site.well_known)


@web.middleware
async def log_fields(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every line logged on the way carries the id the client was told."""
    with bound(request_id=request_id(request)):
        return await handler(request)
