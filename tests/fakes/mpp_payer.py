"""A payer on Tempo taken apart so that each step can be spoiled, and a node that obeys a script."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from mpp import Challenge as MppChallenge
from mpp import Credential
from mpp.methods.tempo.attribution import encode as memo_of
from pytempo import Call, TempoTransaction  # type: ignore[import-untyped]  # ships no types

from adapters.rails.mpp import MppRail
from adapters.rails.mpp_networks import TEMPO
from adapters.rails.rpc import Rpc
from domain.money import Microcredits
from domain.ports.payments import Challenge, Proof, Purchase
from tests.fakes.sandbox import JumpingClock
from tests.fakes.shop import BODY

# Throwaway: 32 bytes of 0x01 and of 0x02. Nobody should send anything to them.
THROWAWAY_KEY = "0x" + "01" * 32
STRANGERS_KEY = "0x" + "02" * 32
PAY_TO = "0x2222222222222222222222222222222222222222"
SEED = b"throwaway seed of 32 bytes or so"
URL = "http://shop.test/v1/credits/purchase/mpp"
PATH_USD = "0x20c0000000000000000000000000000000000000"
EVER = 2**256 - 1
# Below what the chain allows of a transaction whose nonce expires.
WINDOW_S = 25


@dataclass(frozen=True, kw_only=True)
class Signing:
    """What a payer signs; the defaults are an honest answer to a challenge.

    Fees are in another dollar, so that all a wallet holds can be paid. `plain` leaves the memo out.
    `sponsor` is the key that signs for the fee as well.
    """

    amount: int | None = None
    pay_to: str | None = None
    token: str | None = None
    memo: str | None = None
    plain: bool = False
    chain_id: int = TEMPO.chain_id
    window_s: int | None = WINDOW_S
    fee_token: str = PATH_USD
    calls: int = 1
    key: str = THROWAWAY_KEY
    sponsor: str | None = None


HONEST = Signing()


class ScriptedNode:
    """Implements `Rpc`: each method's answer, or the error it raises; `asked` is what was called.

    What is not in the script is refused, so that a test sees what it did not expect.
    """

    def __init__(self, **answers: object) -> None:
        self.answers: dict[str, object] = {"eth_chainId": hex(TEMPO.chain_id), **answers}
        self.asked: list[str] = []

    async def call(self, method: str, params: list[object]) -> object:
        self.asked.append(method)
        if method not in self.answers:
            msg = f"{method}: not in the script"
            raise ConnectionError(msg)
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Payer:
    """A wallet that answers the challenges of a rail on `node`."""

    node: Rpc
    clock: JumpingClock = field(default_factory=JumpingClock)
    buyer: LocalAccount = field(default_factory=lambda: Account.from_key(THROWAWAY_KEY))

    def new_rail(self, *, seed: bytes = SEED, confirm_tries: int = 8) -> MppRail:
        """A rail without memory, as after a restart."""
        return MppRail(
            pay_to=PAY_TO,
            network=TEMPO,
            rpc=self.node,
            clock=self.clock,
            seed=seed,
            settle_timeout_ms=5_000,
            confirm_tries=confirm_tries,
        )

    def purchase(self, amount: int = 100_000, *, content: bytes = BODY, url: str = URL) -> Purchase:
        return Purchase(
            chain="evm",
            wallet=self.buyer.address.lower(),
            amount=Microcredits(amount),
            resource_url=url,
            content=content,
        )

    async def asked(self, purchase: Purchase | None = None) -> MppChallenge:
        """A challenge, as a client reads it."""
        return challenge_in(await self.new_rail().challenge(purchase or self.purchase()))

    def signed(self, challenge: MppChallenge, signing: Signing = HONEST) -> str:
        """The raw transaction that pays a challenge, or something else than it asks for."""
        asked = challenge.request
        words = transfer_words(
            signing.pay_to or asked["recipient"],
            int(asked["amount"]) if signing.amount is None else signing.amount,
            "" if signing.plain else signing.memo or memo_for(challenge),
        )
        call = Call.create(to=signing.token or asked["currency"], data=words)
        return self.sealed((call,) * signing.calls, signing)

    def sealed(self, calls: tuple[Any, ...], signing: Signing = HONEST) -> str:
        """Any calls as one raw transaction."""
        now_s = self.clock.now_ms() // 1000
        transaction = TempoTransaction.create(
            chain_id=signing.chain_id,
            gas_limit=1_000_000,
            max_fee_per_gas=25_000_000_000,
            max_priority_fee_per_gas=1_000_000_000,
            nonce=0,
            nonce_key=EVER,
            fee_token=signing.fee_token,
            valid_before=None if signing.window_s is None else now_s + signing.window_s,
            calls=calls,
            awaiting_fee_payer=signing.sponsor is not None,
        ).sign(signing.key)
        if signing.sponsor is not None:
            transaction = transaction.sign(signing.sponsor, for_fee_payer=True)
        return "0x" + transaction.encode().hex()

    async def pay(
        self, purchase: Purchase | None = None, signing: Signing = HONEST
    ) -> dict[str, str]:
        """The headers of a payment that the gateway is to send."""
        challenge = await self.asked(purchase)
        return transaction_headers(challenge, self.signed(challenge, signing))

    async def proof(self, amount: int = 100_000, signing: Signing = HONEST) -> Proof:
        """A payment, decoded."""
        purchase = self.purchase(amount)
        return await self.decoded(await self.pay(purchase, signing), purchase)

    async def decoded(self, headers: dict[str, str], purchase: Purchase | None = None) -> Proof:
        found = await self.new_rail().decode(headers, purchase or self.purchase())
        assert found is not None
        return found


def transfer_words(pay_to: str, amount: int, memo: str) -> str:
    """The call data of `transferWithMemo`, or of `transfer` where there is no memo."""
    selector = "95777d59" if memo else "a9059cbb"
    to = pay_to.lower().removeprefix("0x").rjust(64, "0")
    return f"0x{selector}{to}{amount:064x}{memo.removeprefix('0x')}"


def memo_for(challenge: MppChallenge) -> str:
    return memo_of(challenge_id=challenge.id, server_id=challenge.realm)


def challenge_in(challenge: Challenge) -> MppChallenge:
    return MppChallenge.from_www_authenticate(challenge.headers["WWW-Authenticate"])


def transaction_headers(
    challenge: MppChallenge, raw: str, *, source: str | None = None
) -> dict[str, str]:
    """A credential with a transaction for the gateway to send."""
    return headers_of(challenge, {"type": "transaction", "signature": raw}, source=source)


def hash_headers(
    challenge: MppChallenge, sent: str, *, source: str | None = None
) -> dict[str, str]:
    """A credential of a transaction that its payer sent."""
    return headers_of(challenge, {"type": "hash", "hash": sent}, source=source)


def headers_of(
    challenge: MppChallenge, payload: dict[str, Any], *, source: str | None = None
) -> dict[str, str]:
    """The headers in which a client shows a payment for a challenge."""
    credential = Credential(challenge=challenge.to_echo(), payload=payload, source=source)
    return {"authorization": credential.to_authorization()}


def tampered(headers: dict[str, str], **fields: object) -> dict[str, str]:
    """The same credential with other fields in the challenge that it echoes."""
    text = headers["authorization"].removeprefix("Payment ")
    shown = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    shown["challenge"].update(fields)
    encoded = base64.urlsafe_b64encode(json.dumps(shown).encode()).decode().rstrip("=")
    return {"authorization": f"Payment {encoded}"}
