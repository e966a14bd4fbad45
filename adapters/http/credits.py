"""How money comes in: ask for a payment, or credit the one presented."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from adapters.http.bodies import Body, malformed, read_body
from adapters.http.errors import refusal_body, refused
from adapters.http.identity import wallet_of
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.gateway import Gateway
from domain.money import MICROCREDITS_PER_USD, Microcredits
from domain.ports.payments import Challenge, PaymentRail, Proof, Purchase
from domain.use_cases.purchase_credits import Credited, Purchases

PURCHASE_PATH = "/v1/credits/purchase"
PURCHASE_MAX = Microcredits(1_000_000 * MICROCREDITS_PER_USD)
_CHAINS = ("evm", "solana")
_ADDRESS_LENGTH_MAX = 64
_ASK = "Payment required"


class Credits:
    """The purchase endpoint; the payment itself is the authentication."""

    def __init__(self, gateway: Gateway, purchases: Purchases, *, public_url: str) -> None:
        self._gateway = gateway
        self._purchases = purchases
        self._resource_url = public_url.rstrip("/") + PURCHASE_PATH

    async def buy(self, request: web.Request) -> web.Response:
        """402 with the terms while no payment is shown; the credit, once, when one is."""
        purchase = self._purchase(await read_body(request))
        rails = self._rails(purchase.chain)
        headers = _lowered(request.headers)
        try:
            for rail in rails:
                proof = await rail.decode(headers, purchase)
                if proof is not None:
                    return await self._take(rail, proof, purchase)
        except PaymentRefusedError as refusal:
            return await _ask(rails, purchase, refusal)
        return await _ask(rails, purchase, None)

    async def _take(self, rail: PaymentRail, proof: Proof, purchase: Purchase) -> web.Response:
        try:
            credited = await self._purchases.take(rail, proof, purchase)
        except PaymentUncertainError as uncertain:
            # Never a 402: that would invite a second payment.
            answer = refused(uncertain)
            receipt = rail.receipt(
                success=False,
                payer=proof.payer,
                reference=uncertain.reference,
                reason=uncertain.code,
            )
            answer.headers.update(receipt.headers)
            return answer
        receipt = rail.receipt(success=True, payer=credited.payer, reference=credited.reference)
        return web.json_response(_credited(credited), headers=receipt.headers)

    def _purchase(self, body: Body) -> Purchase:
        chain = body.text("wallet_chain", length_max=16)
        if chain not in _CHAINS:
            raise malformed("wallet_chain", " or ".join(_CHAINS), chain)
        return Purchase(
            chain=chain,
            wallet=wallet_of(chain, body.text("wallet_address", length_max=_ADDRESS_LENGTH_MAX)),
            amount=body.usd(
                "amount_usd", least=self._gateway.terms.purchase_min, most=PURCHASE_MAX
            ),
            resource_url=self._resource_url,
        )

    def _rails(self, chain: str) -> tuple[PaymentRail, ...]:
        rails = tuple(rail for rail in self._gateway.rails if rail.serves(chain))
        if not rails:
            open_chains = [c for c in _CHAINS if any(r.serves(c) for r in self._gateway.rails)]
            expected = " or ".join(open_chains) or "a chain this gateway takes payments on"
            raise malformed("wallet_chain", expected, chain)
        return rails


async def _ask(
    rails: tuple[PaymentRail, ...], purchase: Purchase, refusal: PaymentRefusedError | None
) -> web.Response:
    """A 402 with the terms of every rail that can be reached, and why a payment was refused."""
    text = str(refusal) if refusal is not None else _ASK
    challenges = await _challenges(rails, purchase, error=text)
    body: dict[str, object] = {}
    headers: dict[str, str] = {}
    for challenge in reversed(challenges):
        # The first rail's terms win where two speak of the same thing.
        body.update(challenge.terms)
        headers.update(challenge.headers)
    if refusal is not None:
        body.update(refusal_body(refusal))
    else:
        body.update(error=text, code="payment_required")
    return web.json_response({**body, "message": text}, status=402, headers=headers)


async def _challenges(
    rails: tuple[PaymentRail, ...], purchase: Purchase, *, error: str
) -> list[Challenge]:
    challenges = []
    down = None
    for rail in rails:
        try:
            challenges.append(await rail.challenge(purchase, error=error))
        except RailDownError as unreachable:
            down = unreachable
    if not challenges and down is not None:
        raise down
    return challenges


def _credited(credited: Credited) -> dict[str, object]:
    usd = float(credited.amount.usd)
    return {
        "account_id": str(credited.account_id),
        "credited_microcredits": str(credited.amount.value),
        "amount_usd": int(usd) if usd.is_integer() else usd,
    }


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; of a header sent twice the first counts."""
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        lowered.setdefault(name.lower(), value)
    return lowered
