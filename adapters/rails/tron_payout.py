"""Dollars back on TRON: our own wallet is the buyer of a permit that pays a customer."""

from __future__ import annotations

from coincurve import PrivateKey

from adapters.rails.tron_address import account_of
from adapters.rails.tron_chain import TronChain
from adapters.rails.tron_desk import PermitDesk, SignedPermit
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_permit import wallet_of
from adapters.rails.tron_terms import Permits, Quotes
from domain.errors import MalformedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Proof, Rejected, Settled, Uncertain


class TronPayout:
    """Implements `PayoutRail`: `key` is the hot wallet's, which has allowed the permit contract.

    The nonce follows from the refund, so that of all the permits signed for one refund the chain
    takes at most one.
    """

    def __init__(
        self,
        *,
        key: PrivateKey,
        network: TronNetwork,
        chain: TronChain,
        desk: PermitDesk,
        permits: Permits,
        quotes: Quotes,
        name: str = "x402-tron",
    ) -> None:
        self.name = name
        self.wallet = wallet_of(key)
        self._key = key
        self._network = network
        self._chain = chain
        self._desk = desk
        self._permits = permits
        self._quotes = quotes

    async def funds(self) -> Microcredits:
        """What the hot wallet holds and the contract may move."""
        try:
            held = await self._chain.balance(self.wallet)
            return Microcredits(min(held, await self._chain.allowance(self.wallet)))
        except ConnectionError as error:
            raise RailDownError(rail=self.name) from error

    async def prepare(self, payout: Payout) -> Proof:
        try:
            account_of(payout.wallet)
        except ValueError as error:
            raise MalformedError(
                where="wallet", expected="a TRON address", got=payout.wallet
            ) from error
        amount = payout.amount.value
        quote = await self._quotes.current(amount=amount, pay_to=payout.wallet)
        permit = self._permits.issue_for(
            payout.refund_id.bytes,
            quote=quote,
            amount=amount,
            pay_to=payout.wallet,
            buyer=self.wallet,
        )
        signed = SignedPermit(permit, permit.signed_by(self._key, self._network))
        return signed.proof(self._network)

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._desk.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._desk.lookup(proof)
