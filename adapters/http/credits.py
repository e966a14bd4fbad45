"""How money comes in: ask for a payment, or credit the one presented."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from adapters.http.bodies import Body, malformed, read_body
from adapters.http.errors import Handler, refusal_body, refused
from adapters.http.identity import shown_wallet, wallet_of
from domain.errors import (
    NotFoundError,
    PaymentRefusedError,
    PaymentUncertainError,
    RailDownError,
)
from domain.gateway import Gateway
from domain.money import MICROCREDITS_PER_USD, Microcredits
from domain.ports.payments import Challenge, Outcome, PaymentRail, Proof, Purchase
from domain.use_cases.purchase_credits import Credited, Purchases

PURCHASE_PATH = "/v1/credits/purchase"
PURCHASE_MAX = Microcredits(1_000_000 * MICROCREDITS_PER_USD)
_ADDRESS_LENGTH_MAX = 64
_ASK = "Payment required"
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One path where credit is sold: by which protocol, and to wallets of which chains.

    `chains` is what `wallet_chain` may say, and the wallets' chain each stands for. Where only one
    chain pays, the wallet need not be named: it is whoever pays.
    """

    path: str
    protocol: str
    chains: Mapping[str, str]


COUNTERS = (
    Counter(path=PURCHASE_PATH, protocol="x402", chains={"evm": "evm", "solana": "solana"}),
    Counter(path=f"{PURCHASE_PATH}/mpp", protocol="mpp", chains={"evm": "evm", "tempo": "evm"}),
    Counter(path=f"{PURCHASE_PATH}/tron", protocol="tron", chains={"tron": "tron"}),
)


class Credits:
    """The purchase endpoints; the payment itself is the authentication."""

    def __init__(self, gateway: Gateway, purchases: Purchases, *, public_url: str) -> None:
        self._gateway = gateway
        self._purchases = purchases
        self._public_url = public_url.rstrip("/")

    def add_to(self, app: web.Application) -> None:
        """Open every counter; one without a rail says that it has none."""
        for counter in COUNTERS:
            app.router.add_post(counter.path, self._seller(counter))

    def _seller(self, counter: Counter) -> Handler:
        async def buy(request: web.Request) -> web.StreamResponse:
            """402 with the terms while no payment is shown; the credit, once, when one is."""
            purchase = self._purchase(counter, await read_body(request), await request.read())
            return await self._buy(counter, lowered(request.headers), purchase)

        return buy

    async def _buy(
        self, counter: Counter, headers: dict[str, str], purchase: Purchase
    ) -> web.Response:
        rails = self._rails(counter, purchase.chain)
        try:
            for rail in rails:
                proof = await rail.decode(headers, purchase)
                if proof is not None:
                    return await self._take(rail, proof, purchase)
        except PaymentRefusedError as refusal:
            return await ask(rails, purchase, refusal)
        return await ask(rails, purchase, None)

    async def _take(self, rail: PaymentRail, proof: Proof, purchase: Purchase) -> web.Response:
        try:
            credited = await self._purchases.take(rail, proof, purchase)
        except PaymentUncertainError as uncertain:
            return not_confirmed(rail, proof, purchase, uncertain)
        receipt = rail.receipt(outcome_of(credited), purchase)
        return web.json_response(_credited(credited) | receipt.facts, headers=receipt.headers)

    def _purchase(self, counter: Counter, body: Body, content: bytes) -> Purchase:
        only = next(iter(counter.chains)) if len(counter.chains) == 1 else None
        named = body.text("wallet_chain", length_max=16, default=only)
        if named not in counter.chains:
            raise malformed("wallet_chain", " or ".join(counter.chains), named)
        chain = counter.chains[named]
        address = body.text(
            "wallet_address", length_max=_ADDRESS_LENGTH_MAX, default="" if only else None
        )
        return Purchase(
            chain=chain,
            wallet=wallet_of(chain, address) if address else None,
            amount=body.usd(
                "amount_usd", least=self._gateway.terms.purchase_min, most=PURCHASE_MAX
            ),
            resource_url=self._public_url + counter.path,
            content=content,
        )

    def _rails(self, counter: Counter, chain: str) -> tuple[PaymentRail, ...]:
        spoken = [rail for rail in self._gateway.rails if rail.protocol == counter.protocol]
        if not spoken:
            raise NotFoundError(what=f"Way to pay by {counter.protocol.upper()} at this gateway")
        rails = tuple(rail for rail in spoken if rail.serves(chain))
        if not rails:
            open_chains = [
                name for name, c in counter.chains.items() if any(r.serves(c) for r in spoken)
            ]
            expected = " or ".join(open_chains) or "a chain this gateway takes payments on"
            raise malformed("wallet_chain", expected, chain)
        return rails


def outcome_of(credited: Credited) -> Outcome:
    """What the receipt of a credited payment says."""
    return Outcome(
        success=True,
        payer=credited.payer,
        amount=credited.amount,
        reference=credited.reference,
        at_ms=credited.at_ms,
        position=credited.position,
    )


def not_confirmed(
    rail: PaymentRail, proof: Proof, purchase: Purchase, uncertain: PaymentUncertainError
) -> web.Response:
    """A 503 with a receipt that says so. Never a 402: that would invite a second payment."""
    answer = refused(uncertain)
    outcome = Outcome(
        success=False,
        payer=proof.payer,
        amount=proof.amount,
        reference=uncertain.reference,
        reason=uncertain.code,
    )
    answer.headers.update(rail.receipt(outcome, purchase).headers)
    return answer


async def ask(
    rails: tuple[PaymentRail, ...], purchase: Purchase, refusal: PaymentRefusedError | None
) -> web.Response:
    """A 402 with the terms of every rail that can be reached, and why a payment was refused."""
    text = str(refusal) if refusal is not None else _ASK
    body: dict[str, object] = {}
    headers: dict[str, str] = {"Content-Type": _JSON}
    for challenge in reversed(await _challenges(rails, purchase, refusal)):
        # The first rail's terms win where two speak of the same thing.
        body.update(challenge.terms)
        headers.update(challenge.headers)
    if refusal is not None:
        body.update(refusal_body(refusal))
    else:
        body.update(error=text, code="payment_required")
    shown = json.dumps({**body, "message": text}).encode()
    return web.Response(body=shown, status=402, headers=headers)


async def _challenges(
    rails: tuple[PaymentRail, ...], purchase: Purchase, refusal: PaymentRefusedError | None
) -> list[Challenge]:
    challenges = []
    down = None
    for rail in rails:
        try:
            challenges.append(await rail.challenge(purchase, refusal=refusal))
        except RailDownError as unreachable:
            down = unreachable
    if not challenges and down is not None:
        raise down
    return challenges


def _credited(credited: Credited) -> dict[str, object]:
    usd = float(credited.amount.usd)
    return {
        "account_id": str(credited.account_id),
        "wallet_chain": credited.chain,
        "wallet_address": shown_wallet(credited.chain, credited.payer),
        "credited_microcredits": str(credited.amount.value),
        "amount_usd": int(usd) if usd.is_integer() else usd,
    }


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in lower case; of a header sent twice the first counts."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found.setdefault(name.lower(), value)
    return found
