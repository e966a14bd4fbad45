"""Dollars back to a customer on Base: our wallet signs an authorization, and it goes the same way.

What a customer's payment is to us, this is to the customer: claimed, carried, looked up alike.
"""

from __future__ import annotations

from hashlib import sha256

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from x402.mechanisms.evm.types import AUTHORIZATION_TYPES
from x402.schemas import PaymentPayload

from adapters.rails.chain import ChainReader
from adapters.rails.eip3009 import Authorization
from adapters.rails.networks import BaseNetwork
from adapters.rails.terms import Terms
from adapters.rails.x402 import X402Rail
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.payments import Absent, Payout, Proof, Rejected, Settled, Uncertain

# As long as a payout may take to be carried; after that it can no longer land.
_VALID_MS = 15 * 60_000
_NONCE_LABEL = b"payphone.payout.eip3009:"


class X402Payouts:
    """Implements `PayoutRail` with EIP-3009 and the rail that carries and looks up.

    The nonce follows from the refund, so that however often one is prepared, one is paid.
    """

    def __init__(
        self,
        rail: X402Rail,
        wallet: LocalAccount,
        *,
        network: BaseNetwork,
        chain: ChainReader,
        clock: Clock,
    ) -> None:
        self.name = rail.name
        self._rail = rail
        self._wallet = wallet
        self._network = network
        self._chain = chain
        self._clock = clock

    async def funds(self) -> Microcredits:
        """What the wallet holds on the chain now."""
        try:
            held = await self._chain.balance(asset=self._network.usdc, holder=self._wallet.address)
        except ConnectionError as error:
            raise RailDownError(rail=self.name) from error
        return Microcredits(held)

    async def prepare(self, payout: Payout) -> Proof:
        """Sign this amount to this wallet; nothing is sent, and nothing is asked.

        PaymentRefusedError for an address that the token pays nothing to.
        """
        if int(payout.wallet, 16) == 0:
            raise PaymentRefusedError(rail=self.name, reason="nobody has the zero address")
        terms = Terms(pay_to=payout.wallet, network=self._network).owed(payout.amount)
        expires_at_s = (self._clock.now_ms() + _VALID_MS) // 1000
        authorization = self._signed(payout, valid_before_s=expires_at_s)
        payment = PaymentPayload(payload=authorization.wire(), accepted=terms)
        return Proof(
            key=authorization.key(network=terms.network, asset=terms.asset),
            network=terms.network,
            chain="evm",
            payer=authorization.payer,
            amount=payout.amount,
            expires_at_ms=expires_at_s * 1000,
            payload=payment.model_dump_json(by_alias=True, exclude_none=True),
        )

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._rail.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._rail.lookup(proof)

    def _signed(self, payout: Payout, *, valid_before_s: int) -> Authorization:
        nonce = sha256(_NONCE_LABEL + payout.refund_id.bytes).digest()
        message = {
            "from": self._wallet.address,
            "to": to_checksum_address(payout.wallet),
            "value": payout.amount.value,
            "validAfter": 0,
            "validBefore": valid_before_s,
            "nonce": nonce,
        }
        domain = {
            "name": self._network.domain_name,
            "version": self._network.domain_version,
            "chainId": self._network.chain_id,
            "verifyingContract": self._network.usdc,
        }
        signed = self._wallet.sign_typed_data(domain, AUTHORIZATION_TYPES, message)
        return Authorization(
            payer=self._wallet.address.lower(),
            pay_to=payout.wallet.lower(),
            value=payout.amount.value,
            valid_after_s=0,
            valid_before_s=valid_before_s,
            nonce="0x" + nonce.hex(),
            signature="0x" + bytes(signed.signature).hex(),
        )
