"""TRON on paper: a facilitator that quotes and carries nothing, and a rail that only reads."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import Any

from bankofai.x402.types import (
    FeeInfo,
    FeeQuoteResponse,
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedKind,
    SupportedResponse,
    VerifyResponse,
)
from coincurve import PrivateKey

from adapters.rails.tron import TronRail
from adapters.rails.tron_chain import TronChain
from adapters.rails.tron_desk import PermitDesk
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.rails.tron_permit import Permit
from adapters.rails.tron_terms import Permits, Quotes
from domain.money import Microcredits
from domain.ports.payments import Purchase
from tests.fakes.clock import ManualClock

# Throwaway: 32 bytes of 0x11, 0x22 and 0x33. Nobody should send anything to them.
BUYER_KEY = PrivateKey(b"\x11" * 32)
BUYER = "TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ"
CARRIER = "TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq"
PAY_TO = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
ZERO = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"
SEED = bytes(range(32))
NOW_MS = 1_700_000_000_000
URL = "https://gateway.example/v1/credits/purchase/tron"


@dataclass
class PaperFacilitator:
    """Quotes `quotes` and counts how often it is asked; everything else it refuses."""

    quotes: list[FeeQuoteResponse] = field(default_factory=lambda: [quote()])
    asked: int = 0
    amounts: list[str] = field(default_factory=list)
    down: bool = False

    async def supported(self) -> SupportedResponse:
        kind = SupportedKind(x402Version=2, scheme="exact_permit", network="tron:mainnet")
        return SupportedResponse(kinds=[] if self.down else [kind])

    async def fee_quote(self, accepts: list[PaymentRequirements]) -> list[FeeQuoteResponse]:
        self.asked += 1
        self.amounts += [accept.amount for accept in accepts]
        if self.down:
            msg = "nobody is there"
            raise ConnectionRefusedError(msg)
        return self.quotes

    async def verify(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> VerifyResponse:
        return VerifyResponse(isValid=False, invalidReason="on paper only")

    async def settle(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> SettleResponse:
        return SettleResponse(success=False, errorReason="on paper only")

    async def payments(self, payment_id: str) -> list[str]:
        return []


class NoNode:
    """A node that is away."""

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
        msg = f"{path}: nobody is there"
        raise ConnectionError(msg)


def quote(
    *,
    fee: str = "100",
    to: str = CARRIER,
    caller: str | None = CARRIER,
    expires_at_s: int | None = NOW_MS // 1000 + 300,
    **fields: str,
) -> FeeQuoteResponse:
    answer = {
        "pricing": "flat",
        "scheme": "exact_permit",
        "network": "tron:mainnet",
        "asset": TRON_MAINNET.usdt,
    }
    return FeeQuoteResponse(
        fee=FeeInfo(feeTo=to, feeAmount=fee, caller=caller),
        expiresAt=expires_at_s,
        **(answer | fields),
    )


def paper_rail(
    facilitator: PaperFacilitator | None = None,
    clock: ManualClock | None = None,
    *,
    seed: bytes = SEED,
    fee_max: int = 1_000,
) -> TronRail:
    """A rail that can ask for payments and read them, and reach nobody."""
    carrier, time = facilitator or PaperFacilitator(), clock or ManualClock(NOW_MS)
    chain = TronChain(NoNode(), TRON_MAINNET)
    return TronRail(
        pay_to=PAY_TO,
        network=TRON_MAINNET,
        facilitator=carrier,
        chain=chain,
        desk=PermitDesk(
            rail="x402-tron", network=TRON_MAINNET, facilitator=carrier, chain=chain, clock=time
        ),
        permits=Permits(seed=seed, network=TRON_MAINNET, clock=time),
        quotes=Quotes(
            rail="x402-tron",
            network=TRON_MAINNET,
            facilitator=carrier,
            clock=time,
            fee_max=fee_max,
        ),
        clock=time,
    )


def purchase_of(amount: int = 1_500_000) -> Purchase:
    return Purchase(chain="tron", wallet=None, amount=Microcredits(amount), resource_url=URL)


async def payment_for(
    rail: TronRail,
    amount: int = 1_500_000,
    *,
    key: PrivateKey = BUYER_KEY,
    **changes: str | int | bytes,
) -> dict[str, Any]:
    """An answer to the rail's challenge, as clients write it; `changes` are signed with it."""
    terms = (await rail.challenge(purchase_of(amount))).terms
    return answer_to(terms, key=key, **changes)


def answer_to(
    terms: dict[str, Any], *, key: PrivateKey = BUYER_KEY, **changes: str | int | bytes
) -> dict[str, Any]:
    accepted = terms["accepts"][0]
    fee = accepted["extra"]["fee"]
    permit = Permit.parse(
        {
            "meta": terms["extensions"]["paymentPermitContext"]["meta"],
            "buyer": BUYER,
            "caller": fee["caller"],
            "payment": {
                "payToken": accepted["asset"],
                "payAmount": accepted["amount"],
                "payTo": accepted["payTo"],
            },
            "fee": {"feeTo": fee["feeTo"], "feeAmount": fee["feeAmount"]},
        }
    )
    permit = replace(permit, **changes)
    return {
        "x402Version": 2,
        "resource": terms["resource"],
        "accepted": accepted,
        "payload": {
            "signature": permit.signed_by(key, TRON_MAINNET),
            "paymentPermit": permit.wire(),
        },
        "extensions": {},
    }


def header_of(payment: object) -> dict[str, str]:
    raw = json.dumps(payment).encode()
    return {"payment-signature": base64.b64encode(raw).decode("ascii")}
