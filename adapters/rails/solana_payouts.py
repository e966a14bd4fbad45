"""Dollars back to a customer on Solana: our wallet signs its half, and it goes the same way."""

from __future__ import annotations

import base64

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from adapters.rails.networks import SolanaNetwork
from adapters.rails.solana import SolanaRail
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_terms import SolanaTerms
from adapters.rails.solana_transfer import (
    COMPUTE_BUDGET,
    MEMO_PROGRAM,
    TOKEN_PROGRAM,
    USDC_DECIMALS,
    SolanaTransfer,
    token_account,
)
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Payout, Proof, Rejected, Settled, Uncertain

# Four times what a transfer with a memo takes.
_UNITS_MAX = 60_000
_PRICE_MICROLAMPORTS = 1_000


class SolanaPayouts:
    """Implements `PayoutRail` with the rail that carries and looks up.

    Nothing on Solana makes two payouts one, so the proof that was prepared must be written down
    before it is settled, and another prepared only when that one is absent for good.
    """

    def __init__(
        self, rail: SolanaRail, wallet: Keypair, *, network: SolanaNetwork, chain: SolanaReader
    ) -> None:
        self.name = rail.name
        self._rail = rail
        self._wallet = wallet
        self._network = network
        self._chain = chain

    async def funds(self) -> Microcredits:
        """What the wallet holds on the chain now."""
        try:
            held = await self._chain.holding(self._account(str(self._wallet.pubkey())))
        except ConnectionError as error:
            raise RailDownError(rail=self.name) from error
        return Microcredits(held.amount if held is not None else 0)

    async def prepare(self, payout: Payout) -> Proof:
        """Sign this amount to this wallet; nothing is sent.

        PaymentRefusedError where the wallet has no account for dollars: it would have to make one.
        """
        fee_payer = await self._rail.fee_payer()
        try:
            held = await self._chain.holding(self._account(payout.wallet))
            blockhash = await self._chain.latest_blockhash()
        except ConnectionError as error:
            raise RailDownError(rail=self.name) from error
        if held is None or held.owner != payout.wallet:
            reason = f"{payout.wallet} has no account for USDC, and a payment creates none"
            raise PaymentRefusedError(rail=self.name, reason=reason)
        steps = self._steps(payout)
        payer = Pubkey.from_string(fee_payer)
        message = MessageV0.try_compile(payer, steps, [], Hash.from_string(blockhash))
        signature = self._wallet.sign_message(to_bytes_versioned(message))
        half = VersionedTransaction.populate(message, [Signature.default(), signature])
        terms = SolanaTerms(pay_to=payout.wallet, network=self._network)
        return self._rail.proof_of(
            SolanaTransfer.parse({"transaction": base64.b64encode(bytes(half)).decode("ascii")}),
            terms.owed(payout.amount, fee_payer=fee_payer),
        )

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._rail.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._rail.lookup(proof)

    def _steps(self, payout: Payout) -> list[Instruction]:
        wallet, mint = self._wallet.pubkey(), Pubkey.from_string(self._network.usdc)
        source = Pubkey.from_string(self._account(str(wallet)))
        destination = Pubkey.from_string(self._account(payout.wallet))
        amount = payout.amount.value.to_bytes(8, "little")
        return [
            Instruction(COMPUTE_BUDGET, bytes([2]) + _UNITS_MAX.to_bytes(4, "little"), []),
            Instruction(
                COMPUTE_BUDGET, bytes([3]) + _PRICE_MICROLAMPORTS.to_bytes(8, "little"), []
            ),
            Instruction(
                TOKEN_PROGRAM,
                bytes([12]) + amount + bytes([USDC_DECIMALS]),
                [
                    AccountMeta(source, is_signer=False, is_writable=True),
                    AccountMeta(mint, is_signer=False, is_writable=False),
                    AccountMeta(destination, is_signer=False, is_writable=True),
                    AccountMeta(wallet, is_signer=True, is_writable=False),
                ],
            ),
            # Two payouts of one amount under one blockhash are two transactions.
            Instruction(MEMO_PROGRAM, str(payout.refund_id).encode("ascii"), []),
        ]

    def _account(self, owner: str) -> str:
        return token_account(owner, self._network.usdc)
