"""How money comes in: ask for a payment, or credit the one presented."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from adapters.http.bodies import Body, malformed, read_body
from adapters.http.errors import Handler, refusal_body, refused
from adapters.http.identity import shown_wallet, wallet_of
from domain.errors import (
    MalformedError,
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

    `chains` is what `wallet_chain` may say, and the wallets' chain each stands for. Where they are
    all one, the wallet need not be named: it is whoever pays.
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
        async def take(rail: PaymentRail, proof: Proof) -> web.Response:
            credited = await self._purchases.take(rail, proof, purchase)
            receipt = rail.receipt(outcome_of(credited), purchase)
            return web.json_response(_credited(credited) | receipt.facts, headers=receipt.headers)

        return await sell(self._rails(counter, purchase.chain), headers, purchase, take)

    def _purchase(self, counter: Counter, body: Body, content: bytes) -> Purchase:
        is_one = len(set(counter.chains.values())) == 1
        usual = next(iter(counter.chains)) if is_one else None
        named = body.text("wallet_chain", length_max=16, default=usual)
        if named not in counter.chains:
            raise malformed("wallet_chain", " or ".join(counter.chains), named)
        chain = counter.chains[named]
        address = body.text(
            "wallet_address", length_max=_ADDRESS_LENGTH_MAX, default="" if is_one else None
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


Take = Callable[[PaymentRail, Proof], Awaitable[web.Response]]


async def sell(
    rails: Sequence[PaymentRail], headers: dict[str, str], purchase: Purchase, take: Take
) -> web.Response:
    """Take the payment that a request came with, or ask for one.

    A 503 says that it was sent and is not confirmed, never a 402 after money may have moved: that
    would invite a second payment.
    """
    refusals: list[PaymentRefusedError] = []
    broken: list[MalformedError] = []
    for rail in rails:
        try:
            proof = await rail.decode(headers, purchase)
        except PaymentRefusedError as refusal:
            refusals.append(refusal)
            continue
        except MalformedError as unreadable:
            broken.append(unreadable)
            continue
        if proof is not None:
            return await _taken(rails, rail, proof, purchase, take)
    # Of several rails most can only say that it was not for them.
    refusals.sort(key=lambda refusal: "network" in refusal.reason)
    if broken and (not refusals or "network" in refusals[0].reason):
        raise broken[0]
    return await _ask(rails, purchase, refusals[0] if refusals else None)


async def _taken(
    rails: Sequence[PaymentRail], rail: PaymentRail, proof: Proof, purchase: Purchase, take: Take
) -> web.Response:
    try:
        return await take(rail, proof)
    except PaymentRefusedError as refusal:
        return await _ask(rails, purchase, refusal)
    except PaymentUncertainError as uncertain:
        return _not_confirmed(rail, proof, purchase, uncertain)


def outcome_of(credited: Credited) -> Outcome:
    """What the receipt of a credited payment says."""
    return Outcome(
        success=True,
        payer=credited.payer,
        amount=credited.amount,
        reference=credited.reference,
        at_ms=credited.at_ms,
        position=credited.position,
        payload=credited.payload,
    )


def _not_confirmed(
    rail: PaymentRail, proof: Proof, purchase: Purchase, uncertain: PaymentUncertainError
) -> web.Response:
    """The refusal, with a receipt that says so."""
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


async def _ask(
    rails: Sequence[PaymentRail], purchase: Purchase, refusal: PaymentRefusedError | None
) -> web.Response:
    """A 402 with the terms of every rail that can be reached, and why a payment was refused."""
    text = str(refusal) if refusal is not None else _ASK
    challenge = await _challenge(rails, purchase, refusal)
    body = dict(challenge.terms)
    if refusal is not None:
        body.update(refusal_body(refusal))
    else:
        body.update(error=text, code="payment_required")
    shown = json.dumps({**body, "message": text}).encode()
    headers = {"Content-Type": _JSON, **challenge.headers}
    return web.Response(body=shown, status=402, headers=headers)


async def _challenge(
    rails: Sequence[PaymentRail], purchase: Purchase, refusal: PaymentRefusedError | None
) -> Challenge:
    """The terms of the first rail that can be reached, and of those after it."""
    for place, rail in enumerate(rails, start=1):
        try:
            return await rail.challenge(purchase, refusal=refusal, beside=rails[place:])
        except RailDownError:
            if place == len(rails):
                raise
    raise NotFoundError(what="Way to pay at this gateway")


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
