"""The sandbox wired as the program wires it, a clock that jumps, and a real x402 client."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from eth_account import Account
from eth_account.signers.local import LocalAccount
from x402.client import x402Client
from x402.http.utils import (
    decode_payment_required_header,
    encode_payment_signature_header,
)
from x402.mechanisms.evm.constants import TRANSFER_WITH_AUTHORIZATION_BYTES_ABI
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.multicall import encode_contract_call
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.mechanisms.evm.types import AUTHORIZATION_TYPES
from x402.schemas import PaymentPayload
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1

from adapters.rails.chain import EvmChainReader
from adapters.rails.facilitator import Facilitator
from adapters.rails.networks import BASE
from adapters.rails.rpc import Rpc
from adapters.rails.x402 import X402Rail
from adapters.sandbox.evm import SandboxChain
from adapters.sandbox.facilitator import SandboxFacilitator
from adapters.sandbox.faults import Faults
from adapters.sandbox.rpc import SandboxNode
from domain.money import Microcredits
from domain.ports.payments import Challenge, Proof, Purchase

# Throwaway: 32 bytes of 0x01. Nobody should send anything to it.
THROWAWAY_KEY = "0x" + "01" * 32
PAY_TO = "0x2222222222222222222222222222222222222222"
# What wallets sign for: USDC on Base.
DOMAIN = {
    "name": BASE.domain_name,
    "version": BASE.domain_version,
    "chainId": BASE.chain_id,
    "verifyingContract": BASE.usdc,
}
CANCEL_TYPES = {
    "CancelAuthorization": [
        {"name": "authorizer", "type": "address"},
        {"name": "nonce", "type": "bytes32"},
    ]
}
URL = "http://gateway.test/v1/credits/purchase"


class JumpingClock:
    """Starts now, since the x402 library reads the machine's clock; a sleep is a jump."""

    def __init__(self) -> None:
        self.at_ms = time.time_ns() // 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    async def sleep_until(self, at_ms: int) -> None:
        self.at_ms = max(self.at_ms, at_ms)

    def advance(self, ms: int) -> None:
        self.at_ms += ms


@dataclass
class Sandbox:
    """A chain with one funded buyer, and the rail that is paid there."""

    clock: JumpingClock = field(default_factory=JumpingClock)
    faults: Faults = field(default_factory=Faults)
    buyer: LocalAccount = field(default_factory=lambda: Account.from_key(THROWAWAY_KEY))

    def __post_init__(self) -> None:
        self.chain = SandboxChain(self.clock)
        self.facilitator = SandboxFacilitator(self.chain, self.clock, self.faults)
        self.node = SandboxNode(self.chain, self.faults)
        self.rail = self.new_rail()
        self.chain.mint(self.buyer.address, 1_000_000)

    def new_rail(
        self,
        *,
        facilitator: Facilitator | None = None,
        rpc: Rpc | None = None,
        settle_timeout_ms: int = 30_000,
    ) -> X402Rail:
        """A rail without memory, as after a restart."""
        return X402Rail(
            pay_to=PAY_TO,
            network=BASE,
            facilitator=facilitator or self.facilitator,
            chain=EvmChainReader(rpc or self.node),
            clock=self.clock,
            settle_timeout_ms=settle_timeout_ms,
        )

    def purchase(self, amount: int = 100_000) -> Purchase:
        return Purchase(
            chain="evm",
            wallet=self.buyer.address.lower(),
            amount=Microcredits(amount),
            resource_url=URL,
        )

    def client(self) -> x402Client:
        return register_exact_evm_client(x402Client(), EthAccountSigner(self.buyer))

    async def pay(self, purchase: Purchase | None = None) -> PaymentPayload:
        """What the official client signs for our challenge."""
        challenge = await self.rail.challenge(purchase or self.purchase())
        return await self.answer(challenge)

    async def answer(self, challenge: Challenge) -> PaymentPayload:
        required = decode_payment_required_header(challenge.headers["PAYMENT-REQUIRED"])
        payment = await self.client().create_payment_payload(required)
        assert isinstance(payment, PaymentPayload)
        return payment

    async def pay_v1(self, purchase: Purchase) -> PaymentPayloadV1:
        """What the official client signs for the version 1 body of our challenge."""
        challenge = await self.rail.challenge(purchase)
        required = PaymentRequiredV1.model_validate(challenge.terms)
        payment = await self.client().create_payment_payload(required)
        assert isinstance(payment, PaymentPayloadV1)
        return payment

    async def proof(self, amount: int = 100_000) -> Proof:
        """An honest payment, decoded."""
        purchase = self.purchase(amount)
        return await self.decoded(await self.pay(purchase), purchase)

    async def decoded(self, payment: PaymentPayload, purchase: Purchase | None = None) -> Proof:
        found = await self.rail.decode(signed_header(payment), purchase or self.purchase())
        assert found is not None
        return found

    def received(self) -> int:
        """What we were paid so far, in base units."""
        return self.chain.balance(PAY_TO)


def changed(payment: PaymentPayload, **fields: str) -> PaymentPayload:
    """The payment with other authorization fields under the old signature."""
    copy = payment.model_copy(deep=True)
    copy.payload["authorization"].update(fields)
    return copy


def signed_again(payment: PaymentPayload, signer: LocalAccount, **fields: str) -> PaymentPayload:
    """The payment with other authorization fields, signed for what they say now."""
    copy = changed(payment, **fields)
    copy.payload["signature"] = "0x" + sign(copy.payload["authorization"], signer).hex()
    return copy


def sign(authorization: dict[str, str], signer: LocalAccount) -> bytes:
    """The EIP-712 signature of an authorization of Base USDC."""
    message = dict(authorization) | {
        name: int(authorization[name]) for name in ("value", "validAfter", "validBefore")
    }
    signed = signer.sign_typed_data(DOMAIN, AUTHORIZATION_TYPES, message)
    return bytes(signed.signature)


def submit(chain: SandboxChain, payment: PaymentPayload) -> str:
    """What anybody can do who sees a payment: send it to the chain themselves."""
    stranger = Account.create().address
    chain.fund_gas(stranger)
    return chain.transact(caller=stranger, to=BASE.usdc, data=submission(payment))


def submission(payment: PaymentPayload) -> bytes:
    """The token call that carries a payment out."""
    fields = payment.payload["authorization"]
    return encode_contract_call(
        TRANSFER_WITH_AUTHORIZATION_BYTES_ABI,
        "transferWithAuthorization",
        fields["from"],
        fields["to"],
        int(fields["value"]),
        int(fields["validAfter"]),
        int(fields["validBefore"]),
        bytes.fromhex(fields["nonce"][2:]),
        bytes.fromhex(payment.payload["signature"][2:]),
    )


def signed_header(payment: PaymentPayload) -> dict[str, str]:
    return {"payment-signature": encode_payment_signature_header(payment)}
