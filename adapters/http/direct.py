"""Speech to text without an account: one payment is one session, and another is more of it."""

from __future__ import annotations

from aiohttp import web

from adapters.http.bodies import Body, read_body
from adapters.http.credits import lowered, outcome_of, sell
from adapters.http.errors import Handler
from adapters.http.gate import caller_ip, caller_region
from adapters.http.origin import household
from adapters.http.shapes import iso
from domain.errors import NotFoundError
from domain.gateway import Gateway
from domain.money import Microcredits
from domain.ports.payments import PaymentRail, Proof, Purchase
from domain.pricing import MS_PER_MINUTE
from domain.use_cases.buy_session import (
    Bought,
    buy_extension,
    buy_session,
    find_extendable,
    price_of,
    remaining_ms,
)
from domain.use_cases.open_session import SessionRequest
from domain.use_cases.purchase_credits import Purchases

SERVICE = "stt"
MINUTES_MIN = 5
MINUTES_MAX = 120
SESSION_PATH = "/v1/session"
EXTEND_PATH = "/v1/session/extend"
_PROTOCOL = "x402"


class DirectSessions:
    """What `dtelecom-stt` speaks: pay with the request, then stream with the key in the answer."""

    def __init__(
        self, gateway: Gateway, purchases: Purchases, *, public_url: str, health: Handler
    ) -> None:
        self._gateway = gateway
        self._purchases = purchases
        self._public_url = public_url.rstrip("/")
        self._health = health

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(SESSION_PATH, self.open)
        app.router.add_post(EXTEND_PATH, self.extend)
        app.router.add_get("/pricing", self.pricing)
        app.router.add_get("/health", self._health)

    async def open(self, request: web.Request) -> web.Response:
        """402 with the price on every chain while no payment is shown; the session when one is."""
        body = await read_body(request)
        minutes = _minutes(body)
        wanted = SessionRequest(
            service=SERVICE,
            quantity=minutes * MS_PER_MINUTE,
            language=body.language(),
            region=caller_region(request),
        )
        purchase = self._purchase(SESSION_PATH, minutes, await request.read())
        caller = str(household(caller_ip(request)))

        async def take(rail: PaymentRail, proof: Proof) -> web.Response:
            bought = await buy_session(
                self._gateway, self._purchases, rail, proof, purchase, wanted, caller=caller
            )
            return await self._opened(rail, purchase, bought, minutes)

        return await sell(self._rails(), lowered(request.headers), purchase, take)

    async def extend(self, request: web.Request) -> web.Response:
        """The same for more minutes, for the wallet that the session belongs to alone."""
        body = await read_body(request)
        minutes = _minutes(body)
        wanted = await find_extendable(self._gateway, body.uuid("session_id"), SERVICE)
        purchase = self._purchase(
            EXTEND_PATH,
            minutes,
            await request.read(),
            chain=wanted.chain,
            wallet=wanted.wallet,
        )

        async def take(rail: PaymentRail, proof: Proof) -> web.Response:
            bought = await buy_extension(
                self._gateway,
                self._purchases,
                rail,
                proof,
                purchase,
                wanted,
                minutes * MS_PER_MINUTE,
            )
            return await self._extended(rail, purchase, bought, minutes)

        return await sell(self._rails(wanted.chain), lowered(request.headers), purchase, take)

    async def pricing(self, request: web.Request) -> web.Response:
        """What a minute costs, as `dtelecom-stt` asks for it."""
        networks = [network for rail in self._rails() for network in rail.networks]
        return web.json_response(
            {
                "price_per_minute_usd": _usd(price_of(self._gateway, SERVICE, MS_PER_MINUTE)),
                "min_minutes": MINUTES_MIN,
                "max_minutes": MINUTES_MAX,
                "min_price_usd": _usd(self._price(MINUTES_MIN)),
                "currency": "USDC",
                "network": networks[0],
                "networks": networks,
            }
        )

    async def _opened(
        self, rail: PaymentRail, purchase: Purchase, bought: Bought, minutes: int
    ) -> web.Response:
        ticket = bought.ticket
        receipt = rail.receipt(outcome_of(bought.credited), purchase)
        return web.json_response(
            {
                "session_id": str(ticket.session_id),
                "session_key": ticket.token,
                "ws_url": ticket.url,
                "minutes": minutes,
                "remaining_seconds": await self._remaining_s(bought),
                "price_usd": purchase.amount.usd,
                "expires_at": iso(ticket.expires_at_ms),
            },
            headers=receipt.headers,
        )

    async def _extended(
        self, rail: PaymentRail, purchase: Purchase, bought: Bought, minutes: int
    ) -> web.Response:
        receipt = rail.receipt(outcome_of(bought.credited), purchase)
        return web.json_response(
            {
                "session_id": str(bought.ticket.session_id),
                "minutes_added": minutes,
                "remaining_seconds": await self._remaining_s(bought),
                "price_usd": purchase.amount.usd,
                "expires_at": iso(bought.ticket.expires_at_ms),
            },
            headers=receipt.headers,
        )

    async def _remaining_s(self, bought: Bought) -> int:
        return await remaining_ms(self._gateway, bought.ticket.session_id) // 1000

    def _purchase(
        self, path: str, minutes: int, content: bytes, *, chain: str = "", wallet: str | None = None
    ) -> Purchase:
        return Purchase(
            chain=chain,
            wallet=wallet,
            amount=self._price(minutes),
            resource_url=self._public_url + path,
            content=content,
            description=f"{minutes} minutes of speech to text",
        )

    def _price(self, minutes: int) -> Microcredits:
        return price_of(self._gateway, SERVICE, minutes * MS_PER_MINUTE)

    def _rails(self, chain: str | None = None) -> tuple[PaymentRail, ...]:
        """Where it can be paid: on this chain, or on any."""
        rails = tuple(
            rail
            for rail in self._gateway.rails
            if rail.protocol == _PROTOCOL and (chain is None or rail.serves(chain))
        )
        if not rails:
            raise NotFoundError(what="Way to pay by x402 at this gateway")
        return rails


def _minutes(body: Body) -> int:
    return body.count("minutes", least=MINUTES_MIN, most=MINUTES_MAX, default=MINUTES_MIN)


def _usd(amount: Microcredits) -> float:
    return float(amount.usd)
