"""The sandbox cluster wired as the program wires it, and a real x402 client that pays there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp.test_utils import TestServer
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1

from adapters.rails.facilitator import Facilitator
from adapters.rails.networks import SOLANA
from adapters.rails.rpc import Rpc
from adapters.rails.solana import SolanaRail
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.rails.solana_transfer import (
    COMPUTE_BUDGET,
    MEMO_PROGRAM,
    TOKEN_PROGRAM,
    token_account,
)
from adapters.sandbox.faults import Faults
from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_facilitator import FaultyFacilitator
from adapters.sandbox.solana_rpc import SolanaNode, solana_node_app
from domain.money import Microcredits
from domain.ports.payments import Challenge, Proof, Purchase
from tests.fakes.sandbox import JumpingClock
from tests.fakes.solana_client import pay_on_solana

# Throwaways: 32 equal bytes each. Nobody should send anything to them.
BUYER = Keypair.from_seed(b"\x01" * 32)
TILL = Keypair.from_seed(b"\x02" * 32)
FEE_PAYER = Keypair.from_seed(b"\x03" * 32)
PAY_TO = str(TILL.pubkey())
URL = "http://gateway.test/v1/credits/purchase"
FEES = 10**9
MUCH = 1_000_000


@dataclass
class SolanaSandbox:
    """A cluster with one buyer who has a dollar, and the rail that is paid there."""

    clock: JumpingClock = field(default_factory=JumpingClock)
    faults: Faults = field(default_factory=Faults)
    journal: Path | None = None

    def __post_init__(self) -> None:
        self.chain = SolanaChain(self.clock, journal=self.journal)
        if not self.chain.lamports(str(FEE_PAYER.pubkey())):
            self.chain.fund(str(FEE_PAYER.pubkey()), 0, lamports=FEES)
            self.chain.fund(PAY_TO, 0)
            self.chain.fund(str(BUYER.pubkey()), MUCH)
        self.node = SolanaNode(self.chain, self.faults)
        self.signer = SolanaSigner(
            FEE_PAYER, SolanaNode(self.chain, Faults()).answer, confirm_s=0.2
        )
        self.own = SolanaFacilitator(self.signer, SOLANA.caip2)
        self.facilitator = FaultyFacilitator(self.own, self.clock, self.faults)
        self.rail = self.new_rail()

    def new_rail(
        self,
        *,
        facilitator: Facilitator | None = None,
        rpc: Rpc | None = None,
        settle_timeout_ms: int = 30_000,
    ) -> SolanaRail:
        """A rail without memory, as after a restart."""
        return SolanaRail(
            pay_to=PAY_TO,
            network=SOLANA,
            facilitator=facilitator or self.facilitator,
            chain=SolanaReader(rpc or self.node),
            clock=self.clock,
            settle_timeout_ms=settle_timeout_ms,
        )

    def purchase(self, amount: int = 100_000) -> Purchase:
        return Purchase(
            chain="solana",
            wallet=str(BUYER.pubkey()),
            amount=Microcredits(amount),
            resource_url=URL,
        )

    def transaction(
        self,
        amount: int = 100_000,
        *,
        payer: Keypair = BUYER,
        to: str = PAY_TO,
        mint: str = SOLANA.usdc,
        steps: Sequence[Instruction] | None = None,
        fee_payer: Pubkey | None = None,
        blockhash: Hash | None = None,
        price: int = 1,
    ) -> str:
        """A payment as clients make it, in base64, or one with something else about it."""
        if steps is None:
            memo = Instruction(MEMO_PROGRAM, f"note {self.clock.at_ms} {amount}".encode(), [])
            steps = [*self.fees(price=price), self.transfer(amount, payer, to=to, mint=mint), memo]
        message = MessageV0.try_compile(
            fee_payer or FEE_PAYER.pubkey(),
            list(steps),
            [],
            blockhash or self.chain.blockhash(self.chain.slot()),
        )
        signers = message.account_keys[1 : message.header.num_required_signatures]
        signed = payer.sign_message(to_bytes_versioned(message))
        signatures = [Signature.default(), *(signed for _ in signers)]
        half = VersionedTransaction.populate(message, signatures)
        return base64.b64encode(bytes(half)).decode("ascii")

    def fees(self, *, units: int = 20_000, price: int = 1) -> list[Instruction]:
        return [
            Instruction(COMPUTE_BUDGET, bytes([2]) + units.to_bytes(4, "little"), []),
            Instruction(COMPUTE_BUDGET, bytes([3]) + price.to_bytes(8, "little"), []),
        ]

    def transfer(
        self,
        amount: int,
        payer: Keypair = BUYER,
        *,
        to: str = PAY_TO,
        mint: str = SOLANA.usdc,
        program: Pubkey = TOKEN_PROGRAM,
        source: str = "",
    ) -> Instruction:
        owner = str(payer.pubkey())
        return Instruction(
            program,
            bytes([12]) + amount.to_bytes(8, "little") + bytes([6]),
            [
                _account(source or token_account(owner, mint), is_writable=True),
                _account(mint),
                _account(token_account(to, mint), is_writable=True),
                _account(owner, is_signer=True),
            ],
        )

    def presented(self, transaction: str, amount: int = 100_000, **terms: object) -> dict[str, str]:
        """The headers of a payment with this transaction, for the terms of a purchase."""
        accepted = PaymentRequirements(
            scheme="exact",
            network=SOLANA.caip2,
            asset=SOLANA.usdc,
            amount=str(amount),
            pay_to=PAY_TO,
            max_timeout_seconds=60,
            extra={"feePayer": str(FEE_PAYER.pubkey())},
        ).model_copy(update=terms)
        payment = PaymentPayload(payload={"transaction": transaction}, accepted=accepted)
        return signed_header(payment)

    async def proof_of(self, transaction: str, amount: int = 100_000) -> Proof:
        """A payment with this transaction, decoded."""
        found = await self.rail.decode(self.presented(transaction, amount), self.purchase(amount))
        assert found is not None
        return found

    async def proof(self, amount: int = 100_000) -> Proof:
        """An honest payment of the official client's, decoded."""
        purchase = self.purchase(amount)
        found = await self.rail.decode(signed_header(await self.pay(purchase)), purchase)
        assert found is not None
        return found

    async def pay(self, purchase: Purchase | None = None) -> PaymentPayload:
        """What the official client signs for our challenge."""
        challenge = await self.rail.challenge(purchase or self.purchase())
        return await self.answer(challenge)

    async def answer(self, challenge: Challenge) -> PaymentPayload:
        required = decode_payment_required_header(challenge.headers["PAYMENT-REQUIRED"])
        payment = await self._answered(required)
        assert isinstance(payment, PaymentPayload)
        return payment

    async def pay_v1(self, purchase: Purchase) -> PaymentPayloadV1:
        """What the official client signs for the version 1 body of our challenge."""
        challenge = await self.rail.challenge(purchase)
        payment = await self._answered(PaymentRequiredV1.model_validate(challenge.terms))
        assert isinstance(payment, PaymentPayloadV1)
        return payment

    async def _answered(
        self, terms: PaymentRequired | PaymentRequiredV1
    ) -> PaymentPayload | PaymentPayloadV1:
        node = SolanaNode(self.chain, Faults())
        async with TestServer(solana_node_app(node)) as server:
            return await pay_on_solana(terms, BUYER, str(server.make_url("/")))

    def carry(self, transaction: str) -> str:
        """What the facilitator does for whoever asks: sign the other half and send it."""
        return self.chain.send(
            VersionedTransaction.from_bytes(
                base64.b64decode(
                    self.signer.sign_transaction(transaction, str(FEE_PAYER.pubkey()), SOLANA.caip2)
                )
            )
        )

    def spend(self, amount: int) -> None:
        """The buyer moves money elsewhere."""
        elsewhere = str(Keypair().pubkey())
        self.chain.fund(elsewhere, 0)
        self.carry(self.transaction(amount, to=elsewhere))

    def received(self) -> int:
        """What we were paid so far, in base units."""
        return self.chain.balance(PAY_TO)

    def expire(self) -> None:
        """Let so much time pass that nothing signed before can land."""
        self.clock.advance(200_000)

    def close(self) -> None:
        self.own.close()


class Told:
    """A node whose answers are changed on the way."""

    def __init__(self, node: Rpc, **answers: object) -> None:
        self._node = node
        self._answers = answers
        self.asked: list[str] = []

    async def call(self, method: str, params: list[object]) -> object:
        self.asked.append(method)
        answer = self._answers.get(method, self)
        return await self._node.call(method, params) if answer is self else answer


def signed_header(payment: PaymentPayload) -> dict[str, str]:
    return {"payment-signature": encode_payment_signature_header(payment)}


def _account(address: str, *, is_signer: bool = False, is_writable: bool = False) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer, is_writable)
