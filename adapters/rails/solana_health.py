"""Whether x402 on Solana could take a payment now, and what an operator should mend."""

from __future__ import annotations

from adapters.rails.networks import SolanaNetwork
from adapters.rails.solana_chain import SolanaReader
from adapters.rails.solana_transfer import token_account

# A payment costs two signatures, 10,000 lamports: enough for five hundred.
FEE_PAYER_LAMPORTS_MIN = 5_000_000


class SolanaHealth:
    """Asks the node; every answer is a sentence, or "" where all is well.

    `fee_payer` is ours, "" where somebody else's pays.
    """

    def __init__(
        self, chain: SolanaReader, *, network: SolanaNetwork, pay_to: str, fee_payer: str = ""
    ) -> None:
        self._chain = chain
        self._network = network
        self._pay_to = pay_to
        self._fee_payer = fee_payer

    async def problem(self) -> str:
        """The first of: no node, the wrong chain, no account to be paid at, too few lamports."""
        try:
            return await self.wrong_chain() or await self._no_account() or await self._poor()
        except ConnectionError as error:
            return f"the node cannot be asked: {error}"

    async def wrong_chain(self) -> str:
        """Whether the node is of another chain; ConnectionError where it does not answer."""
        genesis = await self._chain.genesis()
        if genesis.startswith(self._network.genesis):
            return ""
        return f"the node is of another chain than {self._network.caip2} (genesis {genesis[:44]})"

    async def _no_account(self) -> str:
        account = token_account(self._pay_to, self._network.usdc)
        held = await self._chain.holding(account)
        if held is None or held.mint != self._network.usdc:
            return f"{self._pay_to} has no account for USDC; send it some, and {account} is made"
        # An account can be given away, and its address stays.
        return "" if held.owner == self._pay_to else f"{account} belongs to {held.owner} now"

    async def _poor(self) -> str:
        if not self._fee_payer:
            return ""
        left = await self._chain.lamports(self._fee_payer)
        if left >= FEE_PAYER_LAMPORTS_MIN:
            return ""
        return f"the fee payer {self._fee_payer} has {left} lamports left; send it SOL"
