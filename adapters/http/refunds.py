"""Credits back to the wallet's own chain: what that would give, asking for it, how it stands."""

from __future__ import annotations

from aiohttp import web

from adapters.http.accounts import path_id
from adapters.http.bodies import Body, idempotency_key, malformed, read_body
from adapters.http.identity import Caller, Doorman, shown_wallet
from adapters.http.shapes import amount, iso
from domain.errors import UnauthenticatedError
from domain.gateway import Gateway
from domain.money import MICROCREDITS_PER_USD, NOTHING, Microcredits
from domain.payout import Payout
from domain.use_cases.pay_out import Refund
from domain.use_cases.quote_refund import RefundQuote
from domain.use_cases.refund_credits import RefundRequest, Refunds

_MOST = Microcredits(1_000_000 * MICROCREDITS_PER_USD)
_RAIL_LENGTH_MAX = 32
_ACCEPTED = 202


class RefundRoutes:
    """A wallet asks for itself, with its signature: money goes nowhere but to it."""

    def __init__(self, gateway: Gateway, doorman: Doorman, refunds: Refunds) -> None:
        self._gateway = gateway
        self._doorman = doorman
        self._refunds = refunds

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/v1/account/refund", self.quote)
        app.router.add_post("/v1/account/refund", self.ask)
        app.router.add_get("/v1/account/refunds/{id}", self.show)

    async def quote(self, request: web.Request) -> web.Response:
        """What a refund would give now, and what it costs."""
        caller = self._doorman.admit(request)
        rail = request.query.get("rail", "")
        if len(rail) > _RAIL_LENGTH_MAX:
            raise malformed("rail", "the name of a rail", rail)
        return web.json_response(_quote(await self._refunds.quote(caller.account_id, rail=rail)))

    async def ask(self, request: web.Request) -> web.Response:
        """200 when it is decided, 202 while the chain has not shown it yet."""
        caller = self._signer(request)
        key = idempotency_key(request, "refund")
        if not key:
            # A lost answer is asked for again: without a key that would be another refund.
            raise malformed("Idempotency-Key", "a key of this refund's own", None)
        body = await read_body(request)
        refund = await self._refunds.ask(
            RefundRequest(
                payout_id=Payout.create_id(caller.account_id, key),
                account_id=caller.account_id,
                amount=body.usd("amount_usd", least=Microcredits(1), most=_MOST),
                fee=body.usd("fee_usd", least=NOTHING, most=_MOST),
                rail=_rail(body),
            )
        )
        return web.json_response(_refund(refund), status=200 if refund.is_over else _ACCEPTED)

    async def show(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        refund = await self._refunds.find(caller.account_id, path_id(request, "Refund"))
        return web.json_response(_refund(refund))

    def _signer(self, request: web.Request) -> Caller:
        caller = self._doorman.admit(request)
        if caller.api_key_id is not None:
            raise UnauthenticatedError(
                "A refund is asked for with the wallet's signature, not a key"
            )
        return caller


def _rail(body: Body) -> str:
    return body.text("rail", length_max=_RAIL_LENGTH_MAX, default="")


def _quote(quote: RefundQuote) -> dict[str, object]:
    return {
        "available": not quote.refusal,
        "reason": quote.refusal or None,
        "wallet_address": shown_wallet(quote.chain, quote.wallet),
        "wallet_chain": quote.chain,
        "rail": quote.rail or None,
        "fee_usd": _usd(quote.fee),
        "min_usd": _usd(quote.least),
        "max_usd": _usd(quote.most),
        "net_usd": _usd(quote.most - quote.fee) if quote.most > quote.fee else 0,
        "available_microcredits": amount(quote.available),
        "refund_limit_usd": _usd(quote.most_of_one),
        "day_left_usd": _usd(quote.day_left),
        "rails": [
            {"rail": name, "refundable_microcredits": amount(payable)}
            for name, payable in quote.payable
        ],
    }


def _refund(refund: Refund) -> dict[str, object]:
    """`status` is `pending`, `paid` or `failed`; a failed one has given all credit back."""
    return {
        "id": str(refund.payout_id),
        "status": refund.state if refund.is_over else "pending",
        "rail": refund.rail,
        "network": refund.network or None,
        "wallet_address": shown_wallet(refund.chain, refund.wallet),
        "wallet_chain": refund.chain,
        "amount_microcredits": amount(refund.amount),
        "fee_microcredits": amount(refund.fee),
        "net_microcredits": amount(refund.net),
        "net_usd": _usd(refund.net),
        "reference": refund.reference or None,
        "reason": refund.reason or None,
        "created_at": iso(refund.requested_at_ms),
        "updated_at": iso(refund.changed_at_ms),
    }


def _usd(credits: Microcredits) -> int | float:  # noqa: A002 (the word for it)
    usd = float(credits.usd)
    return int(usd) if usd.is_integer() else usd
